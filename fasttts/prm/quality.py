"""How good scores of steps are: how they rank them, and how near they are to the labels.

Labels may be shares. A share stands for continuations of a step, of which that share is right, so
all numbers are means over continuations: hard labels are the case of one each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttts.errors import ConfigurationError

NUM_BINS = 10
"""Bins of equal width that the calibration error is measured with."""

_NUM_RESAMPLES = 200

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Steps whose scores are alike.

    Attributes:
        num_steps: How many there are.
        score: Their mean score; 0 where there are none.
        label: Their mean label; the same.
    """

    num_steps: int
    score: float
    label: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Scores of labelled steps, judged.

    Attributes:
        num_steps: Steps.
        num_problems: Problems that they belong to.
        base_rate: Mean label.
        auc: Area under the ROC curve: the chance that a step scores above another where the first
            was continued to a right answer and the second to a wrong one; ties count half. None
            where all labels are 0, or all are 1.
        low: Lower end of its 95 % interval, from resampled problems; None as for `auc`.
        high: Its upper end.
        within: The same area over pairs of steps of one problem, which a search compares; None
            where there is no pair.
        brier: Mean squared distance of score and label.
        calibration_error: Mean distance of score and label of bins, weighed by their steps
            (expected calibration error, Guo et al. 2017, arXiv 1706.04599, equation 3).
        bins: The bins, from low scores to high ones.
    """

    num_steps: int
    num_problems: int
    base_rate: float
    auc: float | None
    low: float | None
    high: float | None
    within: float | None
    brier: float
    calibration_error: float
    bins: tuple[Bin, ...]

    @property
    def is_proven(self) -> bool:
        """Whether the interval of the area leaves 0.5 out on the right side."""
        return self.low is not None and self.low > 0.5


def judge_scores(
    scores: Sequence[float], labels: Sequence[float], problems: Sequence[Any]
) -> Quality:
    """Judges scores of labelled steps.

    Args:
        scores: A score for each step, in [0, 1].
        labels: Its label, in [0, 1].
        problems: Which problem it belongs to.

    Raises:
        ConfigurationError: There are no steps.
    """
    if not scores:
        raise ConfigurationError("there are no labelled steps to judge scores with")
    score_S, label_S = np.asarray(scores, float), np.asarray(labels, float)
    names = {problem: number for number, problem in enumerate(dict.fromkeys(problems))}
    problem_S = np.asarray([names[problem] for problem in problems])
    groups = [np.flatnonzero(problem_S == number) for number in range(len(names))]
    low, high = _interval(score_S, label_S, groups)
    bins = _bins(score_S, label_S)
    return Quality(
        num_steps=len(score_S),
        num_problems=len(groups),
        base_rate=float(label_S.mean()),
        auc=area_under_curve(score_S, label_S),
        low=low,
        high=high,
        within=_within(score_S, label_S, groups),
        brier=float(np.square(score_S - label_S).mean()),
        calibration_error=sum(b.num_steps * abs(b.score - b.label) for b in bins) / len(score_S),
        bins=bins,
    )


def area_under_curve(scores: FloatArray, labels: FloatArray) -> float | None:
    """Computes the area under the ROC curve; None where all labels are 0, or all are 1.

    Args:
        scores: A score for each step, shape [S].
        labels: Its label in [0, 1], shape [S].
    """
    num_won, num_pairs = _pairs(scores, labels)
    return num_won / num_pairs if num_pairs else None


def _pairs(scores: FloatArray, labels: FloatArray) -> tuple[float, float]:
    """Weight of the pairs in which the right one scores higher, and of all pairs."""
    values, place_S = np.unique(scores, return_inverse=True)
    right_V = np.bincount(place_S, weights=labels, minlength=len(values))
    wrong_V = np.bincount(place_S, weights=1.0 - labels, minlength=len(values))
    below_V = np.cumsum(wrong_V) - wrong_V
    num_won = float((right_V * (below_V + wrong_V / 2)).sum())
    return num_won, float(right_V.sum() * wrong_V.sum())


def _within(
    scores: FloatArray, labels: FloatArray, groups: Sequence[npt.NDArray[np.int64]]
) -> float | None:
    found = np.asarray([_pairs(scores[group], labels[group]) for group in groups])
    num_won, num_pairs = found.sum(axis=0)
    return float(num_won / num_pairs) if num_pairs else None


def _interval(
    scores: FloatArray, labels: FloatArray, groups: Sequence[npt.NDArray[np.int64]]
) -> tuple[float | None, float | None]:
    rng = np.random.default_rng(0)
    areas = []
    for _ in range(_NUM_RESAMPLES):
        chosen = np.concatenate([groups[i] for i in rng.integers(len(groups), size=len(groups))])
        if (area := area_under_curve(scores[chosen], labels[chosen])) is not None:
            areas.append(area)
    if not areas:
        return None, None
    return float(np.quantile(areas, 0.025)), float(np.quantile(areas, 0.975))


def _bins(scores: FloatArray, labels: FloatArray) -> tuple[Bin, ...]:
    place_S = np.minimum((scores * NUM_BINS).astype(int), NUM_BINS - 1)
    count_N = np.bincount(place_S, minlength=NUM_BINS)
    least_N = np.maximum(count_N, 1)
    score_N = np.bincount(place_S, weights=scores, minlength=NUM_BINS) / least_N
    label_N = np.bincount(place_S, weights=labels, minlength=NUM_BINS) / least_N
    rows = zip(count_N.tolist(), score_N.tolist(), label_N.tolist(), strict=True)
    return tuple(Bin(num_steps=n, score=score, label=label) for n, score, label in rows)
