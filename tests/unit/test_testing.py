"""The test kit finds what a policy may do wrong."""

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pytest

from fasttts.decoding.steps import StepShape
from fasttts.search import Beam, BeamSearch, BestOfNPolicy, Branch, SearchPolicy
from fasttts.testing import check_decisions, check_policy
from fasttts.types import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepAll:
    """Every beam goes on alone."""

    needs_scores: ClassVar[bool] = False
    needs_answers: ClassVar[bool] = False
    is_monotone: ClassVar[bool] = True
    is_revisiting: ClassVar[bool] = False

    num_roots: int = 3

    def step_shape(self, path: Path) -> StepShape:
        return StepShape()

    def group(self, path: Path) -> Path:
        return path[:1]

    def expand(self, frontier: Sequence[Beam], ended: Sequence[Beam]) -> Sequence[Branch]:
        return [Branch(path=b.path, num_children=1) for b in frontier if not b.is_answer_ended]


def test_a_good_policy_passes() -> None:
    check_policy(KeepAll)
    check_policy(lambda: BestOfNPolicy(n=3), num_searches=3)


class WithRandomness(KeepAll):
    coin = random.Random(0)

    def expand(self, frontier: Sequence[Beam], ended: Sequence[Beam]) -> Sequence[Branch]:
        branches = super().expand(frontier, ended)
        return branches if self.coin.random() < 0.5 else branches[1:]


class WithMemory(KeepAll):
    calls = itertools.count()

    def expand(self, frontier: Sequence[Beam], ended: Sequence[Beam]) -> Sequence[Branch]:
        return super().expand(frontier, ended)[: next(self.calls) % 5]


class Twins(KeepAll):
    def expand(self, frontier: Sequence[Beam], ended: Sequence[Beam]) -> Sequence[Branch]:
        return [*super().expand(frontier, ended)] * 2


class Barren(KeepAll):
    def expand(self, frontier: Sequence[Beam], ended: Sequence[Beam]) -> Sequence[Branch]:
        return [Branch(path=beam.path, num_children=0) for beam in frontier]


class OfEnded(KeepAll):
    def expand(self, frontier: Sequence[Beam], ended: Sequence[Beam]) -> Sequence[Branch]:
        return [Branch(path=beam.path, num_children=1) for beam in frontier]


class OutOfGroup(KeepAll):
    def group(self, path: Path) -> Path:
        return (len(path),)


class Impatient(KeepAll):
    def expand(self, frontier: Sequence[Beam], ended: Sequence[Beam]) -> Sequence[Branch]:
        frontier.clear()
        return ()


class Endless(KeepAll):
    is_revisiting = True

    def group(self, path: Path) -> Path:
        return ()

    def expand(self, frontier: Sequence[Beam], ended: Sequence[Beam]) -> Sequence[Branch]:
        return [Branch(path=(), num_children=1)]


class Exploding(KeepAll):
    def expand(self, frontier: Sequence[Beam], ended: Sequence[Beam]) -> Sequence[Branch]:
        branches = super().expand(frontier, ended)
        return [Branch(path=branch.path, num_children=9) for branch in branches]


class SecretReader(KeepAll):
    def expand(self, frontier: Sequence[Beam], ended: Sequence[Beam]) -> Sequence[Branch]:
        return [b for b in super().expand(frontier, ended) if frontier[0].score < 0.5]


class Listener(KeepAll):
    def expand(self, frontier: Sequence[Beam], ended: Sequence[Beam]) -> Sequence[Branch]:
        return [b for b in super().expand(frontier, ended) if frontier[0].answer is None]


class Pretender(BeamSearch):
    """Says that what it leaves behind does not matter, but goes by the mean."""

    def expand(self, frontier: Sequence[Beam], ended: Sequence[Beam]) -> Sequence[Branch]:
        mean = sum(beam.score for beam in frontier) / len(frontier)
        alive = [b for b in frontier if b.score >= mean and not b.is_answer_ended]
        return super().expand(alive, ended) if alive else ()


class Shapeless(KeepAll):
    def step_shape(self, path: Path) -> StepShape:
        return StepShape(num_steps=0)


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        (WithRandomness(), "was asked"),
        (WithMemory(), "was asked"),
        (Twins(), "named twice"),
        (Barren(), "no children"),
        (OfEnded(), "cannot grow"),
        (OutOfGroup(), "another group"),
        (Impatient(), "changed what it was given"),
        (Endless(), "does not end"),
        (Exploding(), "does not end"),
        (SecretReader(), "needs_scores is False"),
        (Listener(), "needs_answers is False"),
        (Pretender(n=4, beam_width=2), "is_monotone"),
        (Shapeless(), "step_shape"),
        (KeepAll(num_roots=0), "num_roots is 0"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_broken_promise_is_named(policy: SearchPolicy, problem: str) -> None:
    with pytest.raises(AssertionError, match=problem):
        check_decisions(lambda: policy)
