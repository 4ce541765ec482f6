"""The protocol of a search policy: the only thing that differs between search methods."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fasttts.decoding.steps import StepShape
from fasttts.tree import Beam
from fasttts.types import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """An instruction to start further children of a beam.

    Attributes:
        path: The beam; the empty path is the prompt.
        num_children: How many; their indices follow those of the children the beam has.
    """

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
    def needs_answers(self) -> bool:
        """Whether `expand` reads answers."""
        ...

    @property
    def is_monotone(self) -> bool:
        """Whether a lower score of an unfinished beam that is not continued changes nothing.

        Then a step that no score could save needs none (`scheduling/groups.py`). Never true
        where a beam is continued by a branch at its ancestor.
        """
        ...

    @property
    def is_revisiting(self) -> bool:
        """Whether branches may start at ancestors of the frontier, the prompt among them.

        Without it they start at beams of the frontier, and all other speculative steps are dropped.
        Further children of the prompt are for policies of a single group.
        """
        ...

    def step_shape(self, path: Path) -> StepShape:
        """How much text the node at `path` holds, and how it is drawn."""
        ...

    def group(self, path: Path) -> Path:
        """Returns the name of the group that decides about `path`; children may only stay in it."""
        ...

    def expand(self, frontier: Sequence[Beam], ended: Sequence[Beam]) -> Sequence[Branch]:
        """Returns the branches that follow the group's frontier; an empty list ends the group.

        Each path appears once. Beams whose answer ended have no children.

        Args:
            frontier: The group's beams at the present depth, in path order; those that just ended
                are among them.
            ended: The group's beams that ended at earlier depths.
        """
        ...
