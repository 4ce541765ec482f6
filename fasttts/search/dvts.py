"""Diverse verifier tree search: independent subtrees, each following its best step.

The pool of `n` beams is `n / beam_width` subtrees of `beam_width` siblings. A subtree keeps its
best beam and gives it `beam_width` children; it ends when its best beam's answer ended. Subtrees
are groups: they never wait for each other, and a subtree with short steps is far ahead of the rest.

Source: Beeching, Tunstall, Rush 2024, "Scaling test-time compute with open models", and its code
(search-and-learn, `dvts.py`), which decodes all subtrees in step. One difference: answers that end
without being their subtree's best stay candidates; there only the last step's siblings do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fasttts.search.policy import Branch
from fasttts.search.step_policy import StepPolicy, best_first
from fasttts.tree import Beam
from fasttts.types import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DiverseTreeSearch(StepPolicy):
    """Runs `n / beam_width` greedy subtrees of `beam_width` siblings.

    Attributes:
        n: Beams of all subtrees; a multiple of `beam_width`, which the configuration checks.
        beam_width: Siblings of a subtree.
    """

    is_monotone: ClassVar[bool] = True

    beam_width: int

    def group(self, path: Path) -> Path:
        """Groups beams by their subtree's number."""
        return (path[0] // self.beam_width,)

    def expand(self, frontier: Sequence[Beam], ended: Sequence[Beam]) -> Sequence[Branch]:
        """Continues the subtree's best beam, unless its answer ended."""
        best = best_first(frontier)[0]
        if best.is_answer_ended:
            return ()
        return [Branch(path=best.path, num_children=self.beam_width)]
