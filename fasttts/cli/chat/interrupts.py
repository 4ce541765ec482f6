"""Ctrl-C that interrupts the current wait, never the program, and never twice."""

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

Item = TypeVar("Item")


class Interrupts:
    """Decides when Ctrl-C raises `KeyboardInterrupt`: only during a wait.

    One that arrives between waits is kept until the next wait of the same work, so that the screen
    and the conversation are never left half changed.
    """

    def __init__(self) -> None:
        self._is_waiting = False
        self._is_pending = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handles Ctrl-C in the body and restores the earlier handler afterwards."""
        usual = signal.signal(signal.SIGINT, self._on_signal)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, usual)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Lets Ctrl-C raise in the body, once."""
        self._is_waiting = True
        try:
            if self._is_pending:
                self._raise()
            yield
        finally:
            self._is_waiting = False

    def each(self, items: Iterable[Item]) -> Iterator[Item]:
        """Iterates over the items, letting Ctrl-C raise during the wait for the next one."""
        iterator = iter(items)
        while True:
            try:
                with self.waiting():
                    item = next(iterator)
            except StopIteration:
                return
            yield item

    def forget(self) -> None:
        """Drops a Ctrl-C that arrived after the end of the work it was meant for."""
        self._is_pending = False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._is_waiting:
            self._raise()
        self._is_pending = True

    def _raise(self) -> None:
        self._is_waiting = self._is_pending = False
        raise KeyboardInterrupt
