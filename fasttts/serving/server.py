"""Runs the application: on which address, and until which signal."""

import asyncio
import math
import signal
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

import uvicorn

from fasttts.bounded_http import BoundedHttp
from fasttts.config.serving import ServingConfig
from fasttts.engine import FastTTS
from fasttts.serving.app import make_app
from fasttts.serving.drain import Drain

_KEEP_ALIVE_S = 75
"""Longer than the usual proxies keep their connections: who closes one first may lose a request."""

_LAST_WORDS_S = 5
"""Seconds in which clients of requests that are cut may read so; then connections are closed."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Server(uvicorn.Server):
    """A server that returns once it has stopped; uvicorn's own raises the signal again.

    That would end the process before its engine is closed. Requests that are still in work at the
    end of draining are cut with an answer, where uvicorn's own only closes their connections.

    Args:
        config: Options of uvicorn; its limit of shutting down is beyond `drain_s`.
        drain: Cuts the requests in work.
        drain_s: Seconds until then, from the signal on.
    """

    def __init__(self, config: uvicorn.Config, drain: Drain, drain_s: float) -> None:
        super().__init__(config)
        self._drain = drain
        self._drain_s = drain_s

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        end = asyncio.get_running_loop().call_later(self._drain_s, self._drain.end)
        try:
            await super().shutdown(sockets)
        finally:
            end.cancel()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        if threading.current_thread() is not threading.main_thread():
            yield  # where Python allows no handlers; the owner of the thread stops the server
            return
        usual = {each: signal.signal(each, self.handle_exit) for each in _SIGNALS}
        try:
            yield
        finally:
            for each, handler in usual.items():
                signal.signal(each, handler)


def serve(
    engine: FastTTS,
    config: ServingConfig,
    listener: socket.socket,
    *,
    drain_s: float,
    on_start: Callable[[], None] = lambda: None,
) -> None:
    """Serves until SIGTERM or Ctrl-C, and then lets requests end.

    Args:
        engine: Answers; closed by whoever opened it.
        config: Names, keys and limits.
        listener: Where it listens; closed at the end.
        drain_s: Most seconds for requests in work to end; then each is answered with an error.
        on_start: Called once requests are accepted.

    Raises:
        ConfigurationError: An option cannot work with this engine.
    """
    app = make_app(engine, config)
    app.router.on_startup.append(on_start)
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,  # the application decides where messages go
            access_log=False,
            server_header=False,
            date_header=False,
            http=BoundedHttp,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=math.ceil(drain_s) + _LAST_WORDS_S,
            ws="none",
        ),
        app.state.drain,
        drain_s,
    )
    with listener:
        server.run([listener])
