"""How right answers are, and how well scores separate right from wrong ones.

Estimates are means over all subsets of the samples of a problem, so they do not depend on the
order in which the samples were drawn (Chen et al. 2021, arXiv 2107.03374, for "any").
"""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fasttts.answers.equality import answers_equal, group_equal
from fasttts.config import Selection
from fasttts.search.aggregation import rank
from fasttts.types import Candidate

_NUM_RESAMPLES = 500
_FEWEST_OF_A_KIND = 5
_FEWEST_PROBLEMS = 4
_MOST_SUBSETS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """A sampled answer to a problem of known answer.

    Attributes:
        problem: Index of the problem.
        candidate: The answer, with its score if there is one.
        is_right: Whether it is the known answer.
    """

    problem: int
    candidate: Candidate
    is_right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """How often a right answer scores above a wrong one; ties count half.

    Attributes:
        auc: The area under the ROC curve, over all pairs.
        low: Lower end of its 95 % interval, from resampled problems.
        high: Its upper end.
        within: The same share over pairs of answers to one problem; None where there is no pair.
        num_right: Right answers.
        num_wrong: Wrong ones.
        num_problems: Problems.
    """

    auc: float
    low: float
    high: float
    within: float | None
    num_right: int
    num_wrong: int
    num_problems: int

    @property
    def is_proven(self) -> bool:
        """Whether the interval leaves 0.5 out on the right side."""
        return self.low > 0.5


def grade(problem: int, candidate: Candidate, answer: str) -> Graded:
    """Compares a candidate's answer with the known one.

    Args:
        problem: Index of the problem.
        candidate: The candidate.
        answer: The known answer.
    """
    is_right = answers_equal(candidate.answer, answer)
    return Graded(problem=problem, candidate=candidate, is_right=is_right)


def separation(graded: Sequence[Graded]) -> Separation | None:
    """Measures how scores separate right from wrong answers.

    Args:
        graded: Answers; those without a score do not count.

    Returns:
        None where there are too few right ones, wrong ones or problems.
    """
    groups = _by_problem([g for g in graded if g.candidate.score is not None])
    parts = [_scores(group) for group in groups.values()]
    num_right = sum(len(right) for right, _ in parts)
    num_wrong = sum(len(wrong) for _, wrong in parts)
    if min(num_right, num_wrong) < _FEWEST_OF_A_KIND or len(parts) < _FEWEST_PROBLEMS:
        return None
    rng = np.random.default_rng(0)
    resampled = []
    for _ in range(_NUM_RESAMPLES):
        chosen = [parts[i] for i in rng.integers(len(parts), size=len(parts))]
        resampled.append(_auc(chosen))
    known = [value for value in resampled if value is not None]
    pairs = [value for part in parts if (value := _pair_shares(*part)).size]
    return Separation(
        auc=_auc(parts) or 0.0,
        low=float(np.quantile(known, 0.025)),
        high=float(np.quantile(known, 0.975)),
        within=float(np.concatenate(pairs).mean()) if pairs else None,
        num_right=num_right,
        num_wrong=num_wrong,
        num_problems=len(parts),
    )


def tied_share(graded: Sequence[Graded]) -> float | None:
    """Share of pairs of different answers to one problem that have the same score.

    Args:
        graded: Answers, right or wrong.

    Returns:
        None where no problem has two different answers with scores.
    """
    ties = []
    for group in _by_problem(graded).values():
        texts = {g.candidate.text: g.candidate.score for g in group}
        scores = [score for score in texts.values() if score is not None]
        ties += [a == b for a, b in itertools.combinations(scores, 2)]
    return statistics.mean(ties) if ties else None


def accuracy(graded: Sequence[Graded], k: int, rule: Selection) -> float | None:
    """Estimates the share of problems that a choice among `k` samples solves.

    Args:
        graded: Answers; problems with fewer than `k` do not count.
        k: Samples to choose among.
        rule: How to choose; by majority, scores do not break ties.

    Returns:
        None where no problem has `k` samples.
    """
    if rule == "majority":
        graded = [replace(g, candidate=replace(g.candidate, score=None)) for g in graded]
    groups = [group for group in _by_problem(graded).values() if len(group) >= k]
    if not groups:
        return None
    return statistics.mean(_chosen_right(_spelled_alike(group), k, rule) for group in groups)


def solvable(graded: Sequence[Graded], k: int) -> float | None:
    """Estimates the share of problems of which `k` samples hold a right answer.

    Args:
        graded: As for `accuracy`.
        k: Samples.
    """
    groups = [group for group in _by_problem(graded).values() if len(group) >= k]
    if not groups:
        return None
    shares = []
    for group in groups:
        sets = list(_subsets(group, k))
        shares.append(statistics.mean(any(g.is_right for g in chosen) for chosen in sets))
    return statistics.mean(shares)


def _chosen_right(group: Sequence[Graded], k: int, rule: Selection) -> float:
    return statistics.mean(_right_of_best(chosen, rule) for chosen in _subsets(group, k))


def _right_of_best(group: Sequence[Graded], rule: Selection) -> bool:
    right = {g.candidate.path: g.is_right for g in group}
    return right[rank([g.candidate for g in group], rule)[0].path]


def _subsets(group: Sequence[Graded], k: int) -> list[tuple[Graded, ...]]:
    """All subsets, or evenly spaced ones where there are very many."""
    every = list(itertools.combinations(group, k))
    return every[:: max(1, len(every) // _MOST_SUBSETS)]


def _spelled_alike(group: Sequence[Graded]) -> list[Graded]:
    """Equal answers in one spelling, so that each subset need not compare them again."""
    spelling: dict[int, str | None] = {}
    answers = [g.candidate.answer for g in group]
    for indices in group_equal(answers):
        spelling.update(dict.fromkeys(indices, answers[indices[0]]))
    return [
        replace(g, candidate=replace(g.candidate, answer=spelling.get(index), path=(index,)))
        for index, g in enumerate(group)
    ]


def _by_problem(graded: Sequence[Graded]) -> Mapping[int, list[Graded]]:
    groups: dict[int, list[Graded]] = {}
    for one in graded:
        groups.setdefault(one.problem, []).append(one)
    return groups


Scores = tuple[list[float], list[float]]
"""Scores of right and of wrong answers."""


def _scores(group: Sequence[Graded]) -> Scores:
    right = [g.candidate.score for g in group if g.is_right]
    wrong = [g.candidate.score for g in group if not g.is_right]
    return [s for s in right if s is not None], [s for s in wrong if s is not None]


def _pair_shares(right: Sequence[float], wrong: Sequence[float]) -> "npt.NDArray[np.float64]":
    differences = np.subtract.outer(np.asarray(right), np.asarray(wrong)).ravel()
    return np.where(differences == 0, 0.5, differences > 0)


def _auc(parts: Sequence[Scores]) -> float | None:
    right = [score for part in parts for score in part[0]]
    wrong = [score for part in parts for score in part[1]]
    shares = _pair_shares(right, wrong)
    return float(shares.mean()) if shares.size else None
