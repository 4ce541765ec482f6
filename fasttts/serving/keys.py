"""API keys: which clients may call."""

import hashlib
import hmac
from collections.abc import Sequence

from fasttts.serving.api_errors import ApiError

_SCHEME = "bearer "


class KeyRing:
    """The keys that open a server; keeps digests only.

    Args:
        keys: The keys; empty for a server that asks for none.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    def check(self, authorization: str | None) -> None:
        """Checks a request's header.

        The time it takes depends on neither the given key nor which key it is.

        Raises:
            ApiError: There is no key, or a wrong one.
        """
        if not self._digests:
            return
        header = authorization or ""
        is_bearer = header[: len(_SCHEME)].lower() == _SCHEME
        digest = _digest(header[len(_SCHEME) :].strip() if is_bearer else "")
        found = [hmac.compare_digest(digest, known) for known in self._digests]
        if not any(found):
            problem = "a wrong API key" if is_bearer else "no API key"
            raise ApiError(
                f"{problem}: send one of the server's as 'Authorization: Bearer KEY'",
                status=401,
                kind="authentication_error",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )


def _digest(key: str) -> bytes:
    """Digests have one length, so that comparing them does not tell that of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
