"""Every Python block of the README and the docs runs, in order, on the bundled models."""

import gc
import logging
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python( no-run)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\((?!https?:)([^)#]+)")


def blocks(path: Path) -> list[tuple[str, str]]:
    return [(match[1], match[2]) for match in BLOCK.finditer(path.read_text(encoding="utf-8"))]


WITH_CODE = [path for path in DOCUMENTS if any(not mark for mark, _ in blocks(path))]


def test_the_readme_has_code_to_run() -> None:
    assert DOCUMENTS[0] in WITH_CODE


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.usefixtures("demo_engine", "main_thread_loop", "unmeasured")
@pytest.mark.parametrize("path", WITH_CODE, ids=lambda path: path.name)
def test_python_blocks_run(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.NOTSET, logger="fasttts")  # given back after a block that sets one
    namespace: dict[str, object] = {"__name__": "__main__"}
    for mark, code in blocks(path):
        compiled = compile(code, str(path), "exec")
        if not mark:
            exec(compiled, namespace)
    gc.collect()  # what a document leaves open is reported here, not by a later test


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), f"{path.name} links to {target}"
