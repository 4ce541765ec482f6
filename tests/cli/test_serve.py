"""`fasttts serve` on fake models: what it says, and how it is stopped."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import Result

from fasttts import EngineConfig, FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from tests.engines import OpenWith
from tests.hermes import HermesGenerator

Run = Callable[..., Result]
ASKED = [{"role": "user", "content": "What is 2 + 2?"}]


@pytest.fixture(autouse=True)
def late_signals_fail() -> Iterator[None]:
    """A signal that finds no server fails the test; by default it would end the tests' process."""

    def fail(number: int, _: object) -> None:
        raise AssertionError(f"signal {number} came when no server handled it")

    usual = signal.signal(signal.SIGTERM, fail)
    yield
    signal.signal(signal.SIGTERM, usual)


class Client(threading.Thread):
    """Talks to the server that the main thread runs, and then tells its process to stop."""

    def __init__(self, port: int, talk: "Callable[[httpx.Client, Client], None]") -> None:
        super().__init__()
        self._url = f"http://127.0.0.1:{port}"
        self._talk = talk
        self.failure: BaseException | None = None
        self._has_stopped = False

    def stop(self) -> None:
        """Tells the process to stop, once: the server handles no second signal."""
        if not self._has_stopped:
            self._has_stopped = True
            os.kill(os.getpid(), signal.SIGTERM)

    def run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=30) as client:
            try:
                self._wait(client)
                self._talk(client, self)
            except BaseException as error:  # noqa: BLE001, it is raised again by `joined`
                self.failure = error
            finally:
                self.stop()

    def _wait(self, client: httpx.Client) -> None:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                client.get("/health")
            except httpx.TransportError:
                time.sleep(0.02)
            else:
                return

    def joined(self) -> None:
        self.join()
        if self.failure is not None:
            raise self.failure


def test_it_serves_until_it_is_told_to_stop(
    run: Run, engines: list[FastTTS], port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTTTS_SERVE_API_KEYS", "a-secret-key")

    def talk(client: httpx.Client, thread: Client) -> None:
        assert client.get("/v1/models").status_code == 401
        client.headers["Authorization"] = "Bearer a-secret-key"
        body = {"model": "mine:beam-4", "messages": ASKED}
        assert client.post("/v1/chat/completions", json=body).status_code == 200
        assert client.get("/version", headers={"Host": "evil.example"}).status_code == 400

    client = Client(port, talk)
    client.start()
    done = run("serve", "--port", str(port), "--name", "mine")
    client.joined()
    assert done.exit_code == 0, done.stderr
    assert f"http://127.0.0.1:{port}/v1" in done.stderr
    assert "a-secret-key" not in done.stderr + done.stdout
    assert engines[0].is_closed


def test_a_second_signal_while_the_models_are_freed_changes_nothing(
    run: Run, open_with: OpenWith, port: int
) -> None:
    freed: list[str] = []

    class Freed(FakeGenerator):
        def close(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            super().close()
            freed.append(self.name)

    open_with(lambda settings: FastTTS(Freed(), FakeVerifier()))
    client = Client(port, lambda client, thread: None)
    client.start()
    done = run("serve", "--port", str(port))
    client.joined()
    assert (done.exit_code, len(freed)) == (0, 1), done.stderr


def test_the_address_is_in_one_line_with_the_models(
    run: Run, open_with: OpenWith, port: int
) -> None:
    """Whoever reads a log line by line finds it, however long the models' names are."""
    generator = FakeGenerator()
    generator.name = f"/srv/models/[bold]{'Long-Model-Name/' * 12}"
    open_with(lambda settings: FastTTS(generator, FakeVerifier()))
    client = Client(port, lambda client, thread: None)
    client.start()
    done = run("serve", "--port", str(port), "--name", "mine")
    client.joined()
    told = [line for line in done.stderr.splitlines() if line.startswith("Serving ")]
    assert len(told) == 1
    assert generator.name in told[0]
    assert told[0].endswith(f" on http://127.0.0.1:{port}/v1")


@pytest.mark.parametrize(("drain", "is_whole"), [("20", True), ("1", False)])
def test_requests_in_work_may_end(
    run: Run, open_with: OpenWith, port: int, drain: str, is_whole: bool
) -> None:
    generator = HermesGenerator()
    generator.step_s = 0.02
    generator.answers["What is 2 + 2?"] = "x" * (60 if is_whole else 2000)
    open_with(lambda settings: FastTTS(generator, FakeVerifier()))
    lines: list[str] = []

    def talk(client: httpx.Client, thread: Client) -> None:
        body = {"model": "fake-hermes", "messages": ASKED, "stream": True, "max_tokens": 4000}
        with client.stream("POST", "/v1/chat/completions", json=body) as stream:
            found = stream.iter_lines()
            lines.append(next(found))
            thread.stop()
            lines.extend(found)  # raises where the connection breaks off

    client = Client(port, talk)
    client.start()
    started = time.monotonic()
    done = run("serve", "--port", str(port), "--drain-seconds", drain)
    client.joined()
    assert done.exit_code == 0, done.stderr
    assert lines[-2] == "data: [DONE]"
    assert any("server_stops" in line for line in lines) is not is_whole
    assert time.monotonic() - started < 15


CUT: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {"messages": ASKED}),
    ("/v1/chat/completions", {"messages": ASKED, "n": 3}),
    ("/v1/chat/completions", {"messages": ASKED, "model": "fake-hermes:beam-4"}),
    ("/v1/completions", {"prompt": "What is 2 + 2?"}),
    ("/v1/responses", {"input": "What is 2 + 2?"}),
]


