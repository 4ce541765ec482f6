"""Beam search that scores a step by where greedy decoding leads from it.

Each step is followed by a rollout: `num_steps` further steps of the most likely tokens. The path
to the rollout's end has the score that the beam competes with; survivors go on from their step,
not from the rollout. In the tree the rollout is the step's child 0, and the beams that go on are
its further children. A rollout that ends its answer is a candidate.

Source: Snell et al. 2024, "Scaling LLM test-time compute optimally can be more effective than
scaling model parameters", arXiv 2408.03314. Differences: rolled-out steps count in
the aggregation of scores (with `last` only the end does, as there), and rollouts that end their
answer are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fasttts.decoding.steps import StepShape
from fasttts.search.beam import BeamSearch
from fasttts.search.policy import Branch
from fasttts.search.step_policy import StepPolicy
from fasttts.tree import Beam
from fasttts.types import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookahead(StepPolicy):
    """Beam search over scores from `num_steps` greedy steps ahead.

    Steps and rollouts alternate: the frontier holds either, never both.

    Attributes:
        beam_width: Children of each survivor while all survivors are present.
        num_steps: Steps of a rollout.
    """

    is_revisiting: ClassVar[bool] = True

    beam_width: int
    num_steps: int

    def step_shape(self, path: Path) -> StepShape:
        """One step, or a rollout."""
        if _is_rollout(path):
            return StepShape(num_steps=self.num_steps, is_greedy=True)
        return StepShape()

    def expand(self, frontier: Sequence[Beam], ended: Sequence[Beam]) -> Sequence[Branch]:
        """Starts rollouts of unfinished steps; after them, branches as beam search does."""
        ended = [beam for beam in ended if not _is_rollout(beam.path)]
        if not _is_rollout(frontier[0].path):
            alive = [beam for beam in frontier if not beam.is_answer_ended]
            is_over = len(ended) + len(frontier) - len(alive) >= self.n
            return () if is_over else [Branch(path=b.path, num_children=1) for b in alive]
        scored = [
            Beam(path=rollout.path[:-1], score=rollout.score, is_answer_ended=False)
            for rollout in frontier
        ]
        return BeamSearch(n=self.n, beam_width=self.beam_width).expand(scored, ended)


def _is_rollout(path: Path) -> bool:
    """Whether `path` is a rollout: child 0 of a step; nothing follows a rollout."""
    return len(path) > 1 and path[-1] == 0 and not _is_rollout(path[:-1])
