"""Runs the application: on which address, and until which signal."""

import signal
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

import uvicorn

from fasttts.config.serving import ServingConfig
from fasttts.engine import FastTTS
from fasttts.errors import ConfigurationError
from fasttts.serving.app import make_app

_KEEP_ALIVE_S = 75
"""Longer than the usual proxies keep their connections: who closes one first may lose a request."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def listening_socket(host: str, port: int) -> socket.socket:
    """Opens the socket of a server.

    Args:
        host: An address, or a name of this machine.
        port: The port; 0 takes a free one.

    Raises:
        ConfigurationError: It is taken, or not of this machine.
    """
    if not 0 <= port < 1 << 16:
        raise ConfigurationError(f"--port {port}: a port is a number below {1 << 16:,}")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(
            f"cannot listen on {host}:{port} ({error}): choose another --host or --port"
        ) from error


def address(listener: socket.socket) -> str:
    """The URL of a server that listens there."""
    host, port, *_ = listener.getsockname()
    return (
        f"http://[{host}]:{port}" if listener.family == socket.AF_INET6 else f"http://{host}:{port}"
    )


class _Server(uvicorn.Server):
    """A server that returns once it has stopped; uvicorn's own raises the signal again.

    That would end the process before its engine is closed.
    """

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
        drain_s: Most seconds for requests in work to end; then they are cancelled.
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
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=int(drain_s) or 1,
            ws="none",
        )
    )
    with listener:
        server.run([listener])
