"""Whole answers of which those that lose the generator's, or a verifier's, confidence are stopped.

`warmup` answers run to their end. The least score that a share `keep` of them reaches is the
threshold of all others, which stop after the first step below it; a fixed threshold, `stop_below`,
needs no warm-up. What ended votes, by default weighted by score.

Each answer is decided step by step, all together, and a beam that goes on has one child, the same
stream: speculation runs on meanwhile, so that nothing waits for the decision.

Source: online DeepConf, Fu et al. 2025, "Deep think with confidence", arXiv 2508.15260. There the
    scores are the lowest group confidence, here of any verifier (`verifier="lowest_confidence"`
    with `aggregation="min"`). Differences: an answer stops at the end of a step (`step_tokens`
    makes it a number of tokens), not at a token; all of the others are sampled, as no agreement
    ends the search before; every answer of the warm-up votes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fasttts.decoding.steps import StepShape
from fasttts.search.policy import Branch
from fasttts.search.step_policy import best_first
from fasttts.tree import Beam
from fasttts.types import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceStop:
    """Stops answers whose score falls below a threshold, and branches none.

    Attributes:
        n: Answers.
        warmup: Answers that find the threshold, where none is given.
        keep: Share of them that reaches it.
        stop_below: The threshold; None finds one.
    """

    needs_scores: ClassVar[bool] = True
    needs_answers: ClassVar[bool] = False
    is_monotone: ClassVar[bool] = False

    n: int
    warmup: int
    keep: float
    stop_below: float | None

    @property
    def is_revisiting(self) -> bool:
        """Whether answers begin after the warm-up."""
        return self.stop_below is None and self.warmup < self.n

    @property
    def num_roots(self) -> int:
        """All answers, or those of the warm-up."""
        return self.n if self.stop_below is not None else min(self.warmup, self.n)

    def step_shape(self, path: Path) -> StepShape:
        """Returns one step."""
        return StepShape()

    def group(self, path: Path) -> Path:
        """Returns one group: the threshold is of all."""
        return ()

    def expand(self, frontier: Sequence[Beam], ended: Sequence[Beam]) -> Sequence[Branch]:
        """Continues the beams above the threshold, and begins the others after the warm-up."""
        alive = [beam for beam in frontier if not beam.is_answer_ended]
        if self.stop_below is not None:
            threshold = self.stop_below
        elif all(beam.path[0] < self.warmup for beam in frontier):
            if not alive and self.is_revisiting:
                return [Branch(path=(), num_children=self.n - self.warmup)]
            threshold = 0.0
        else:
            threshold = self._threshold(ended)
        kept = [beam for beam in alive if beam.score >= threshold]
        if not kept and len(alive) == len(frontier) and not ended:
            kept = best_first(alive)[:1]  # one of them has to answer
        return [Branch(path=beam.path, num_children=1) for beam in kept]

    def _threshold(self, ended: Sequence[Beam]) -> float:
        """The least score that a share `keep` of the warm-up reaches, of one answer at least."""
        scores = sorted((b.score for b in ended if b.path[0] < self.warmup), reverse=True)
        num_kept = max(1, math.ceil(self.keep * len(scores) - 1e-9))
        return scores[num_kept - 1]
