"""README: short, and its badges say what pyproject.toml says."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_short() -> None:
    assert len(README.splitlines()) < 150


def test_its_badges_are_true() -> None:
    facts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = facts["project"]
    assert (ROOT / "fasttts" / "py.typed").exists()
    assert re.findall(r"^\[!\[(.*?)\]", README, re.MULTILINE) == [
        project["license"],
        f"Python {project['requires-python']}",
        "Types: strict" if facts["tool"]["mypy"]["strict"] else "",
    ]
