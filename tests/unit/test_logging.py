"""What is logged, under which names, and what is left alone."""

import ast
import logging
import subprocess
import sys

import pytest

from fasttts import BackendError, FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.cli import logs
from fasttts.testing.faults import FaultyVerifier
from tests.unit.test_architecture import MODULES


def test_every_logger_is_below_one_name() -> None:
    """Other loggers are only looked up where they are muted for a call."""
    named = {
        f"{module}: {ast.unparse(call)}"
        for module, path in MODULES.items()
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("getLogger")
    }
    others = {name for name in named if not name.endswith("getLogger(__name__)")}
    assert {name.partition(":")[0] for name in named} - {"fasttts"} != set()
    assert logs.NAMES == ("fasttts", "mcp", "uvicorn")
    assert all(name.startswith("fasttts") or "getLogger('fasttts" in name for name in named)
    assert others == {
        "fasttts.backends.vllm.environment: logging.getLogger('fasttts')",
        "fasttts.cli.logs: logging.getLogger()",
        "fasttts.cli.logs: logging.getLogger(name)",
        "fasttts.cli.session: logging.getLogger('fasttts')",
        "fasttts.cli.session: logging.getLogger('fasttts.engine')",
        "fasttts.backends.vllm.tool_parsers: logging.getLogger(logger_name)",
        "lm_eval_fasttts.model: logging.getLogger('fasttts.lm_eval')",
    }


def test_importing_installs_no_handler_and_prints_nothing() -> None:
    program = (
        "import logging, fasttts\n"
        "assert [type(h) for h in logging.getLogger('fasttts').handlers] == [logging.NullHandler]\n"
        "assert logging.getLogger().handlers == []\n"
        "assert logging.getLogger('fasttts').level == logging.NOTSET\n"
        "logging.getLogger('fasttts.engine.engine').error('nobody listens')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_call_is_logged_with_its_outcome(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "fasttts"), FastTTS(FakeGenerator()) as engine:
        engine.search("hello", search="none")
    (record,) = [
        record for record in caplog.records if record.name == "fasttts.observability.requests"
    ]
    assert record.levelno == logging.DEBUG
    fields = vars(record)
    assert (fields["search"], fields["outcome"]) == ("none", "complete")
    assert fields["seconds"] > 0


def test_what_is_tried_again_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    busy = BackendError("busy", role="verifier", retryable=True)
    verifier = FaultyVerifier(FakeVerifier(), {1: busy})
    with FastTTS(FakeGenerator(), verifier) as engine:
        engine.search("hello", n=4)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "tried again after attempt 1: busy"
    assert (vars(record)["role"], vars(record)["attempt"]) == ("verifier", 1)
