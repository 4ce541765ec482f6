"""`fasttts mcp` as clients start it: the protocol alone on stdout, signals, and what is refused."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client, StdioServerParameters
from typer.testing import Result

from fasttts import ConfigurationError, EngineConfig, FastTTS
from fasttts.cli.mcp import _until_end
from tests.engines import OpenWith

ROOT = Path(__file__).parents[2]
PROBLEM = "Tom has 3 boxes of 12 pencils each. Tom gives 5 pencils to Mia. How many has Tom?"
REAL = "from fasttts.cli import main; main()"
# Models without weights, which print and log as those of vLLM may, in Python and below it.
NOISY = """
import logging, os, subprocess, sys, time
from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.cli import main

class Noisy(FakeGenerator):
    def step(self):
        print("printed")
        os.write(1, b"written")
        time.sleep(0.002)
        return super().step()

def open_engine(settings):
    time.sleep(float(os.environ["LOADING_S"]))
    subprocess.run(["echo", "from a child"])
    assert sys.stdin.read() == ""
    return FastTTS(Noisy(mean_steps=4), FakeVerifier())

FastTTS.from_config = open_engine
main()
"""
# Models without weights that take their time to load.
QUIET = """
import os, time
from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.cli import main

def open_engine(settings):
    time.sleep(float(os.environ["LOADING_S"]))
    return FastTTS(FakeGenerator(), FakeVerifier())

FastTTS.from_config = open_engine
main()
"""
HTTP = ("mcp", "--transport", "http", "--port", "0")
PATHS = os.pathsep.join(map(str, (ROOT, ROOT / "integrations", ROOT / "agents")))


def command(program: str, *arguments: str, loading_s: float = 0.0) -> StdioServerParameters:
    environment = os.environ | {"PYTHONPATH": PATHS, "LOADING_S": str(loading_s)}
    return StdioServerParameters(
        command=sys.executable, args=["-c", program, *arguments], env=environment
    )


@contextmanager
def started(
    *arguments: str, program: str = NOISY, loading_s: float = 0.0
) -> Iterator[subprocess.Popen[str]]:
    """The server as a process, without a client.

    Whatever is sent a signal here is a process of its own: the server ends its process at once
    where models are loading still, which can't be stopped.
    """
    asked = command(program, *(arguments or ("mcp",)), loading_s=loading_s)
    with subprocess.Popen(
        [asked.command, *asked.args],
        env=asked.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def say(process: subprocess.Popen[str], **message: Any) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    process.stdin.flush()


def lines_until(process: subprocess.Popen[str], text: str) -> str:
    """What the server has said on stderr, up to the line that holds a text."""
    assert process.stderr is not None
    told = ""
    for line in process.stderr:
        told += line
        if text in line:
            return told
    raise AssertionError(f"it ended without {text!r}: {told}")


HELLO = {
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


def test_nothing_but_the_protocol_is_on_stdout() -> None:
    with started("mcp", "-n", "4", "--max-tokens", "100") as process:
        say(process, **HELLO)
        say(process, method="notifications/initialized")
        call = {"name": "deliberate", "arguments": {"problem": PROBLEM}}
        say(process, id=2, method="tools/call", params=call | {"_meta": {"progressToken": 7}})
        assert process.stdout is not None
        messages = [json.loads(process.stdout.readline()) for _ in range(3)]
        while "id" not in messages[-1]:
            messages.append(json.loads(process.stdout.readline()))
        rest, errors = process.communicate(timeout=20)  # which closes its input
    assert process.returncode == 0
    assert [message.get("id") for message in messages if "id" in message] == [1, 2]
    progress = [one["params"] for one in messages if one.get("method") == "notifications/progress"]
    assert {one["progressToken"] for one in progress} == {7}
    assert rest == ""
    assert all(noise in errors for noise in ("printed", "written", "from a child"))


def halved(text: str) -> str:
    """A call of a tool with a text in JSON's own spelling."""
    return (
        '{"jsonrpc": "2.0", "id": %s, "method": "tools/call", "params": {"name": "check_answer", '
        f'"arguments": {{"answer": "{text}", "expected": "4"}}}}}}'
    )


NO_MESSAGES: list[tuple[str, int, Any]] = [
    (halved("\\ud800") % 5, -32700, 5),
    (halved("\\udc00\\ud83d") % '"six"', -32700, "six"),
    (halved("4") % '"\\ud800"', -32700, None),
    ('{"jsonrpc": "2.0", "id": 7, "method": "tools/call"', -32700, None),
    ("hello", -32700, None),
    ("[" * 20_000, -32700, None),
    ('{"jsonrpc": "2.0", "id": 8, "method": 3}', -32600, 8),
    ('{"jsonrpc": "1.0", "id": 9, "method": "ping"}', -32600, 9),
    ('{"jsonrpc": "2.0", "id": true, "method": "ping"}', -32600, None),
    ('{"jsonrpc": "2.0", "id": null, "method": "ping"}', -32600, None),
    ('{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}', -32600, None),
    ('[{"jsonrpc": "2.0", "id": 10, "method": "ping"}]', -32600, None),
    ("{}", -32600, None),
]


