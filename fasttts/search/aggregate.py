"""Aggregation of step scores to the score of a path.

`last`, `min` and `prod` are compared by Snell et al. 2024 (arXiv 2408.03314, appendix E) and
Lightman et al. 2023 (arXiv 2305.20050). With `model` the verifier reads the whole path
as one step (`scheduling/verifier_batching.py`), as reward_hub does, which its_hub uses; each step
then carries the score of the path up to its end, and the last one counts.
"""

import math
from collections.abc import Callable, Sequence

from fasttts.config import Aggregation

SCORE_GRID = 10_000
"""Every score is a multiple of 1 / SCORE_GRID before a decision uses it."""

_RULES: dict[Aggregation, Callable[[Sequence[float]], float]] = {
    "last": lambda scores_S: scores_S[-1],
    "min": min,
    "prod": math.prod,
    "mean": lambda scores_S: sum(scores_S) / len(scores_S),
    "model": lambda scores_S: scores_S[-1],
}


def on_grid(score: float) -> float:
    """Rounds a score to 1e-4, so that differences by the shape of a batch do not decide."""
    return round(score * SCORE_GRID) / SCORE_GRID


def aggregate(scores_S: Sequence[float], rule: Aggregation) -> float:
    """Computes one score for a path, on the grid; 0 for a path without steps.

    Args:
        scores_S: Scores of its steps, in order.
        rule: How they are combined.
    """
    return on_grid(_RULES[rule](scores_S)) if scores_S else 0.0


def best_aggregate(scores_S: Sequence[float], rule: Aggregation) -> float:
    """Computes the highest score a path can have after one more step, on the grid.

    Args:
        scores_S: Scores of its steps so far, in order.
        rule: How they are combined.
    """
    return aggregate([*scores_S, 1.0], rule)