@pytest.mark.parametrize("stream", [False, True])
def test_every_request_that_is_cut_is_answered(
    run: Run, open_with: OpenWith, port: int, stream: bool
) -> None:
    generator = HermesGenerator()
    generator.step_s = 0.02
    generator.answers["What is 2 + 2?"] = "x" * 3000
    engines: list[FastTTS] = []

    def open_engine(_: EngineConfig) -> FastTTS:
        engines.append(FastTTS(generator, FakeVerifier()))
        return engines[-1]

    open_with(open_engine)

    def ask(asked: tuple[str, dict[str, Any]]) -> httpx.Response:
        path, body = asked
        length = {"max_output_tokens" if path.endswith("responses") else "max_tokens": 4000}
        body = {"model": "fake-hermes", "stream": stream, **length, **body}
        return httpx.post(f"http://127.0.0.1:{port}{path}", json=body, timeout=30)

    def upload() -> bytes:
        """A body that never comes to its end."""
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.settimeout(20)
            connection.sendall(
                b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
            )
            return connection.recv(10_000)

    def talk(client: httpx.Client, thread: Client) -> None:
        with ThreadPoolExecutor() as pool:
            answers = [pool.submit(ask, asked) for asked in CUT]
            begun = pool.submit(upload)
            while engines[0].stats().requests.num_open < 7:  # three of them for `n`
                time.sleep(0.01)
            # Streams have begun by then: an error is no status any more.
            time.sleep(1.3 if stream else 0)
            thread.stop()
            for answer in answers:
                check(answer.result())
            assert begun.result().startswith(b"HTTP/1.1 503")

    def check(answer: httpx.Response) -> None:
        if stream:
            assert answer.status_code == 200
            assert "the server stops" in answer.text
        else:
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "5"
            assert answer.json()["error"]["code"] == "server_stops"

    client = Client(port, talk)
    client.start()
    done = run("serve", "--port", str(port), "--drain-seconds", "0.5")
    client.joined()
    assert done.exit_code == 0, done.stderr
    assert "Traceback" not in done.stderr
    ended = engines[0].stats().requests
    assert (ended.num_open, ended.ended["cancelled"]) == (0, 7)


def test_it_can_be_stopped_while_models_load(run: Run, open_with: OpenWith, port: int) -> None:
    def open_engine(_: EngineConfig) -> FastTTS:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(20)
        pytest.fail("it loads on")

    open_with(open_engine)
    usual = signal.getsignal(signal.SIGTERM)
    done = run("serve", "--port", str(port))
    assert done.exit_code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == usual
    with socket.create_server(("127.0.0.1", port)):
        pass  # the port is free again


def test_other_machines_need_a_key(
    run: Run, engines: list[FastTTS], port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = run("serve", "--host", "0.0.0.0", "--port", str(port))
    assert refused.exit_code == 2
    assert "--host 0.0.0.0 serves other machines: give --api-key-file" in refused.stderr
    assert engines == []
    monkeypatch.setenv("FASTTTS_SERVE_API_KEYS", "a-key-of-the-test")
    client = Client(port, lambda client, thread: None)
    client.start()
    done = run("serve", "--host", "0.0.0.0", "--port", str(port))
    client.joined()
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-requests", "0"], "max_requests=0"),
        (["--search", "dvst"], "did you mean 'dvts'"),
        (["--api-key-file", "nowhere"], "api_key_file='nowhere' cannot be read"),
        (["--host", "256.1.1.1"], "--host 256.1.1.1 serves other machines"),
        (["--port", "99999"], "below 65,536"),
        (["--drain-seconds", "-1"], "--drain-seconds"),
        (["--max-seconds", "nan"], "max_seconds"),
    ],
)
def test_options_are_checked(
    run: Run, engines: list[FastTTS], port: int, arguments: list[str], message: str
) -> None:
    done = run("serve", "--port", str(port), *arguments)
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_port_that_is_taken(run: Run, port: int) -> None:
    """It is found out before models are loaded."""
    with socket.create_server(("127.0.0.1", port)):
        done = run("serve", "--port", str(port))
    assert done.exit_code == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


def test_a_model_without_a_verifier_can_be_served(
    run: Run, open_with: OpenWith, port: int, tmp_path: Path
) -> None:
    def open_engine(settings: EngineConfig) -> FastTTS:
        return FastTTS(FakeGenerator())

    open_with(open_engine)
    (tmp_path / "keys").write_text("a-key-of-a-file\n")
    seen = []

    def talk(client: httpx.Client, thread: Client) -> None:
        client.headers["Authorization"] = "Bearer a-key-of-a-file"
        seen.extend(model["id"] for model in client.get("/v1/models").json()["data"])

    client = Client(port, talk)
    client.start()
    run("serve", "--port", str(port), "--api-key-file", str(tmp_path / "keys"))
    client.joined()
    assert seen == ["fake-generator", "fake-generator:vote-16"]
