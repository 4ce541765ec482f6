"""The end of draining: requests in work are cut, each with an answer to its client."""

import asyncio
from contextlib import AbstractContextManager
from types import TracebackType

from fasttts.serving.api_errors import ApiError, retry_after

_RETRY_S = 5.0
"""Seconds after which another server, or this one started again, should answer."""


class Drain:
    """The requests that wait for the engine or for their clients; belongs to one event loop.

    Attributes:
        is_over: Whether they are cut, and every later one is.
    """

    def __init__(self) -> None:
        self.is_over = False
        self._waits: set[Wait] = set()

    def wait(self) -> "Wait":
        """A context whose body raises the error of a request that is cut, once `end` is called."""
        return Wait(self._waits, self)

    def end(self) -> None:
        """Cuts every request that waits now, and all that wait later."""
        self.is_over = True
        for wait in self._waits:
            wait.cut()


class Wait(AbstractContextManager[None]):
    """One wait of a request; may be entered again and again, always by the same task.

    Raises on entry or in the body:
        ApiError: Draining is over.
    """

    def __init__(self, waits: "set[Wait]", drain: Drain) -> None:
        self._waits = waits
        self._drain = drain
        self._task: asyncio.Task[object] | None = None
        self._is_cut = False

    def __enter__(self) -> None:
        if self._drain.is_over:
            raise _cut()
        if self._task is None:  # looking it up is dear where every token is waited for
            self._task = asyncio.current_task()
        self._waits.add(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._waits.discard(self)
        if not self._is_cut:
            return
        self._is_cut = False
        assert self._task is not None, "a wait is cut in its body"
        self._task.uncancel()
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            raise _cut() from None

    def cut(self) -> None:
        """Ends the wait: its task is woken by a cancellation, which ends in the body."""
        if self._task is not None and not self._is_cut:
            self._is_cut = True
            self._task.cancel()


def _cut() -> ApiError:
    return ApiError(
        "the server stops, and the time for requests in work is over: send the request again",
        status=503,
        kind="server_error",
        code="server_stops",
        headers=retry_after(_RETRY_S),
    )
