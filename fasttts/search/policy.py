"""What a search policy is: the only thing that differs between search methods."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fasttts.steps import StepShape
from fasttts.tree import Beam
from fasttts.types import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """An instruction to start `num_children` children of the beam at `path`."""

    path: Path
    num_children: int


class SearchPolicy(Protocol):
    """Maps scored beams to branches; pure: no clock, no randomness, no I/O, ties by path.

    The loop calls `expand` once for each group and depth, when every beam of the group's frontier
    has ended (and is scored, if `needs_scores`). Groups never wait for each other. Speculation
    predicts by the same call, with score 0 for beams that have none yet; a prediction never changes
    a result.
    """

    @property
    def num_roots(self) -> int:
        """Root candidates to start with."""
        ...

    @property
    def needs_scores(self) -> bool:
        """Whether `expand` reads scores."""
        ...

    @property
    def is_monotone(self) -> bool:
        """Whether lowering the score of a beam that is not continued changes nothing.

        Then a step that no score could save needs none (`scheduling/early_stop.py`).
        """
        ...

    def step_shape(self, depth: int) -> StepShape:
        """How much text a node at `depth` (1 for roots) holds."""
        ...

    def group(self, path: Path) -> Path:
        """The name of the group that decides about `path`; children may only stay in it."""
        ...

    def expand(self, frontier: Sequence[Beam], ended: Sequence[Beam]) -> Sequence[Branch]:
        """What follows the group's frontier; nothing ends the group.

        Args:
            frontier: The group's beams at the present depth, in path order; those that just
                ended are among them.
            ended: The group's beams that ended at earlier depths.
        """
        ...
