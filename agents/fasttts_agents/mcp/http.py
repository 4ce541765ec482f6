"""The server over streamable HTTP: for this machine, or for whoever has a key."""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.transport_security import TransportSecuritySettings
from sse_starlette.sse import AppStatus
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from fasttts.bounded_http import BoundedHttp
from fasttts.errors import ConfigurationError, shown
from fasttts.network import (
    LOOPBACK_NAMES,
    KeyRing,
    address,
    check_reach,
    checked_host,
    checked_origin,
    is_loopback,
    listening_socket,
    read_keys,
)

PATH: Final = "/mcp"
MAX_BODY_BYTES: Final = 1 << 20
_GRACE_S: Final = 5

# A server that is told to stop lets its streams end; those of the SDK would be cut off, and with
# them those of every later server of the process.
AppStatus.enable_automatic_graceful_drain = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """Where the server listens, and whom it answers.

    Attributes:
        host: The address or name to listen on.
        port: The port; 0 takes a free one.
        keys: Keys of which a request has to bear one; none are asked for where it is empty.
        allowed_hosts: Names by which requests may call the server, on any port; on loopback, and
            where it listens on one address, those are known.
        allowed_origins: Origins of web pages that may call it, such as `https://example.org`.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    keys: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        try:
            for name in self.allowed_hosts:
                checked_host(name)
            for name in self.allowed_origins:
                checked_origin(name)
        except ValueError as error:
            raise ConfigurationError(f"{shown(name, 200)}: {error}") from error
        read_keys(self.keys, None)
        check_reach(self.host, self.keys)
        if _is_any(self.host) and not self.allowed_hosts:
            raise ConfigurationError(
                f"--host {self.host} listens on all addresses: name those that clients use with "
                "--allowed-host, such as --allowed-host models.example.org"
            )

    @property
    def security(self) -> TransportSecuritySettings:
        """The checks of the headers Host and Origin, which web pages of others cannot forge."""
        own = f"[{self.host}]" if ":" in self.host else self.host
        names = (*(LOOPBACK_NAMES if is_loopback(self.host) else (own,)), *self.allowed_hosts)
        hosts = [*names, *(f"{name}:*" for name in names)]
        origins = [f"http://{host}" for host in hosts] if is_loopback(self.host) else []
        return TransportSecuritySettings(
            allowed_hosts=hosts, allowed_origins=[*origins, *self.allowed_origins]
        )


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


class _RequireKey:
    """Answers only requests that bear one of the keys.

    Args:
        app: What they are for.
        keys: The keys.
    """

    def __init__(self, app: ASGIApp, keys: tuple[str, ...]) -> None:
        self._app = app
        self._keys = KeyRing(keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            problem = self._keys.problem(Headers(scope=scope).get("authorization"))
            if problem is not None:
                headers = {"WWW-Authenticate": "Bearer"}
                refusal = JSONResponse({"error": problem}, status_code=401, headers=headers)
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


def http_app(server: Server[Any], options: HttpOptions) -> ASGIApp:
    """Makes the ASGI application of a server, with its tools at `PATH`.

    Args:
        server: The server.
        options: Whom it answers.
    """
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        max_request_body_size=MAX_BODY_BYTES,
        transport_security=options.security,
    )
    return _RequireKey(app, options.keys) if options.keys else app


class _Uvicorn(uvicorn.Server):
    """A web server that leaves the process's signals to its caller."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """A web server of an application, on a socket that is open once it is made.

    Args:
        app: The application.
        options: Where it listens.

    Attributes:
        url: The address of the tools.

    Raises:
        ConfigurationError: The address or the port cannot be had.
    """

    def __init__(self, app: ASGIApp, options: HttpOptions) -> None:
        self._socket = listening_socket(options.host, options.port)
        self.url: Final = address(self._socket) + PATH
        self._server = _Uvicorn(
            uvicorn.Config(
                app,
                log_config=None,  # the application decides where messages go
                access_log=False,
                server_header=False,
                http=BoundedHttp,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )

    async def serve(self) -> None:
        """Serves clients until `end`."""
        await self._server.serve(sockets=[self._socket])

    def end(self) -> None:
        """Ends the server, after the requests that end within five seconds."""
        self._server.should_exit = True
