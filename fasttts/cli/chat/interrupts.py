"""Ctrl-C that ends what is waited for, never the program, and never twice."""

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

Item = TypeVar("Item")


class Interrupts:
    """Decides when Ctrl-C raises `KeyboardInterrupt`: while something is waited for, and only then.

    One that comes in between is kept until the next wait of the same work, so the screen and the
    conversation are never left half changed.
    """

    def __init__(self) -> None:
        self._is_waiting = False
        self._is_pending = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Takes Ctrl-C over; the way it was treated before comes back at the end."""
        usual = signal.signal(signal.SIGINT, self._on_signal)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, usual)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Lets Ctrl-C raise, once."""
        self._is_waiting = True
        try:
            if self._is_pending:
                self._raise()
            yield
        finally:
            self._is_waiting = False

    def each(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, with Ctrl-C raising while the next one is waited for."""
        iterator = iter(items)
        while True:
            try:
                with self.waiting():
                    item = next(iterator)
            except StopIteration:
                return
            yield item

    def forget(self) -> None:
        """Drops a Ctrl-C that came after the end of the work it was meant for."""
        self._is_pending = False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._is_waiting:
            self._raise()
        self._is_pending = True

    def _raise(self) -> None:
        self._is_waiting = self._is_pending = False
        raise KeyboardInterrupt
