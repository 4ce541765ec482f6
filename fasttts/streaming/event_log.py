"""Passes events from the loop's thread to any number of readers, in threads and event loops."""

import asyncio
import contextlib
import functools
import threading
from collections.abc import AsyncGenerator, Generator

from fasttts.types import Event

_News = tuple[list[Event], bool]

_MANY_EVENTS = 32
"""After so many events that were there already, a reader lets its event loop do other work."""


class EventLog:
    """The events of one search; every reader gets all of them, from the first on."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._is_over = False
        self._changed = threading.Condition()
        self._waiters: list[asyncio.Future[None]] = []

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
        loop = asyncio.get_running_loop()
        index, is_over = 0, False
        while not is_over:
            with self._changed:  # held briefly: the event loop does not wait for events here
                events, is_over = self._since(index)
                waiter = None if events or is_over else loop.create_future()
                if waiter is not None:
                    self._waiters.append(waiter)
            if waiter is not None:
                await waiter
            for event in events:
                yield event
                index += 1
                if index % _MANY_EVENTS == 0:
                    await asyncio.sleep(0)

    def _has_news(self, index: int) -> bool:
        return self._is_over or len(self._events) > index

    def _since(self, index: int) -> _News:
        return self._events[index:], self._is_over

    def _wake(self) -> None:
        self._changed.notify_all()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            with contextlib.suppress(RuntimeError):  # a closed event loop has no waiting reader
                waiter.get_loop().call_soon_threadsafe(_end, waiter)


def _end(waiter: "asyncio.Future[None]") -> None:
    """Ends a wait, unless its reader has left."""
    if not waiter.done():
        waiter.set_result(None)
