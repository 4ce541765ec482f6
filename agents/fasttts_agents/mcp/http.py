"""The server over streamable HTTP: for this machine, or for whoever has a key."""

import hashlib
import hmac
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from fasttts.errors import ConfigurationError

PATH: Final = "/mcp"
MAX_BODY_BYTES: Final = 1 << 20
_GRACE_S: Final = 5
_LOCAL: Final = ("127.0.0.1", "localhost", "[::1]")


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
        if not 0 <= self.port < 1 << 16:
            raise ConfigurationError(f"--port {self.port}: give a number from 0 to 65535")
        if any(not key.strip() for key in self.keys):
            raise ConfigurationError("an API key is empty: leave it out, or give it a value")
        if not self.is_local and not self.keys:
            raise ConfigurationError(
                f"--host {self.host} serves other machines: give --api-key-file, so that only who "
                "has a key is answered, or listen on 127.0.0.1"
            )
        if _is_any(self.host) and not self.allowed_hosts:
            raise ConfigurationError(
                f"--host {self.host} listens on all addresses: name those that clients use with "
                "--allowed-host, such as --allowed-host models.example.org"
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        address = _address(self.host)
        return self.host == "localhost" if address is None else address.is_loopback

    @property
    def security(self) -> TransportSecuritySettings:
        """The checks of the headers Host and Origin, which web pages of others cannot forge."""
        own = f"[{self.host}]" if ":" in self.host else self.host
        names = (*(_LOCAL if self.is_local else (own,)), *self.allowed_hosts)
        hosts = [*names, *(f"{name}:*" for name in names)]
        origins = [f"http://{host}" for host in hosts] if self.is_local else []
        return TransportSecuritySettings(
            allowed_hosts=hosts, allowed_origins=[*origins, *self.allowed_origins]
        )


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_any(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_unspecified


class _RequireKey:
    """Answers only requests that bear one of the keys.

    Args:
        app: What they are for.
        keys: The keys; every one is compared, in a time that does not tell how much of it fits.
    """

    def __init__(self, app: ASGIApp, keys: tuple[str, ...]) -> None:
        self._app = app
        self._digests = [_digest(key.encode()) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._bears_key(scope):
            refusal = JSONResponse(
                {"error": "give one of the server's API keys: Authorization: Bearer KEY"},
                status_code=401,
                headers={"WWW-Authenticate": "Bearer"},
            )
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _bears_key(self, scope: Scope) -> bool:
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, key = given.partition(b" ")
        found = _digest(key.strip())
        fits = [hmac.compare_digest(found, digest) for digest in self._digests]
        return scheme.lower() == b"bearer" and any(fits)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


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
        self._socket = _listening(options)
        host, port = self._socket.getsockname()[:2]
        self.url: Final = f"http://{f'[{host}]' if ':' in host else host}:{port}{PATH}"
        self._server = _Uvicorn(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )

    async def serve(self) -> None:
        """Serves clients until `end`."""
        await self._server.serve(sockets=[self._socket])

    def end(self) -> None:
        """Ends the server, after the requests that end within five seconds."""
        self._server.should_exit = True


def _listening(options: HttpOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        return socket.create_server((options.host, options.port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigurationError(
            f"--host {options.host} --port {options.port}: {error.strerror or error}"
        ) from error
