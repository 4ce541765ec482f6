"""A command line whose models are fake, and a way to run it."""

import logging
import socket
from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from fasttts import EngineConfig, FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier, Script
from fasttts.cli import app
from fasttts.demo.problems import Problem, generate_problems
from fasttts.engine.result_cache import ResultCache
from tests.engines import OpenWith
from tests.searches import UNTIMED


@pytest.fixture
def run(open_with: OpenWith, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs the command line with the given arguments, 80 columns wide, real models forbidden."""

    def forbidden(settings: EngineConfig) -> FastTTS:
        raise AssertionError(f"models were loaded: {settings}")

    open_with(forbidden)
    monkeypatch.setenv("COLUMNS", "80")
    runner = CliRunner()
    return lambda *arguments, stdin=None: runner.invoke(app, arguments, input=stdin)


@pytest.fixture(autouse=True)
def lasting_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the tests' process, where a server that is told to stop while models load ends its."""

    def leave() -> None:
        raise SystemExit(0)

    monkeypatch.setattr("fasttts.cli.mcp.end_process", leave)


@pytest.fixture
def fresh_uvicorn_loggers() -> None:
    """uvicorn's loggers as in a new process: libraries of other tests configure them for good."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.disabled, logger.propagate = False, True
        logger.setLevel(logging.NOTSET)
        logger.handlers.clear()


@pytest.fixture
def port() -> int:
    """A port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        found: int = free.getsockname()[1]
        return found


@pytest.fixture
def problems() -> list[Problem]:
    """The problems of `fasttts eval demo --num-problems 8`."""
    return generate_problems("test", 0, 8, min_operations=4, max_operations=8)


@pytest.fixture
def script(problems: list[Problem]) -> Script:
    """Solves the problems with an even answer; others are up to the random model."""

    def answer(prompt: str) -> str | None:
        found = next((p for p in problems if p.text in prompt and p.answer % 2 == 0), None)
        return "\n\n".join(found.steps) if found else None

    answer.fingerprint = "even"  # type: ignore[attr-defined]  # functions take any attribute
    return answer


@pytest.fixture
def named() -> list[tuple[str, str | None]]:
    """The generators and verifiers that the command line has asked for."""
    return []


@pytest.fixture
def engines(
    run: Callable[..., Result],
    open_with: OpenWith,
    script: Script,
    named: list[tuple[str, str | None]],
) -> list[FastTTS]:
    """Lets the command line load fake models; the engines it was given."""
    engines: list[FastTTS] = []

    def open_engine(settings: EngineConfig) -> FastTTS:
        named.append((settings.generator, settings.verifier))
        cache = None if settings.cache_dir is None else ResultCache(settings.cache_dir)
        models = FakeGenerator(script), FakeVerifier()
        engines.append(FastTTS(*models, scheduling=UNTIMED, cache=cache))
        return engines[-1]

    open_with(open_engine)
    return engines
