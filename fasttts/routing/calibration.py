"""Calibrates the threshold of a cascade: accuracy and cost of every threshold.

Every problem is drafted and searched once; as in the cascade, the search begins at the draft's step
of lowest score. The accuracy and the cost of all thresholds follow from that.
"""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from fasttts.answers.equality import answers_equal
from fasttts.errors import ConfigurationError
from fasttts.routing.context import RoutingContext
from fasttts.routing.decision import Decision, Needs, NeedsDraft, decided
from fasttts.routing.results import DRAFT_PATH
from fasttts.search.aggregation import SCORE_GRID
from fasttts.types import SearchResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """The policy that problems are drafted and searched with."""

    def decide(self, context: RoutingContext) -> Decision | Needs:
        """Decides for a search from the draft's weakest step on."""
        if context.draft is None:
            return NeedsDraft()
        scores_S = [step.score for step in context.draft.steps if step.score is not None]
        lowest = context.draft.lowest_score
        found = decided(context, "search", self, "a rehearsal", lowest_score=lowest)
        if lowest is None:
            return found
        return Decision(
            route="search",
            policy=found.policy,
            reason=found.reason,
            signals=found.signals,
            kept_steps=scores_S.index(lowest),
            cost=found.cost,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One problem, drafted and searched.

    Attributes:
        lowest_score: Lowest score of the draft's steps; None where the draft did not end.
        is_draft_right: Whether the draft has the known answer.
        is_search_right: Whether the search has it, with the draft among its candidates.
        draft_tokens: Tokens of the draft.
        total_tokens: Tokens of draft and search.
    """

    lowest_score: float | None
    is_draft_right: bool
    is_search_right: bool
    draft_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, result: SearchResult, answer: str) -> Self:
        """Makes a sample from a result of `Rehearsal`.

        Args:
            result: The result.
            answer: The known answer.
        """
        assert result.routing is not None, "the result is routed"
        draft = next((c for c in result.candidates if c.path == DRAFT_PATH), None)
        return cls(
            lowest_score=result.routing["signals"]["lowest_score"],
            is_draft_right=draft is not None and answers_equal(draft.answer, answer),
            is_search_right=answers_equal(result.answer, answer),
            draft_tokens=result.routing["cost"]["required_tokens"],
            total_tokens=result.usage.required_tokens,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Results of a cascade with one threshold on all samples.

    Attributes:
        threshold: The threshold, in [0, 1].
        accuracy: Share of problems solved.
        tokens: Mean tokens of a problem.
        searched_share: Share of problems that are searched.
    """

    threshold: float
    accuracy: float
    tokens: float
    searched_share: float

    def to_dict(self) -> dict[str, Any]:
        """The point as JSON data."""
        return asdict(self)


def threshold_curve(samples: Sequence[Sample]) -> list[Point]:
    """Computes a point for every threshold that makes a difference.

    Returns:
        The points in ascending order, from accepting all drafts to accepting none.

    Raises:
        ConfigurationError: There are no samples.
    """
    if not samples:
        raise ConfigurationError("a threshold cannot be found without problems")
    scores = sorted({s.lowest_score for s in samples if s.lowest_score is not None})
    middles = [_on_grid((low + high) / 2) for low, high in itertools.pairwise(scores)]
    return [_point(samples, threshold) for threshold in sorted({0.0, *middles, 1.0})]


def cheapest(points: Sequence[Point], keep: float) -> Point:
    """Returns the point of fewest tokens that keeps a share of the accuracy of searching most.

    Args:
        points: A curve.
        keep: The share, in (0, 1].
    """
    wanted = keep * points[-1].accuracy
    good = [point for point in points if point.accuracy >= wanted]
    return min(good, key=lambda point: (point.tokens, point.threshold))


def _point(samples: Sequence[Sample], threshold: float) -> Point:
    accepted = [s.lowest_score is not None and s.lowest_score >= threshold for s in samples]
    pairs = list(zip(samples, accepted, strict=True))
    right = [s.is_draft_right if is_taken else s.is_search_right for s, is_taken in pairs]
    tokens = [s.draft_tokens if is_taken else s.total_tokens for s, is_taken in pairs]
    return Point(
        threshold=threshold,
        accuracy=sum(right) / len(samples),
        tokens=sum(tokens) / len(samples),
        searched_share=1 - sum(accepted) / len(samples),
    )


def _on_grid(threshold: float) -> float:
    """Rounds up to the grid of scores: it decides like `threshold` about every score."""
    return -(-threshold * SCORE_GRID // 1) / SCORE_GRID
