"""Turns of processes on one GPU: each measures while no other measures or opens engines."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


@contextmanager
def nobody_measures(file: Path) -> Iterator[int]:
    """Keeps processes from measuring; yields a descriptor that does so wherever it stays open.

    Args:
        file: What the processes take turns by, created if missing.

    Raises:
        BlockingIOError: One measures.
    """
    with file.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield held.fileno()
