"""Independent whole answers: plain decoding (one) and best-of-N (`n`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fasttts.decoding.steps import WHOLE_ANSWER, StepShape
from fasttts.search.policy import Branch
from fasttts.search.step_policy import StepPolicy
from fasttts.tree import Beam
from fasttts.types import Path


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