def test_what_is_no_message_is_answered() -> None:
    with started() as process:
        say(process, **HELLO)
        say(process, method="notifications/initialized")
        assert process.stdin is not None
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["id"] == 1
        for line, code, request_id in NO_MESSAGES:
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            assert (answer["error"]["code"], answer["id"]) == (code, request_id), line
        # Neither an empty line nor a wrong response is a request; what comes next is answered.
        for line in (
            "",
            "   ",
            '{"jsonrpc": "2.0", "id": 3, "result": 5}',
            '{"error": {}, "id": 4}',
        ):
            process.stdin.write(f"{line}\n")
        process.stdin.write(f"{halved('4') % 11}\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        assert (answer["id"], answer["result"]["isError"]) == (11, False)
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_a_client_is_greeted_before_the_models_are_loaded_and_may_leave() -> None:
    with started(loading_s=60.0) as process:
        say(process, **HELLO)
        assert process.stdout is not None
        greeting = json.loads(process.stdout.readline())
        assert greeting["result"]["serverInfo"]["name"] == "fasttts"
        began = time.monotonic()
        process.communicate(timeout=20)
    assert process.returncode == 0
    assert time.monotonic() - began < 10


def test_a_signal_ends_the_server_over_stdio() -> None:
    with started() as process:
        lines_until(process, "the models are loaded")
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)
    assert process.returncode == 0


def test_a_signal_ends_the_server_over_http() -> None:
    with started(*HTTP, program=QUIET) as process:
        told = lines_until(process, "the models are loaded")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 0
    assert "fasttts: tools at http://127.0.0.1:" in told


def test_a_signal_ends_the_server_over_http_while_models_load() -> None:
    with started(*HTTP, program=QUIET, loading_s=60.0) as process:
        lines_until(process, "tools at http")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_its_messages_over_http_are_lines_of_json_on_request() -> None:
    with started("--log-format", "json", *HTTP, program=QUIET) as process:
        first = lines_until(process, "the models are loaded")
        url = json.loads(first.splitlines()[0])["message"].removeprefix("tools at ")
        assert httpx.post(url, json=HELLO, headers={"Host": "evil.example"}).status_code == 421
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=20)
    told = [json.loads(line) for line in (first + rest).splitlines()]
    (refusal,) = [line for line in told if line["logger"] == "mcp.server.transport_security"]
    assert (refusal["level"], "evil.example" in refusal["message"]) == ("warning", True)
    assert "uvicorn.error" in {line["logger"] for line in told}


def test_its_messages_over_stdio_are_lines_of_json_on_request() -> None:
    with started("--log-format", "json", "mcp", program=QUIET) as process:
        say(process, **HELLO)
        say(process, method="notifications/initialized")
        say(process, method="notifications/cancelled", params={"requestId": []})
        told = lines_until(process, "malformed params")
        _, rest = process.communicate(timeout=20)
    loggers = {json.loads(line)["logger"] for line in (told + rest).splitlines()}
    assert "mcp.server.runner" in loggers


def test_models_that_cannot_be_loaded_end_the_server(
    run: Callable[..., Result], open_with: OpenWith
) -> None:
    def open_engine(_: EngineConfig) -> FastTTS:
        raise ConfigurationError("there is no such model")

    open_with(open_engine)
    result = run("mcp", "--transport", "http", "--port", "0")
    assert result.exit_code == 2
    assert "fasttts: there is no such model" in result.stderr


def test_what_cannot_work_is_refused_before_models_are_loaded(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("# nobody\n\n", encoding="utf-8")
    one_key = tmp_path / "one-key"
    one_key.write_text("a-key-of-the-test\n", encoding="utf-8")
    http = ("--transport", "http")
    refused = {
        ("--transport", "pigeon"): "use stdio or http",
        ("--time-limit", "0"): "time_limit_s",
        ("--max-problem-tokens", "0"): "max_problem_tokens",
        ("--search", "none"): "search='none'",
        ("--search", "bean_search"): "did you mean 'beam_search'?",
        ("-n", "5"): "multiple of beam_width",
        (*http, "--host", "0.0.0.0"): "--api-key-file",
        (*http, "--port", "70000"): "--port 70000",
        (*http, "--api-key-file", str(tmp_path / "none")): "No such file",
        (*http, "--api-key-file", str(keys)): "has no key: write one in each line",
        (
            *http,
            "--host",
            "192.0.2.1",
            "--api-key-file",
            str(one_key),
        ): "cannot listen on 192.0.2.1",
    }
    for arguments, message in refused.items():
        result = run("mcp", *arguments)
        assert result.exit_code == 2, (arguments, result.output)
        assert message in result.stderr
        assert result.stdout == ""


@pytest.mark.vllm
@pytest.mark.slow
async def test_the_demonstration_models_over_stdio() -> None:
    heard: list[str] = []

    async def hear(_: float, __: float | None, message: str | None) -> None:
        heard.append(str(message))

    async with Client(command(REAL, "mcp", "-n", "8", "--time-limit", "200")) as client:
        result = await client.call_tool("deliberate", {"problem": PROBLEM}, progress_callback=hear)
    assert result.structured_content["answer"] == "31"
    assert "the models are being loaded" in heard


def test_why_nothing_was_loaded_is_told_where_the_client_has_left_before() -> None:
    class Late:
        async def loaded(self) -> None:
            await asyncio.sleep(0.05)
            raise ConfigurationError("no such model")

    async def leave() -> None:
        """Serves nobody."""

    engine: Any = Late()
    with pytest.raises(ConfigurationError, match="no such model"):
        asyncio.run(_until_end(engine, leave(), lambda: None, None))
