"""Python's garbage collector around vLLM, whose libraries leave a million objects that stay.

A collection that looks at all of them takes half a second or more. There are dozens while they are
imported, a few for each engine that is opened or closed, and several more as the process ends.
"""

import atexit
import functools
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collected_on_request() -> Iterator[None]:
    """No collection in the body but those that somebody asks for, as vLLM does to count memory.

    For what imports vLLM or opens engines. At the end of the process nothing is collected either:
    all goes with it.
    """
    _freeze_at_exit()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def collected_behind(*, is_only: bool) -> Iterator[None]:
    """A collection behind the body.

    Args:
        is_only: Whether it is in place of all that are asked for in the body. The function of the
            whole process is replaced then: one body at a time.
    """
    collect = gc.collect
    if is_only:
        gc.collect = lambda generation=2: 0
    try:
        yield
    finally:
        gc.collect = collect
        gc.collect()


@functools.cache
def _freeze_at_exit() -> None:
    atexit.register(gc.freeze)
