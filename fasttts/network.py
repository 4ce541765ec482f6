"""What the servers of this project have in common: their socket, their names, their keys."""

import hashlib
import hmac
import ipaddress
import re
import socket
from collections.abc import Sequence
from pathlib import Path

from fasttts.errors import ConfigurationError

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
"""The names of a server on loopback; a web page calls it by another, which it has point here."""

_HOST_NAME = re.compile(
    r"\*|(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]"
)
_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[A-Za-z0-9.:\[\]-]{1,260}")

_SHORTEST_KEY = 8
"""Characters of the shortest key."""

_SCHEME = "bearer "


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own, which no other can reach."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def checked_host(name: str) -> str:
    """Returns the name of a host; "*" and "*.example.org" stand for several.

    Args:
        name: A name or an address, without a port.

    Raises:
        ValueError: It is none.
    """
    if _HOST_NAME.fullmatch(name) is None:
        raise ValueError("name a host without a port, such as models.example.org")
    return name


def checked_origin(name: str) -> str:
    """Returns the origin of web pages; "*" stands for all.

    Args:
        name: Scheme, host and perhaps a port.

    Raises:
        ValueError: It is none.
    """
    if _ORIGIN.fullmatch(name) is None:
        raise ValueError("an origin is like https://example.org, without a path")
    return name


def check_reach(host: str, keys: Sequence[str]) -> None:
    """Checks that a server which others can reach asks for a key.

    Args:
        host: Where it listens.
        keys: Its keys.

    Raises:
        ConfigurationError: Everybody could use it.
    """
    if not is_loopback(host) and not keys:
        raise ConfigurationError(
            f"--host {host} serves other machines: give --api-key-file, so that only who has a key "
            "is answered, or listen on 127.0.0.1"
        )


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


def read_keys(given: Sequence[str], file: Path | None) -> tuple[str, ...]:
    """All keys of a server: those that are given and those of a file.

    Args:
        given: Keys.
        file: A file with further keys, one in each line; lines that begin with "#" are none.

    Raises:
        ConfigurationError: The file cannot be read, or a key cannot be sent in a header.
    """
    found = [*given, *(_keys_of(file) if file is not None else ())]
    for number, key in enumerate(found, start=1):
        if not key.isascii() or not key.isprintable() or " " in key or len(key) < _SHORTEST_KEY:
            # The message does not have the key: messages end in logs.
            raise ConfigurationError(
                f"API key {number} of {len(found)} has {len(key)} characters: a key has at "
                f"least {_SHORTEST_KEY}, all printable ASCII, and no blanks"
            )
    return tuple(found)


def _keys_of(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(
            f"api_key_file={str(file)!r} cannot be read ({error}): name a file with one key in "
            "each line"
        ) from error
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not keys:
        raise ConfigurationError(
            f"api_key_file={str(file)!r} has no key: write one in each line, or leave it out"
        )
    return keys


class KeyRing:
    """The keys that open a server; keeps digests only.

    Args:
        keys: The keys; empty for a server that asks for none.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    def problem(self, authorization: str | None) -> str | None:
        """The fault of a request's header; None where it has a key.

        The time it takes depends on neither the given key nor which key it is.

        Args:
            authorization: The header's value; None without the header.
        """
        if not self._digests:
            return None
        header = authorization or ""
        is_bearer = header[: len(_SCHEME)].lower() == _SCHEME
        digest = _digest(header[len(_SCHEME) :].strip() if is_bearer else "")
        found = [hmac.compare_digest(digest, known) for known in self._digests]
        if any(found):
            return None
        problem = "a wrong API key" if is_bearer else "no API key"
        return f"{problem}: send one of the server's as 'Authorization: Bearer KEY'"


def _digest(key: str) -> bytes:
    """Digests have one length, so that comparing them does not tell that of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
