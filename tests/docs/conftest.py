"""The built site, and a browser to look at it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser import browsers

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "fasttts", "integrations", "agents")

chrome = pytest.fixture(scope="module")(browsers)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from a copy, so that nothing is written beside the sources."""
    root = tmp_path_factory.mktemp("site")
    shutil.copy(ROOT / "mkdocs.yml", root)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    environment = os.environ | {"NO_COLOR": "1"}
    built = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    assert built.stderr.strip() == "No issues found"
    return root / "build" / "site"
