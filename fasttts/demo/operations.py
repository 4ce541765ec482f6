"""Operations of programs: orders in words, and functions that carry them out."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["numbers", "text", "number"]
"""A list of integers, a text, or an integer."""

Drawn = tuple[str, Callable[[Any], Any]]
"""A sentence, and a function that does what it says."""

Draws = Mapping[Kind, tuple[Callable[[random.Random], Drawn], ...]]
"""What draws operations on values of one kind, by the kind of value that they give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A step of a program.

    Attributes:
        sentence: What it does, as an order.
        apply: Does it.
        result: The kind of value that it gives.
    """

    sentence: str
    apply: Callable[[Any], Any]
    result: Kind


def draw_operation(rng: random.Random, draws: Draws, *, may_end: bool) -> Operation:
    """Draws an operation.

    Args:
        rng: Draws it.
        draws: The operations on values of one kind.
        may_end: Whether it may give a number, on which there are no operations.
    """
    found = [(result, draw) for result, each in draws.items() for draw in each]
    result, draw = rng.choice([pair for pair in found if may_end or pair[0] != "number"])
    sentence, apply = draw(rng)
    return Operation(sentence=sentence, apply=apply, result=result)
