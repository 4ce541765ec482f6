"""`--log-format` and `--log-level`: what the commands log, and in which form."""

import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from typer.testing import Result

from fasttts import BackendError, EngineConfig, FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.cli.logs import NAMES, written
from fasttts.config.logs import LogConfig, LogFormat
from tests.cli.test_serve import ASKED, Client
from tests.engines import OpenWith

Run = Callable[..., Result]
SOLVE = ("solve", "two", "-n", "4", "--json")


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def warns(settings: EngineConfig) -> FastTTS:
    logging.getLogger("fasttts.backends.vllm.builder").warning("an old card")
    logging.getLogger("fasttts.backends.vllm.builder").info("opened", extra={"seconds": 2.5})
    return FastTTS(FakeGenerator(), FakeVerifier())


def fails(settings: EngineConfig) -> FastTTS:
    raise BackendError("no\nmemory", role="generator")


def test_unasked_only_warnings_are_shown_in_words(run: Run, open_with: OpenWith) -> None:
    open_with(warns)
    assert run(*SOLVE).stderr == "warning: an old card\n"


def test_all_messages_are_lines_of_json(run: Run, open_with: OpenWith) -> None:
    open_with(warns)
    done = run("--log-format", "json", "--log-level", "debug", *SOLVE)
    warning, opened, ended = lines(done.stderr)
    assert (warning["level"], warning["message"]) == ("warning", "an old card")
    assert (opened["level"], opened["seconds"]) == ("info", 2.5)
    assert (ended["search"], ended["outcome"]) == ("beam_search", "complete")
    assert json.loads(done.stdout)["usage"]["generated_tokens"] > 0


def test_the_level_chooses(run: Run, open_with: OpenWith) -> None:
    open_with(warns)
    assert len(lines(run("--log-format", "json", *SOLVE).stderr)) == 2
    assert len(lines(run("--log-format", "json", "--log-level", "warning", *SOLVE).stderr)) == 1
    words = run("--log-level", "info", *SOLVE).stderr
    assert "WARNING" in words
    assert "opened" in words
    assert "warning: an old card" not in words


def test_other_libraries_warn_in_lines_too(run: Run, open_with: OpenWith) -> None:
    def opens(settings: EngineConfig) -> FastTTS:
        for name in ("asyncio", "sse_starlette.sse", ""):
            logging.getLogger(name).warning("slow")
            logging.getLogger(name).info("seen by nobody")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("an old function", DeprecationWarning, stacklevel=1)
        return FastTTS(FakeGenerator(), FakeVerifier())

    open_with(opens)
    told = lines(run("--log-format", "json", "--log-level", "info", *SOLVE).stderr)
    assert [line["logger"] for line in told] == [
        "asyncio",
        "sse_starlette.sse",
        "root",
        "py.warnings",
    ]
    assert "DeprecationWarning: an old function" in told[-1]["message"]
    assert not lines(run("--log-format", "json", "--log-level", "error", *SOLVE).stderr)


def test_the_environment_asks_too(
    run: Run, open_with: OpenWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_with(warns)
    monkeypatch.setenv("FASTTTS_LOG_FORMAT", "json")
    assert len(lines(run(*SOLVE).stderr)) == 2
    assert "WARNING" in run("--log-format", "text", *SOLVE).stderr


@pytest.mark.parametrize("debug", [(), ("--debug",)])
def test_the_error_that_ends_a_command_is_a_line(
    run: Run, open_with: OpenWith, debug: tuple[str, ...]
) -> None:
    open_with(fails)
    done = run("--log-format", "json", *SOLVE, *debug)
    (error,) = lines(done.stderr)
    assert (error["level"], error["message"], done.exit_code) == ("error", "no memory", 2)
    assert ("error" in error) is bool(debug)


def test_loggers_are_left_as_they_were(run: Run, open_with: OpenWith) -> None:
    open_with(warns)
    loggers = [logging.getLogger(name) for name in ("", *NAMES)]
    before = [(log.level, list(log.handlers)) for log in loggers]
    run("--log-format", "json", "--log-level", "debug", *SOLVE)
    assert [(log.level, log.handlers) for log in loggers] == before


@pytest.mark.parametrize("options", [("--log-format", "xml"), ("--log-level", "loud")])
def test_others_are_refused(run: Run, options: tuple[str, str]) -> None:
    done = run(*options, *SOLVE)
    assert done.exit_code == 2
    assert f"{options[0]} (FASTTTS_" in done.stderr
    assert f"is '{options[1]}'" in done.stderr


@pytest.mark.usefixtures("fresh_uvicorn_loggers")
def test_a_server_s_messages_are_lines(run: Run, engines: list[FastTTS], port: int) -> None:
    def talk(client: httpx.Client, thread: Client) -> None:
        body = {"model": "mine", "messages": ASKED}
        assert client.post("/v1/chat/completions", json=body).status_code == 200

    client = Client(port, talk)
    client.start()
    done = run(
        "--log-format",
        "json",
        "--log-level",
        "debug",
        "serve",
        "--port",
        str(port),
        "--name",
        "mine",
    )
    client.joined()
    told = lines(done.stderr)
    (serving,) = [line for line in told if line["logger"] == "fasttts.cli.serve"]
    assert serving["url"] == f"http://127.0.0.1:{port}"
    (ended,) = [line for line in told if "outcome" in line]
    assert ended["outcome"] == "complete"
    assert {line["logger"].partition(".")[0] for line in told} == {"fasttts", "uvicorn"}


SILENCED = """
import logging, sys
from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator
from fasttts.backends.vllm.environment import quiet
from fasttts.cli import main

def open_engine(settings):
    with quiet():
        print("chatter", file=sys.stderr)
        logging.getLogger("fasttts.backends.vllm").info("opened")
    return FastTTS(FakeGenerator())

FastTTS.from_config = open_engine
sys.argv = ["fasttts", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_reader_that_leaves_ends_no_thread_that_logs(
    form: LogFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = os.pipe()
    os.close(read)

    def log() -> None:
        for _ in range(3):
            logging.getLogger("fasttts.scheduling.loop").info("a call has ended" * 20)

    with open(write, "w", encoding="utf-8") as stream, ThreadPoolExecutor() as pool:
        monkeypatch.setattr(sys, "stderr", stream)
        with written(LogConfig(format=form, level="debug")):
            pool.submit(log).result()
        monkeypatch.undo()


def test_messages_while_models_open_are_not_silenced() -> None:
    arguments = ["--log-format", "json", "solve", "two", "--search", "none", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", SILENCED, *arguments],
        capture_output=True,
        check=False,
        text=True,
    )
    assert [line["message"] for line in lines(done.stderr)] == ["opened"]
