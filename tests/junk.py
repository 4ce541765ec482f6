"""Values of the wrong type for any parameter, for hypothesis to draw from."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st
from pydantic import ValidationError

from fasttts import ConfigurationError


class Hostile:
    """An object whose every use fails while a test calls; hypothesis may print it before."""

    is_used = False

    def __repr__(self) -> str:
        if self.is_used:
            raise ZeroDivisionError("repr")
        return "Hostile()"

    def __bool__(self) -> bool:
        raise ZeroDivisionError("bool")

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError("eq")

    __hash__ = object.__hash__


def deep(size: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(size):
        inner = [inner]
    return inner


def circular() -> list[Any]:
    inner: list[Any] = []
    inner.append({"inner": inner})
    return inner


def generator() -> Iterator[int]:
    yield 1


TEXT = st.sampled_from(["", "a", "two words", "\x00", "{", "<tool_call>", "\ud800"])
JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2), st.floats(), TEXT,
    st.binary(max_size=2), st.lists(TEXT, max_size=2), st.sets(st.integers(), max_size=1),
    st.dictionaries(st.one_of(TEXT, st.integers()), st.integers(), max_size=2),
    st.builds(deep, st.sampled_from([1, 200, 5000])), st.builds(circular), st.builds(generator),
    st.builds(object), st.builds(Hostile), st.lists(st.builds(Hostile), min_size=1, max_size=1),
    st.lists(st.one_of(st.none(), st.integers(), st.just({})), max_size=2),
    st.builds(lambda: {"a": Hostile()}),
)  # fmt: skip


ANYTHING = st.one_of(JUNK, st.just(10**5000))
"""The same, and a number that cannot even be printed."""


def drained(result: Any) -> None:
    """Runs what a call has only begun."""
    if inspect.iscoroutine(result):
        drained(asyncio.run(result))
    elif inspect.isgenerator(result):
        list(result)
    elif inspect.isasyncgen(result):
        asyncio.run(_drained(result))


async def _drained(events: Any) -> None:
    async for _ in events:
        pass


def check_refusal(call: Callable[[], Any], *names: str) -> None:
    """Checks that a call works, or is refused by a short error with one of the names.

    Args:
        call: The call.
        names: The parameter, and words for it.
    """
    Hostile.is_used = True
    message = None
    try:
        drained(call())
    except (ConfigurationError, ValidationError) as error:
        message = str(error)
    finally:
        Hostile.is_used = False
    if message is not None:
        assert any(name in message for name in names), message
        assert len(message) < 2000, message
