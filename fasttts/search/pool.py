"""What most searches are: `n` beams of one step each, which compete by their scores."""

from dataclasses import dataclass
from typing import ClassVar

from fasttts.decoding.steps import StepShape
from fasttts.types import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPolicy:
    """A policy without its decision: a search adds `expand`.

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
        """The pool's size."""
        return self.n

    def step_shape(self, path: Path) -> StepShape:
        """A node is one step."""
        return StepShape()

    def group(self, path: Path) -> Path:
        """All beams compete."""
        return ()
