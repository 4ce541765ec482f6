"""Every Python block of the README and the docs runs, in order, on the bundled models."""

import gc
import logging
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from fasttts.cli import app
from tests.conftest import freeze_heap

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python( no-run)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"\bfasttts ([a-z][a-z-]+)((?:[^\n`|;#]|`$|\\\n)*)")
OPTION = re.compile(r"(?<=\s)--?[a-z][a-z-]*")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\((?!https?:)([^)#]+)")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path) -> list[tuple[str, str]]:
    return [(match[1], match[2]) for match in BLOCK.finditer(path.read_text(encoding="utf-8"))]


WITH_CODE = [path for path in DOCUMENTS if any(not mark for mark, _ in blocks(path))]


def test_the_readme_has_code_to_run() -> None:
    assert DOCUMENTS[0] in WITH_CODE


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.usefixtures("demo_engine", "main_thread_loop", "unmeasured")
@pytest.mark.parametrize("path", WITH_CODE, ids=name_of)
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
    freeze_heap()  # frameworks that it imported


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    for target in LINK.findall(FENCED.sub("", path.read_text(encoding="utf-8"))):
        assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_commands_have_the_options_that_documents_give_them() -> None:
    group: Any = typer.main.get_command(app)
    num_checked = 0
    for path in DOCUMENTS:
        for name, arguments in COMMAND.findall(path.read_text(encoding="utf-8")):
            if name not in group.commands:
                continue
            command = group.commands[name]
            context = command.make_context(name, [], resilient_parsing=True)
            known = {flag for one in command.get_params(context) for flag in (*one.opts, "--help")}
            # A whole option per word: what stands in quotes belongs to the problem.
            given = OPTION.findall(re.sub(r"\"[^\"]*\"|'[^']*'", "", arguments))
            assert set(given) <= known, f"{path.name}: fasttts {name}{arguments}"
            num_checked += len(given)
    assert num_checked > 100
