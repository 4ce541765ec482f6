"""Handle of a search in flight: reads its events, waits for its result, stops it."""

import asyncio
import math
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, NoReturn, Self

from fasttts.errors import ConfigurationError, wrong_type
from fasttts.scheduling.loop_thread import LoopThread, ResultListener
from fasttts.streaming.listener import SearchListener
from fasttts.types import Event, SearchResult
from fasttts.verifiers.daemon_pool import run_in_daemon

ReadResult = Callable[[ResultListener], SearchResult]
"""Makes the result of a search that ended; raises what it ended with."""


class SearchHandle:
    """A running search; `FastTTS.submit` makes one.

    All methods may be called from any thread, by several at once. A handle that is dropped leaves
    its search running; as a context manager it stops one that has not ended.

    Args:
        thread: Runs the search.
        listener: Listens to it; a `SearchListener` where its events may be read.
        read: Makes the result; a user's functions run in it, in the thread that asks.
    """

    def __init__(
        self,
        thread: LoopThread,
        listener: ResultListener,
        read: ReadResult,
    ) -> None:
        self._thread = thread
        self._listener = listener
        self._read = read
        self._lock = threading.Lock()
        self._result: SearchResult | None = None
        self._closing: Sequence[Event] = ()

    @property
    def done(self) -> bool:
        """Whether the search has ended, in whatever way.

        Raises:
            BackendError: This process was forked from the engine's; so do all methods there.
        """
        self._thread.check_process()
        return self._listener.future.done()

    def cancel(self) -> bool:
        """Stops the search before its next iteration and frees its sequences.

        `result` then raises SearchError with `stop_reason="cancelled"`, unless the search ends in
        the current iteration. No other search changes.

        Returns:
            Whether it had not ended yet.
        """
        if self.done:
            return False
        self._thread.cancel(self._listener.run)
        return True

    def result(self, timeout: float | None = None) -> SearchResult:
        """Waits for the result.

        Args:
            timeout: Most seconds to wait; the search goes on afterwards. None waits without limit.

        Raises:
            TimeoutError: It has not ended within `timeout`.
            ConfigurationError: `timeout` is no number.
            BackendError: The generator or the verifier failed.
            SearchError: No candidate was complete, `extract` failed, or it was cancelled.
        """
        self._thread.check_process()
        if not isinstance(timeout, int | float | None):
            raise wrong_type("timeout", timeout, "a number of seconds or None")
        self._listener.future.result(_seconds(timeout))
        with self._lock:
            if self._result is None:
                self._result = self._read(self._listener)
            return self._result

    async def aresult(self) -> SearchResult:
        """Waits as `result` does, for event loops; a cancelled task leaves the search running."""
        self._thread.check_process()
        await asyncio.wrap_future(self._listener.future)
        return await asyncio.wrap_future(run_in_daemon(self.result))

    def events(self) -> Generator[Event, None, None]:
        """Yields every event of the search from its beginning, waiting for those to come.

        The last event is `Finished`; instead of it the search's error is raised. Leaving the
        generator does not stop the search.
        """
        self._thread.check_process()
        yield from self._watched.log.read()
        yield from self._closed()

    async def aevents(self) -> AsyncGenerator[Event, None]:
        """Yields as `events` does, for event loops."""
        self._thread.check_process()
        async for event in self._watched.log.aread():
            yield event
        for event in await asyncio.wrap_future(run_in_daemon(self._closed)):
            yield event

    def when_done(self, call: Callable[[], None]) -> None:
        """Calls back once the search has ended, from the loop's thread; must not block.

        Raises:
            ConfigurationError: `call` is no function.
        """
        self._thread.check_process()
        if not callable(call):
            raise wrong_type("call", call, "a function")

        def tell(_: "Future[Any]") -> None:
            call()

        self._listener.future.add_done_callback(tell)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._thread.forked is None:  # in a forked process the search is the parent's
            self.cancel()

    def __copy__(self) -> Self:
        """Returns the handle itself: the search is one."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        """Refuses to be pickled.

        Raises:
            ConfigurationError: Always; it says what to pass to another process instead.
        """
        raise ConfigurationError(
            "a handle cannot be pickled: its search runs in this process; pass handle.result()"
        )

    @property
    def _watched(self) -> SearchListener:
        assert isinstance(self._listener, SearchListener), "its events are not kept"
        return self._listener

    def _closed(self) -> Sequence[Event]:
        """The last events, which need the result."""
        result = self.result()
        with self._lock:
            if not self._closing:
                self._closing = list(self._watched.closing(result))
            return self._closing


def _seconds(timeout: float | None) -> float | None:
    """A timeout that a lock can wait for; one of longer than that is none."""
    if timeout is None or timeout > threading.TIMEOUT_MAX or math.isnan(timeout):
        return None
    return timeout
