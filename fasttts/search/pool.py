"""Base of most policies: `n` beams of one step each, which compete by their scores."""

from dataclasses import dataclass
from typing import ClassVar

from fasttts.decoding.steps import StepShape
from fasttts.types import Path


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
