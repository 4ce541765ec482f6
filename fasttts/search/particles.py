"""Particle filtering: beams resampled by their odds at every step.

After each step `n` particles are drawn from all beams, ended answers among them, with weights
`(score / (1 - score)) ** (1 / temperature)`. A beam that is drawn k times has k children; draws
that fall on ended answers leave their places empty, so that the search ends when the ended answers
hold the weight. Unlike beam search it keeps some weak beams, and does not trust the verifier
blindly.

Resampling is systematic: one uniform number decides all draws of a step. It is a hash of the search
seed and the depth, so that the same beams always give the same draws.

Source: Puri et al. 2025, "A probabilistic inference approach to inference-time scaling of LLMs
    using particle-based Monte Carlo methods", arXiv 2502.01618, algorithm 1; odds and temperature
    as in the authors' its_hub. Differences: systematic instead of multinomial resampling, which has
    less variance, and an ended answer competes once, however often it was drawn before.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fasttts.decoding.sampling import SEED_BITS, derive_seed
from fasttts.search.policy import Branch
from fasttts.search.step_policy import StepPolicy, share_systematically
from fasttts.tree import Beam

_SMALLEST = 0.5e-4
"""Half a step of the scores' grid: keeps odds positive and finite."""

_RESAMPLING = -1
"""Takes the place of a child's index in the derived seed; an index is never negative."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticleFilter(StepPolicy):
    """Draws `n` particles, weighted by their odds at `temperature`.

    Attributes:
        n: Particles.
        temperature: Above 1 the weights even out, below 1 the best beam takes more.
        seed: The search seed.
    """

    temperature: float
    seed: int

    def expand(self, frontier: Sequence[Beam], ended: Sequence[Beam]) -> Sequence[Branch]:
        """Branches at the unfinished beams among the draws."""
        particles = sorted([*ended, *frontier], key=lambda beam: beam.path)
        logits = [_logit(beam.score) / self.temperature for beam in particles]
        weights = [math.exp(logit - max(logits)) for logit in logits]
        offset = derive_seed(self.seed, len(frontier[0].path), _RESAMPLING) / 2**SEED_BITS
        draws = zip(particles, share_systematically(self.n, weights, offset), strict=True)
        return [
            Branch(path=beam.path, num_children=count)
            for beam, count in draws
            if count and not beam.is_answer_ended
        ]


def _logit(score: float) -> float:
    bounded = min(max(score, _SMALLEST), 1 - _SMALLEST)
    return math.log(bounded / (1 - bounded))
