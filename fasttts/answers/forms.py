"""Forms of answers, which are compared, and lists of them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

MAX_ITEMS = 64
"""Lists with more items are compared as text."""

_PLUS_MINUS = re.compile(r"\\pm(?![A-Za-z])")


@dataclass(frozen=True, slots=True)
class NormalForm:
    """The meaning of an answer.

    Attributes:
        key: Answers with the same key are equal.
        bare: Keys of the undecorated answers that it equals too, the likelier first; none if it
            is bare itself.
    """

    key: str
    bare: tuple[str, ...] = ()

    def equals(self, other: "NormalForm") -> bool:
        """Whether the two mean the same."""
        if self.key == other.key:
            return True
        if self.bare and other.bare:
            return False
        return other.key in self.bare or self.key in other.bare


def text_form(answer: str) -> NormalForm:
    """The form of an answer that is compared as it is written, but for white space at the ends."""
    lines = [line.rstrip() for line in answer.strip().splitlines()]
    return NormalForm("text:" + "\n".join(lines))


Read = Callable[[str], NormalForm | None]
"""A text in plain notation to its form; None where it has no reading."""


class Reader(Protocol):
    """What readings of one kind ask to read the parts of an answer."""

    def read(self, text: str) -> NormalForm | None:
        """The form of a part."""
        ...

    def value(self, text: str) -> NormalForm | None:
        """The value of mathematics, by algebra."""
        ...


def sequence(opening: str, items: Sequence[str], closing: str, read: Read) -> NormalForm | None:
    """A list of answers between brackets; between braces its order does not matter.

    Args:
        opening: The opening bracket.
        items: The texts between the commas.
        closing: The closing bracket.
        read: Makes the form of one item; None where it has none.
    """
    forms = [read(item) for item in items] if len(items) <= MAX_ITEMS else [None]
    known = [form for form in forms if form is not None]
    if len(known) < len(forms):
        return None
    bare = [form.bare[0] if form.bare else form.key for form in known]
    key = _joined(opening, [form.key for form in known], closing)
    plain = _joined(opening, bare, closing)
    return NormalForm(key) if key == plain else NormalForm(key, (plain,))


def _joined(opening: str, keys: Sequence[str], closing: str) -> str:
    return opening + ", ".join(sorted(set(keys)) if opening == "{" else keys) + closing


def both_signs(text: str) -> list[str] | None:
    r"""The two values of a text with one `\pm`; None for other texts."""
    before, *after = _PLUS_MINUS.split(text)
    if len(after) != 1:
        return None
    return [f"{before}{sign}{after[0]}".strip().removeprefix("+") for sign in "+-"]
