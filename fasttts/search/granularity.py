"""Beam search whose nodes hold several steps, a different number at each depth.

Verifying every step is costly, and early steps matter most: nodes are small at first and larger
later. With steps of a number of tokens (`step_tokens`), nodes are multiples of it.

Source: Chen et al. 2025, "Rethinking optimal verification granularity for compute-efficient
test-time scaling", arXiv 2505.11730 (VG-Search, with one granularity `g` for a whole search). One
that varies with depth is ours. Survivors and refills are those of `search/beam.py`.
"""

from dataclasses import dataclass

from fasttts.decoding.steps import StepShape
from fasttts.search.beam import BeamSearch
from fasttts.types import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class VaryingGranularity(BeamSearch):
    """Beam search with a different number of steps in a node at each depth.

    Attributes:
        granularity: Steps of a node at depth 1, 2, ...; the last number holds for all deeper nodes.
    """

    granularity: tuple[int, ...]

    def step_shape(self, path: Path) -> StepShape:
        """Returns a shape of as many steps as the depth asks for."""
        depth = min(len(path), len(self.granularity))
        return StepShape(num_steps=self.granularity[depth - 1])
