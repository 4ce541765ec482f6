"""Seeded problems whose answers are Python functions, with tests from a reference.

A problem is a chain of operations, each said in a sentence. The reference does the operations one
after another; a problem counts only where each of them matters to some test.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fasttts.demo.number_operations import EASY_WITH_NUMBERS, HARD_WITH_NUMBERS
from fasttts.demo.operations import Draws, Kind, Operation, draw_operation
from fasttts.demo.text_operations import EASY_WITH_TEXTS, HARD_WITH_TEXTS

__all__ = ["ProgramProblem", "generate_program_problems"]

Call = tuple[tuple[Any], Any]
"""Arguments, and the value that is expected."""

NUM_SHOWN = 3
_NUM_DRAWN = 10
_LEAST_DIFFERENT = 6
"""Different values that the tests of a problem expect, at least."""

_WORDS = (
    *("apple", "Bee", "cat77", "door", "EEL", "food", "go", "hill", "ice", "Jazz", "kiwi", "level"),
    *("moon", "n0", "Otto", "pizza", "queue", "r2d2", "see", "tree", "up", "van", "wool", "zz9"),
)
_EDGES: dict[Kind, tuple[Any, ...]] = {
    "numbers": ([], [0], [-7], [5, 5, 5, 5], [12, -12, 0, 12], [100, 35, -48, 1000, 9, -3]),
    "text": ("", "a", "Z", "aaa", "EEL eel", "  two  spaces ", "1005 Abc 20", "hello, World!"),
}
_EASY: dict[Kind, Draws] = {"numbers": EASY_WITH_NUMBERS, "text": EASY_WITH_TEXTS}
_HARD: dict[Kind, Draws] = {"numbers": HARD_WITH_NUMBERS, "text": HARD_WITH_TEXTS}
_SHARE_HARD = 0.2
_SAID: dict[Kind, str] = {"numbers": "a list of integers", "text": "a text"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramProblem:
    """A function to write.

    Attributes:
        name: The function's name, which no other problem of its list has.
        text: The whole problem, the shown calls included.
        shown: Calls that the text shows.
        hidden: Other calls, with empty and odd arguments among them.
        num_operations: Operations of the chain.
        reference: The function.
    """

    name: str
    text: str
    shown: tuple[Call, ...]
    hidden: tuple[Call, ...]
    num_operations: int
    reference: Callable[[Any], Any]


def generate_program_problems(
    seed: int, count: int, *, min_operations: int = 2, max_operations: int = 4
) -> list[ProgramProblem]:
    """Draws different problems; the same arguments give the same problems everywhere.

    Args:
        seed: Any integer; a longer list from the same seed begins with the shorter one.
        count: Number of problems.
        min_operations: Fewest operations of a chain, at least 1.
        max_operations: Most operations, at most 8; the number is uniform between the two.

    Raises:
        ValueError: The bounds are not `1 <= min <= max <= 8`.
    """
    if not 1 <= min_operations <= max_operations <= 8:
        raise ValueError(f"need 1 <= {min_operations=} <= {max_operations=} <= 8")
    rng = random.Random(f"programs/{seed}")
    problems: dict[tuple[str, ...], ProgramProblem] = {}
    while len(problems) < count:
        kind: Kind = rng.choice(("numbers", "text"))
        chain = _chain(rng, kind, rng.randint(min_operations, max_operations))
        sentences = tuple(operation.sentence for operation in chain)
        found = None
        if sentences not in problems and len(set(sentences)) == len(sentences):
            found = _problem(rng, f"task_{len(problems)}", kind, chain)
        if found is not None:
            problems[sentences] = found
    return list(problems.values())


def _chain(rng: random.Random, kind: Kind, length: int) -> list[Operation]:
    chain: list[Operation] = []
    for number in range(1, length + 1):
        draws = _HARD if rng.random() < _SHARE_HARD else _EASY
        chain.append(draw_operation(rng, draws[kind], may_end=number == length))
        kind = chain[-1].result
    return chain


def _problem(
    rng: random.Random, name: str, kind: Kind, chain: Sequence[Operation]
) -> ProgramProblem | None:
    """The problem of a chain; None where an operation does not matter, or too little differs."""

    def reference(value: Any) -> Any:
        return _applied(chain, value)

    drawn = _different([_argument(rng, kind) for _ in range(_NUM_DRAWN)])
    shown = [value for value in drawn if value][:NUM_SHOWN]
    hidden = [value for value in _different([*_EDGES[kind], *drawn]) if value not in shown]
    values = [reference(value) for value in (*shown, *hidden)]
    if len(_different(values)) < _LEAST_DIFFERENT or len(_different(values[:NUM_SHOWN])) < 2:
        return None
    if not all(_matters(chain, number, (*shown, *hidden)) for number in range(len(chain))):
        return None
    calls = [((value,), reference(value)) for value in shown]
    return ProgramProblem(
        name=name,
        text=_text(name, kind, chain, calls),
        shown=tuple(calls),
        hidden=tuple(((value,), reference(value)) for value in hidden),
        num_operations=len(chain),
        reference=reference,
    )


def _applied(chain: Sequence[Operation], value: Any) -> Any:
    for operation in chain:
        value = operation.apply(value)
    return value


def _matters(chain: Sequence[Operation], number: int, values: Sequence[Any]) -> bool:
    """Whether leaving an operation out changes a value; one that changes the kind always does."""
    rest = [*chain[:number], *chain[number + 1 :]]
    before = chain[number - 1].result if number else None
    is_same_kind = chain[number].result == before or (
        before is None and _is_of(chain[number].result, values[0])
    )
    return not is_same_kind or any(_applied(chain, v) != _applied(rest, v) for v in values)


def _is_of(kind: Kind, value: Any) -> bool:
    return kind == ("text" if isinstance(value, str) else "numbers")


def _different(values: Sequence[Any]) -> list[Any]:
    return list({repr(value): value for value in values}.values())


def _argument(rng: random.Random, kind: Kind) -> Any:
    if kind == "numbers":
        return rng.choices([rng.randint(-15, 30) for _ in range(7)], k=rng.randint(3, 9))
    return " ".join(rng.choice(_WORDS) for _ in range(rng.randint(2, 5)))


def _text(name: str, kind: Kind, chain: Sequence[Operation], calls: Sequence[Call]) -> str:
    argument = "numbers" if kind == "numbers" else "text"
    steps = "\n".join(f"{number}. {each.sentence}" for number, each in enumerate(chain, 1))
    examples = "\n".join(f"{name}({value!r}) == {found!r}" for (value,), found in calls)
    return (
        f"Write a Python function {name}({argument}) that takes {_SAID[kind]}, which may be empty. "
        "It does these steps in order, each on the result of the one before, and returns the "
        f"result of the last:\n\n{steps}\n\nExamples:\n\n{examples}\n\n"
        "Answer with the function in one block of Python code."
    )
