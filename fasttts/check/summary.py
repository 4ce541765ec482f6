"""Numbers from measurements: lengths, accuracy, scores, and a threshold for the router."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fasttts.check.lengths import length_quantile
from fasttts.check.measure import Measured
from fasttts.check.quality import (
    Graded,
    Separation,
    accuracy,
    grade,
    separation,
    solvable,
    tied_share,
)
from fasttts.config import Selection
from fasttts.routing.calibration import Sample as RouterSample
from fasttts.routing.calibration import cheapest, threshold_curve
from fasttts.search.aggregation import aggregate, rank
from fasttts.types import Candidate, Step

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Shown quantiles of scores."""

SERVED = 0.95
"""Share of the answers that `max_tokens` should leave uncut."""

FEWEST_GROUPS = 8
"""Problems from which on a comparison of ways to choose says anything."""

_FEWEST_SIBLINGS = 4
_KEPT_ACCURACY = 0.99
_WORTHWHILE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Share of problems solved by a choice among some samples; None where it is unknown.

    Attributes:
        k: Samples to choose among.
        majority: By votes.
        best: By the highest score.
        weighted: By votes weighed with scores.
        solvable: By a choice that is always right.
    """

    k: int
    majority: float | None
    best: float | None
    weighted: float | None
    solvable: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A threshold of the router, rehearsed on the samples.

    Attributes:
        threshold: The lowest score of a step in a draft that needs no search.
        searched_share: Share of the drafts that are searched.
        tokens_share: Tokens, as a share of those of always searching.
        accuracy: Share of problems solved.
    """

    threshold: float
    searched_share: float
    tokens_share: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Numbers from the samples of a check; None or empty where there are too few.

    Attributes:
        num_ended: Samples that time did not end.
        num_timed_out: Samples that it did.
        mean_tokens: Mean length of those that ended.
        served_tokens: Tokens within which 95 % of the answers end.
        cut_share: Share of them cut at `max_tokens`.
        announced_share: Share that announce an answer.
        answered_share: Share in which an answer was found, announced or guessed.
        num_graded: Samples of problems with known answers.
        num_problems: Such problems.
        num_groups: Those of them with at least four samples.
        accuracies: For 1, 2, 4 and 8 samples.
        num_scored: Samples with scores.
        score_quantiles: Quantiles of the final scores, at `QUANTILES`.
        tied_share: Share of pairs of siblings that have the same score.
        separation: How scores separate right from wrong.
        seconds_a_score: Seconds to score one answer.
        threshold: A threshold for the router.
    """

    num_ended: int
    num_timed_out: int
    mean_tokens: float | None
    served_tokens: int | None
    cut_share: float | None
    announced_share: float | None
    answered_share: float | None
    num_graded: int
    num_problems: int
    num_groups: int
    accuracies: tuple[Accuracy, ...]
    num_scored: int
    score_quantiles: tuple[float, ...]
    tied_share: float | None
    separation: Separation | None
    seconds_a_score: float | None
    threshold: Threshold | None


def summarize(measured: Measured) -> Summary:
    """Computes the numbers that findings and advice are made from."""
    ended = measured.ended
    graded = _graded(measured)
    scored = [g for g in _every(measured) if g.candidate.score is not None]
    scores = [g.candidate.score or 0.0 for g in scored]
    return Summary(
        num_ended=len(ended),
        num_timed_out=len(measured.samples) - len(ended),
        mean_tokens=_mean([sample.num_tokens for sample in ended]),
        served_tokens=length_quantile(
            [(sample.num_tokens, sample.ending == "stop") for sample in measured.samples], SERVED
        ),
        cut_share=_mean([sample.ending == "length" for sample in ended]),
        announced_share=_mean([sample.is_announced for sample in ended]),
        answered_share=_mean([sample.answer is not None for sample in ended]),
        num_graded=len(graded),
        num_problems=len({g.problem for g in graded}),
        num_groups=len(_groups(graded)),
        accuracies=_accuracies(graded),
        num_scored=len(scored),
        score_quantiles=tuple(map(float, np.quantile(scores, QUANTILES))) if scores else (),
        tied_share=tied_share(scored),
        separation=separation(graded),
        seconds_a_score=measured.scoring_s / len(scored) if scored else None,
        threshold=_threshold(graded),
    )


def _mean(values: Sequence[float]) -> float | None:
    return statistics.mean(values) if values else None


def _every(measured: Measured) -> list[Graded]:
    """All samples that ended, as candidates; ungraded ones count as wrong."""
    return [
        grade(
            sample.problem,
            _candidate(measured, index),
            measured.problems[sample.problem].answer or "",
        )
        for index, sample in enumerate(measured.samples)
        if sample.ending != "time"
    ]


def _graded(measured: Measured) -> list[Graded]:
    known = {i for i, problem in enumerate(measured.problems) if problem.answer is not None}
    return [g for g in _every(measured) if g.problem in known]


def _candidate(measured: Measured, index: int) -> Candidate:
    sample = measured.samples[index]
    scores_S = measured.scores.get(index)
    steps = measured.steps.get(index, ()) if scores_S else ()
    return Candidate(
        path=(index,),
        text=sample.text,
        steps=tuple(Step(text=t, score=s) for t, s in zip(steps, scores_S or (), strict=True)),
        score=aggregate(scores_S, measured.config.aggregation) if scores_S else None,
        answer=sample.answer,
        finish_reason="stop" if sample.ending == "stop" else "length",
        num_tokens=sample.num_tokens,
        is_announced=sample.is_announced,
    )


def _accuracies(graded: Sequence[Graded]) -> tuple[Accuracy, ...]:
    """Accuracies on problems with as many samples as the largest choice has."""
    rows = []
    scored = [g for g in graded if g.candidate.score is not None]
    for k in (1, 2, 4, 8):
        if (any_right := solvable(graded, k)) is None:
            break
        rows.append(
            Accuracy(
                k=k,
                majority=accuracy(graded, k, "majority"),
                best=accuracy(scored, k, "best"),
                weighted=accuracy(scored, k, "weighted"),
                solvable=any_right,
            )
        )
    return tuple(rows)


def _groups(graded: Sequence[Graded]) -> list[list[Graded]]:
    """Problems with enough samples to choose among."""
    groups: dict[int, list[Graded]] = {}
    for one in graded:
        groups.setdefault(one.problem, []).append(one)
    return [group for group in groups.values() if len(group) >= _FEWEST_SIBLINGS]


def _threshold(graded: Sequence[Graded]) -> Threshold | None:
    """The cheapest threshold that keeps the accuracy, with each sample as the draft in turn."""
    groups = _groups([g for g in graded if g.candidate.score is not None])
    if len(groups) < FEWEST_GROUPS:
        return None
    curve = threshold_curve([sample for group in groups for sample in _rehearsed(group)])
    chosen, always = cheapest(curve, _KEPT_ACCURACY), curve[-1]
    if always.accuracy == 0.0 or chosen.tokens > _WORTHWHILE * always.tokens:
        return None
    return Threshold(
        threshold=chosen.threshold,
        searched_share=chosen.searched_share,
        tokens_share=chosen.tokens / always.tokens,
        accuracy=chosen.accuracy,
    )


def _rehearsed(group: Sequence[Graded], selection: Selection = "best") -> list[RouterSample]:
    right = {g.candidate.path: g.is_right for g in group}
    chosen = rank([g.candidate for g in group], selection)[0]
    search_tokens = sum(g.candidate.num_tokens for g in group)
    return [
        RouterSample(
            lowest_score=_lowest_score(g.candidate),
            is_draft_right=g.is_right,
            is_search_right=right[chosen.path],
            draft_tokens=g.candidate.num_tokens,
            total_tokens=g.candidate.num_tokens + search_tokens,
        )
        for g in group
    ]


def _lowest_score(candidate: Candidate) -> float | None:
    scores_S = [step.score for step in candidate.steps if step.score is not None]
    return min(scores_S) if candidate.is_complete and scores_S else None
