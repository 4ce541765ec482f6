"""Turns of processes on one GPU: each measures while no other measures or opens engines."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

HELP = "a file that processes on one GPU take turns by"
"""Of the option `--turns`."""


@contextmanager
def turn(file: Path | None, *, alone: bool) -> Iterator[None]:
    """Waits until no other process measures, and also opens no engine if `alone`.

    A process that opens engines goes before those that wait to measure, so that all are open before
    the first one measures.

    Args:
        file: What the processes take turns by, created if missing; None waits for nobody.
        alone: Whether the body measures; otherwise it opens engines.
    """
    if file is None:
        yield
        return
    with file.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


class Pause:
    """Keeps processes from measuring, for as long as work goes on that would disturb them.

    Args:
        file: What the processes take turns by, created if missing; None keeps nobody.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._held: TextIO | None = None

    def begin(self) -> bool:
        """Begins it, unless a process measures; whether it goes on."""
        if self._file is None or self._held is not None:
            return True
        held = self._file.open("a")
        try:
            fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            held.close()
            return False
        self._held = held
        return True

    def end(self) -> None:
        """Ends it."""
        if self._held is not None:
            self._held.close()
            self._held = None
