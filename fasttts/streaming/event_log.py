"""Passes events from the loop's thread to any number of readers, in threads and event loops."""

import asyncio
import contextlib
import functools
import threading
from collections.abc import AsyncGenerator, Callable, Generator

from fasttts.types import Event

_News = tuple[list[Event], bool]


class EventLog:
    """The events of one search; every reader gets all of them, from the first on."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._is_over = False
        self._changed = threading.Condition()
        self._wakers: list[Callable[[], None]] = []

    def publish(self, event: Event) -> None:
        """Adds an event; called by one thread, before `end`."""
        with self._changed:
            self._events.append(event)
            self._wake()

    def end(self) -> None:
        """Marks the log as complete."""
        with self._changed:
            self._is_over = True
            self._wake()

    def read(self) -> Generator[Event, None, None]:
        """Yields every event, waiting for those to come."""
        index, is_over = 0, False
        while not is_over:
            with self._changed:
                self._changed.wait_for(functools.partial(self._has_news, index))
                events, is_over = self._since(index)
            yield from events
            index += len(events)

    async def aread(self) -> AsyncGenerator[Event, None]:
        """Reads as `read` does, for event loops."""
        changed = asyncio.Event()
        waker = functools.partial(_call_soon, asyncio.get_running_loop(), changed.set)
        with self._woken(waker):
            index, is_over = 0, False
            while not is_over:
                changed.clear()
                with self._changed:  # held briefly: the event loop does not wait for events here
                    events, is_over = self._since(index)
                for event in events:
                    yield event
                index += len(events)
                if not events and not is_over:
                    await changed.wait()

    def _has_news(self, index: int) -> bool:
        return self._is_over or len(self._events) > index

    def _since(self, index: int) -> _News:
        return self._events[index:], self._is_over

    def _wake(self) -> None:
        self._changed.notify_all()
        for waker in self._wakers:
            waker()

    @contextlib.contextmanager
    def _woken(self, waker: Callable[[], None]) -> Generator[None, None, None]:
        """Calls `waker` after every event."""
        with self._changed:
            self._wakers.append(waker)
        try:
            yield
        finally:
            with self._changed:
                self._wakers.remove(waker)


def _call_soon(loop: asyncio.AbstractEventLoop, set_changed: Callable[[], None]) -> None:
    """Wakes a reader; a closed event loop has no waiting reader."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(set_changed)
