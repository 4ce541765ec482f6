"""Seeded arithmetic word problems with exact solutions, in three disjoint splits.

The hash of a problem's equations determines its split. So two problems with the same arithmetic are
in the same split whatever their names and objects.
"""

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fasttts.demo import stories
from fasttts.demo.labels import label_equations

__all__ = ["Problem", "Split", "generate_problems", "label_steps", "split_of"]

Split = Literal["train", "dev", "test"]

_EQUATION = re.compile(r": (\d+ [-+*/] \d+) = \d+\.$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A word problem with its solution.

    Attributes:
        text: The whole problem, `facts` and `question` joined by a space.
        facts: Every sentence but the question.
        question: The last sentence.
        steps: The solution; each step but the last ends in an equation, the last in a boxed answer.
        answer: The result.
        num_operations: Number of equations in the solution.
    """

    text: str
    facts: str
    question: str
    steps: tuple[str, ...]
    answer: int
    num_operations: int


def split_of(steps: tuple[str, ...]) -> Split:
    """Returns the split of a solution: 1/16 test, 1/16 dev, the rest train."""
    equations = [found[1] for step in steps if (found := _EQUATION.search(step))]
    bucket = hashlib.blake2b(";".join(equations).encode(), digest_size=1).digest()[0] % 16
    return "test" if bucket == 0 else "dev" if bucket == 1 else "train"


def generate_problems(
    split: Split, seed: int, count: int, *, min_operations: int = 2, max_operations: int = 8
) -> list[Problem]:
    """Draws problems of one split; the same arguments give the same problems everywhere.

    Args:
        split: Which of the disjoint sets to draw from.
        seed: Any integer; a longer list from the same seed begins with the shorter one.
        count: Number of problems, all different.
        min_operations: Fewest operations, at least 2.
        max_operations: Most operations; the number is uniform between the two.

    Raises:
        ValueError: The split is unknown or the bounds are not `2 <= min <= max`.
    """
    if split not in ("train", "dev", "test"):
        raise ValueError(f"split is {split!r}; use 'train', 'dev' or 'test'")
    if not 2 <= min_operations <= max_operations:
        raise ValueError(f"need 2 <= {min_operations=} <= {max_operations=}")
    rng = random.Random(f"{split}/{seed}")
    problems: list[Problem] = []
    seen: set[str] = set()
    while len(problems) < count:
        problem = _draw(rng, rng.randint(min_operations, max_operations))
        if split_of(problem.steps) == split and problem.text not in seen:
            seen.add(problem.text)
            problems.append(problem)
    return problems


def _draw(rng: random.Random, num_operations: int) -> Problem:
    story = stories.new_story(rng)
    opening, *events, closing = stories.plan(rng, num_operations)
    stories.begin(story, opening)
    for size in events:
        stories.happen(story, size)
    question = stories.ask(story, closing)
    answer = int(story.steps[-1].rstrip(".").rsplit(" ", 1)[1])
    facts = " ".join(story.sentences)
    return Problem(
        text=f"{facts} {question}",
        facts=facts,
        question=question,
        steps=(*story.steps, f"The answer is \\boxed{{{answer}}}."),
        answer=answer,
        num_operations=num_operations,
    )


def label_steps(problem: Problem, steps: Sequence[str]) -> list[bool]:
    """Decides for each step of an attempt whether it and everything before it is right.

    Args:
        problem: The problem with its exact solution.
        steps: The attempt, one string a step.
    """
    return label_equations(problem.steps, problem.answer, steps)
