"""A server in a thread of the test's process, on any engine, and the clients of it."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest
import uvicorn

from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.bounded_http import BoundedHttp
from fasttts.config.serving import serving_config
from fasttts.network import address, listening_socket
from fasttts.serving import make_app
from fasttts.serving.drain import Drain
from tests.hermes import HermesGenerator
from tests.searches import UNTIMED

KEY = "a-key-for-tests"
QUESTION = "What is 2 + 2?"
ASKED = [{"role": "user", "content": QUESTION}]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A running server."""

    engine: FastTTS
    url: str
    server: uvicorn.Server
    drain: Drain
    loop: asyncio.AbstractEventLoop
    http: httpx.Client
    openai: openai.OpenAI

    def client(self) -> openai.OpenAI:
        """The official client; closed with the server."""
        return self.openai

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.http.get(path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.http.post(path, **options)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def metric(self, name: str) -> float:
        lines = self.get("/metrics", headers={"Authorization": f"Bearer {KEY}"}).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def openai_client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)


Serve = Callable[..., Served]


@contextmanager
def serving(engine: FastTTS, **options: Any) -> Iterator[Served]:
    """Serves an engine while the body runs; the options are those of `ServingConfig`."""
    app = make_app(engine, serving_config(**{"names": ("demo",), **options}))
    listener = listening_socket("127.0.0.1", 0)
    # Connections have it from their listener: a reader that is slow is soon waited for.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            http=BoundedHttp,
            ws="none",
            timeout_graceful_shutdown=5,
        )
    )
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner, closing(listener):
        loop = runner.get_loop()
        thread = threading.Thread(target=lambda: runner.run(server.serve([listener])))
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.005)
            url = address(listener)
            with httpx.Client(base_url=url, timeout=30) as http, openai_client(url) as client:
                yield Served(
                    engine=engine,
                    url=url,
                    server=server,
                    drain=app.state.drain,
                    loop=loop,
                    http=http,
                    openai=client,
                )
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves an engine, or a fake one, until the end of the test."""
    with ExitStack() as stack:

        def start(engine: FastTTS | None = None, **options: Any) -> Served:
            if engine is None:
                models = FakeGenerator(), FakeVerifier()
                engine = stack.enter_context(FastTTS(*models, scheduling=UNTIMED))
            return stack.enter_context(serving(engine, **options))

        yield start


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """The one server of a fake engine that tests share."""
    models = FakeGenerator(), FakeVerifier()
    with FastTTS(*models, scheduling=UNTIMED) as engine, serving(engine) as served:
        yield served


@pytest.fixture
def hermes() -> HermesGenerator:
    return HermesGenerator()


@pytest.fixture
def served_hermes(serve: Serve, hermes: HermesGenerator) -> Iterator[Served]:
    """A server of a model that answers by a table and calls tools."""
    with FastTTS(hermes, FakeVerifier(), scheduling=UNTIMED) as engine:
        yield serve(engine)


@pytest.fixture(scope="session")
def served_demo(demo_engine: FastTTS) -> Iterator[Served]:
    """The one server of the demonstration models."""
    with serving(demo_engine) as served:
        yield served


def until(is_true: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Waits until something is true."""
    end = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.01)
