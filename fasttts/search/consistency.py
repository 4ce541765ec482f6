"""Self-consistency that stops sampling once the majority is safe.

Whole answers are sampled in waves. After each wave the answers so far are counted:

* `agreement` stops when the other samples, all of them for the runner-up, could not change the
  lead: the same answer wins as among all `n`;
* `beta` stops when that is unlikely: the probability that the leader is the more frequent of the
  two, under a uniform prior, has reached `confidence`.

A wave is decided when all of its answers ended, so that the decision does not depend on which
answer came first. Free slots run later waves speculatively.

Source: self-consistency, Wang et al. 2022, arXiv 2203.11171; Aggarwal et al. 2023, "Let's sample
    step by step: adaptive-consistency", arXiv 2305.11860 (the Beta rule), which samples one by one.

Answers are compared by a spelling that needs no computer algebra, which would block the loop:
different spellings of one value delay the end, and `agreement` takes them for two answers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fasttts.config import Stopping
from fasttts.decoding.steps import WHOLE_ANSWER, StepShape
from fasttts.search.aggregation import count_votes
from fasttts.search.policy import Branch
from fasttts.tree import Beam
from fasttts.types import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfConsistency:
    """Samples up to `n` answers in waves of `wave_size`.

    Attributes:
        n: Most answers.
        wave_size: Answers between two decisions.
        stopping: The rule that ends sampling early.
        confidence: Probability at which the Beta rule stops.
    """

    needs_scores: ClassVar[bool] = False
    needs_answers: ClassVar[bool] = True
    is_monotone: ClassVar[bool] = True
    is_revisiting: ClassVar[bool] = True

    n: int
    wave_size: int
    stopping: Stopping
    confidence: float

    @property
    def num_roots(self) -> int:
        """Answers of the first wave."""
        return min(self.wave_size, self.n)

    def step_shape(self, path: Path) -> StepShape:
        """A node is a whole answer."""
        return WHOLE_ANSWER

    def group(self, path: Path) -> Path:
        """All answers vote together."""
        return ()

    def expand(self, frontier: Sequence[Beam], ended: Sequence[Beam]) -> Sequence[Branch]:
        """Starts the next wave, unless the vote is safe."""
        num_left = self.n - 1 - max(beam.path[0] for beam in frontier)
        if num_left <= 0 or self._is_safe([*ended, *frontier], num_left):
            return ()
        return [Branch(path=(), num_children=min(self.wave_size, num_left))]

    def _is_safe(self, beams: Sequence[Beam], num_left: int) -> bool:
        votes, are_announced = count_votes(beams)
        first, second, *_ = [*sorted(votes.values(), reverse=True), 0, 0]
        if self.stopping == "agreement":
            # One announced answer would overrule any number that is none.
            return are_announced and first - second > num_left
        return probability_of_lead(first, second) >= self.confidence


def probability_of_lead(first: int, second: int) -> float:
    """Probability that the first of two answers is the more frequent one, given their votes.

    It is the probability of a share above 1/2 under Beta(first + 1, second + 1), the posterior of a
    uniform prior; for whole numbers it is the binomial sum `P(Bin(first + second + 1, 1/2) <=
    first)`.

    Args:
        first: Votes of the leading answer.
        second: Votes of the runner-up.
    """
    num = first + second + 1
    return sum(math.comb(num, k) for k in range(first + 1)) / (1 << num)
