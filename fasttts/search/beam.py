"""Beam search guided by step scores, as the FastTTS paper and search-and-learn define it.

`n` beams run; of those whose answer goes on, the best `n / beam_width` survive a step and the
pool refills to `n`: with all survivors present each has `beam_width` children, with fewer (because
others ended) each has more. Ended answers leave the pool and stay candidates.

Two differences from search-and-learn: the search ends once `n` answers have ended (there it goes
on until none is alive), and children that do not divide evenly go to the best survivors first
(there to the first in the pool).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fasttts.search.policy import Branch
from fasttts.search.step_policy import StepPolicy, best_first, share_evenly
from fasttts.tree import Beam


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamSearch(StepPolicy):
    """Keeps `n / beam_width` beams at every step and refills to `n`.

    Attributes:
        n: Beams of the pool; a multiple of `beam_width`, which the configuration checks.
        beam_width: Children of each survivor while all survivors are present.
    """

    is_monotone: ClassVar[bool] = True

    beam_width: int

    def expand(self, frontier: Sequence[Beam], ended: Sequence[Beam]) -> Sequence[Branch]:
        """Shares the pool's places among the best unfinished beams."""
        alive = [beam for beam in frontier if not beam.is_answer_ended]
        num_ended = len(ended) + len(frontier) - len(alive)
        if not alive or num_ended >= self.n:
            return ()
        return share_evenly(self.n, best_first(alive)[: self.n // self.beam_width])
