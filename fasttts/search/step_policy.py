"""The bases of policies, `n` beams of one step or of a whole answer, and how places are shared."""

import itertools
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fasttts.decoding.steps import WHOLE_ANSWER, StepShape
from fasttts.search.policy import Branch
from fasttts.tree import Beam
from fasttts.types import Path

_PATH, _SCORE = operator.attrgetter("path"), operator.attrgetter("score")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPolicy:
    """Base of policies over a pool of `n` beams; a search adds `expand`.

    Attributes:
        n: Beams at the start, and places of every later step.
    """

    needs_scores: ClassVar[bool] = True
    needs_answers: ClassVar[bool] = False
    is_monotone: ClassVar[bool] = False
    is_revisiting: ClassVar[bool] = False

    n: int

    @property
    def num_roots(self) -> int:
        """Size of the pool."""
        return self.n

    def step_shape(self, path: Path) -> StepShape:
        """Returns one step."""
        return StepShape()

    def group(self, path: Path) -> Path:
        """Returns one group for all beams."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BestOfNPolicy(StepPolicy):
    """Samples `n` answers, each a group of its own, so that none waits for another.

    Best-of-N scores every answer once, at all of its steps, and leaves the choice to selection.
    """

    needs_scores: ClassVar[bool] = False
    is_monotone: ClassVar[bool] = True

    def step_shape(self, path: Path) -> StepShape:
        """Returns a whole answer."""
        return WHOLE_ANSWER

    def group(self, path: Path) -> Path:
        """Returns a group for each answer."""
        return path[:1]

    def expand(self, frontier: Sequence[Beam], ended: Sequence[Beam]) -> Sequence[Branch]:
        """Returns no branches: nothing follows a whole answer."""
        return ()


def best_first(beams: Sequence[Beam]) -> list[Beam]:
    """Sorts by falling score, ties by path."""
    return sorted(sorted(beams, key=_PATH), key=_SCORE, reverse=True)  # keeps the order of ties


def share_evenly(num_places: int, beams: Sequence[Beam]) -> list[Branch]:
    """Gives every beam the same number of places; the remainder goes to the first.

    Args:
        num_places: Places to share.
        beams: Beams in order of preference; at least one.
    """
    share, remainder = divmod(num_places, len(beams))
    return [
        Branch(path=beam.path, num_children=share + (rank < remainder))
        for rank, beam in enumerate(beams)
    ]


def share_by_weight(num_places: int, weights: Sequence[float]) -> list[int]:
    """Shares places in proportion to weights, by largest remainder (Hamilton's method).

    Args:
        num_places: Places to share; the shares add up to it.
        weights: Positive, of any scale; ties go to the earlier.
    """
    total = math.fsum(weights)
    quotas = [num_places * weight / total for weight in weights]
    shares = [math.floor(quota) for quota in quotas]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-_remainder(quotas[i]), i))
    for index in by_remainder[: num_places - sum(shares)]:
        shares[index] += 1
    return shares


def share_systematically(num_places: int, weights: Sequence[float], offset: float) -> list[int]:
    """Systematic resampling: takes the places at `(i + offset) / num_places` of the total weight.

    In expectation over `offset`, uniform in [0, 1), the shares are in proportion to the weights,
    and each beam gets its quota rounded down or up. Source: Douc and Cappe 2005, "Comparison of
    resampling schemes for particle filtering", section 2.4.

    Args:
        num_places: Places to share; the shares add up to it.
        weights: Positive, of any scale.
        offset: The uniform number, in [0, 1).
    """
    total = math.fsum(weights)
    reached = [num_places * bound / total - offset for bound in itertools.accumulate(weights)]
    counts = [min(max(math.ceil(bound), 0), num_places) for bound in reached[:-1]]
    return [j - i for i, j in itertools.pairwise([0, *counts, num_places])]


def _remainder(quota: float) -> float:
    """The fractional part, without its last bits, which depend on rounding."""
    return round(quota - math.floor(quota), 9)
