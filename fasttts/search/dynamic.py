"""Dynamic branching: the pool's places shared in proportion to score.

Of `n` places, those of ended answers are given up; the others are shared among the beams that go
on, in proportion to `exp(score / temperature)`. A low temperature follows the best beams, a high
one keeps all. Nothing is pruned by rank: a beam goes on while its share is worth a place.

Source: REBASE, Wu et al. 2024, "Inference scaling laws", arXiv 2408.00724 (their balance
temperature). One difference: shares are rounded by largest remainder, so that they add up to the
budget; there each is rounded to the nearest number.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fasttts.search.policy import Branch
from fasttts.search.step_policy import StepPolicy, best_first, share_by_weight
from fasttts.tree import Beam


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicBranching(StepPolicy):
    """Shares `n` places by the softmax of the scores.

    Not monotone: the score of a beam that gets no place still takes part in the shares of others.

    Attributes:
        temperature: Divides the scores; higher shares the places more evenly.
    """

    temperature: float

    def expand(self, frontier: Sequence[Beam], ended: Sequence[Beam]) -> Sequence[Branch]:
        """Shares the places among the unfinished beams."""
        alive = best_first([beam for beam in frontier if not beam.is_answer_ended])
        num_places = self.n - len(ended) - (len(frontier) - len(alive))
        if not alive or num_places <= 0:
            return ()
        best = alive[0].score
        weights = [math.exp((beam.score - best) / self.temperature) for beam in alive]
        shares = zip(alive, share_by_weight(num_places, weights), strict=True)
        return [Branch(path=beam.path, num_children=share) for beam, share in shares if share]
