"""From a candidate's text to its answer: what every rule and every user's function go through."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from fasttts.answers.thoughts import without_thoughts

Extractor = Callable[[str], str | None]
"""A candidate's text to its answer; None where it has none.

It may raise `MalformedAnswer`. It is given what the text says, without thoughts, unless it has an
attribute `reads_thoughts` that is true.
"""


class MalformedAnswer(ValueError):
    """An answer that cannot be read, such as broken JSON: its candidate loses."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer found in one text.

    Attributes:
        text: The answer, as it is written there.
        is_announced: Whether the text presents it as its answer. False for the last number of a
            text that presents none; it has a vote only where no candidate announces an answer.
    """

    text: str
    is_announced: bool = True


@dataclass(frozen=True, slots=True)
class AnswerReader:
    """Finds the answer in a text, thoughts aside; an `Extractor` itself.

    Attributes:
        name: What messages call it.
        find: What finds it.
        reads_thoughts: Whether `find` is given thoughts too.
        is_open: Whether every text begins inside thoughts, which its prompt opened.
    """

    name: str
    find: Callable[[str], Answer | None]
    reads_thoughts: bool = False
    is_open: bool = False

    def __call__(self, text: str) -> str | None:
        """The answer alone."""
        found = self.read(text)
        return None if found is None else found.text

    def read(self, text: str) -> Answer | None:
        """The answer in a text, and whether it is announced as one."""
        if self.reads_thoughts:
            return self.find(text)
        return self.find(without_thoughts(text, is_open=self.is_open))


Function = TypeVar("Function", bound=Callable[..., object])


def reads_thoughts(function: Function) -> Function:
    """Marks an extractor that is to be given the raw text, thoughts and their markers included."""
    function.reads_thoughts = True  # type: ignore[attr-defined]  # functions take any
    return function


def as_reader(extract: Extractor) -> AnswerReader:
    """Makes a reader of an extractor, whose answers count as announced."""
    if isinstance(extract, AnswerReader):
        return extract
    return AnswerReader(
        name=getattr(extract, "__qualname__", repr(extract)),
        find=functools.partial(_find, extract),
        reads_thoughts=bool(getattr(extract, "reads_thoughts", False)),
    )


def _find(extract: Extractor, text: str) -> Answer | None:
    found = extract(text)
    return None if found is None else Answer(found)
