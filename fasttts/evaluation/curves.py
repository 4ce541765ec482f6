"""How right a choice among k samples is, for every k up to n, from n samples of a problem.

pass@k is the unbiased estimator of Chen et al. (2021, arXiv 2107.03374, equation 1). best-of-k is
exact as well: the mean over all subsets of k samples, from the ranks of the samples. Majority and
weighted votes are means over all subsets while there are at most `MOST_SUBSETS`, else over as many
drawn by a fixed seed. Choices are those of `fasttts.search.aggregation.rank`, which groups equal
answers among the voters of each subset, as `fasttts.answers.equality.group_ballots` does.
"""

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from fasttts.evaluation.grading import GradedCandidate
from fasttts.search.aggregation import SCORE_GRID

CurveRule = Literal["pass", "majority", "best", "weighted"]
"""How many of k samples have to be right, or how one of them is chosen."""

MOST_SUBSETS = 1024

IntArray = npt.NDArray[np.int64]


def problem_curves(
    candidates: Sequence[GradedCandidate],
    n: int,
    sizes: Sequence[int],
    *,
    has_scores: bool | None = None,
) -> Mapping[CurveRule, tuple[float, ...]]:
    """The expected share of right choices among k samples of one problem, for each k.

    Args:
        candidates: The samples that there are, at most `n`; missing ones are wrong.
        n: Samples that were asked for.
        sizes: The values of k, each at most `n`.
        has_scores: Whether the method scores samples, so that those without a score have 0; None
            for whether any of these has one.

    Returns:
        A curve for each rule; those that need scores only where there are scores.
    """
    is_scored = any(candidate.score is not None for candidate in candidates)
    num_right = sum(candidate.is_right for candidate in candidates)
    ranked = sorted(candidates, key=_by_score)
    vote = _Vote(ranked, n)
    curves: dict[CurveRule, tuple[float, ...]] = {
        "pass": tuple(pass_at_k(n, num_right, k) for k in sizes),
        "majority": tuple(vote.share_right(k, is_weighted=False) for k in sizes),
    }
    if is_scored if has_scores is None else has_scores:
        right = [candidate.is_right for candidate in ranked]
        best = tuple(_best_of_k(n, right, k) for k in sizes)
        curves["best"] = curves["weighted"] = best  # votes without weight decide nothing
        if is_scored:
            curves["weighted"] = tuple(vote.share_right(k, is_weighted=True) for k in sizes)
    return curves


def pass_at_k(n: int, num_right: int, k: int) -> float:
    """Probability that at least one of k samples out of n is right.

    Args:
        n: Samples of the problem.
        num_right: Right ones among them.
        k: Samples to choose, at most `n`.
    """
    return 1.0 - math.comb(n - num_right, k) / math.comb(n, k)


def _best_of_k(n: int, right: Sequence[bool], k: int) -> float:
    """Probability that the best of k samples is right; `right` begins with the best sample."""
    ways = sum(math.comb(n - 1 - place, k - 1) for place, is_right in enumerate(right) if is_right)
    return ways / math.comb(n, k)


def _by_score(candidate: GradedCandidate) -> tuple[int, float, tuple[int, ...]]:
    return (-_tier(candidate), -(candidate.score or 0.0), candidate.path)


def _tier(candidate: GradedCandidate) -> int:
    """Complete candidates come before those that were cut, and those before malformed ones."""
    return 2 * (not candidate.is_malformed) + candidate.is_complete


class _Vote:
    """The votes of one problem's samples in many subsets at once.

    Args:
        ranked: The samples, best first where no vote decides.
        n: Samples that were asked for; missing ones come last.
    """

    def __init__(self, ranked: Sequence[GradedCandidate], n: int) -> None:
        self._n = n
        missing = n - len(ranked)

        def padded(values: Sequence[int], fill: int) -> IntArray:
            return np.asarray([*values, *[fill] * missing], dtype=np.int64)

        is_vote = [c.is_complete and not c.is_malformed and c.group is not None for c in ranked]
        self._right = padded([c.is_right for c in ranked], 0)
        self._tier = padded([_tier(c) for c in ranked], -1)
        ballots = [c.ballot or (c.group or 0,) for c in ranked]
        self._value = padded([ballot[0] for ballot in ballots], 0)
        self._num_values = max((max(ballot) for ballot in ballots), default=0) + 1
        self._decorated = {value: bare for value, *bare in ballots if bare}
        self._answered = padded(is_vote, 0)
        announced = [v and c.is_announced for v, c in zip(is_vote, ranked, strict=True)]
        self._announced = padded(announced, 0)
        self._weight = padded([round((c.score or 0.0) * SCORE_GRID) for c in ranked], 0)

    def share_right(self, k: int, *, is_weighted: bool) -> float:
        """Share of the subsets of k samples whose vote is right."""
        subsets_MK = _subsets(self._n, k)
        rows_M = np.arange(len(subsets_MK))[:, None]
        announced_MK = self._announced[subsets_MK]
        has_announced_M = announced_MK.any(axis=1, keepdims=True)
        voters_MK = np.where(has_announced_M, announced_MK, self._answered[subsets_MK])
        group_MK = self._groups(self._value[subsets_MK], voters_MK)
        weight_MK = self._weight[subsets_MK] if is_weighted else 1
        votes_MG = np.zeros((len(subsets_MK), self._num_values), dtype=np.int64)
        if k > 1:  # a single candidate is no vote
            np.add.at(votes_MG, (rows_M, group_MK), voters_MK * weight_MK)
        votes_MK = votes_MG[rows_M, group_MK] * voters_MK
        # One number that orders as the tuple (tier, votes, rank) does.
        key_MK = self._tier[subsets_MK] * (self._n * SCORE_GRID + 1) + votes_MK
        key_MK = key_MK * self._n - subsets_MK
        chosen_M = subsets_MK[rows_M[:, 0], key_MK.argmax(axis=1)]
        return float(self._right[chosen_M].mean())

    def _groups(self, value_MK: IntArray, voters_MK: IntArray) -> IntArray:
        """The value that each sample votes for among the voters of its subset."""
        if not self._decorated:
            return value_MK
        rows_M = np.arange(len(value_MK))
        is_voted_MV = np.zeros((len(value_MK), self._num_values), dtype=np.bool_)
        np.logical_or.at(is_voted_MV, (rows_M[:, None], value_MK), voters_MK != 0)
        num_wanted_MV = np.zeros(is_voted_MV.shape, dtype=np.int64)
        place_MV = np.tile(np.arange(self._num_values, dtype=np.int64), (len(value_MK), 1))
        for value, bare in self._decorated.items():
            is_joining_M = is_voted_MV[:, bare].any(axis=1) & is_voted_MV[:, value]
            target_M = np.asarray(bare)[is_voted_MV[:, bare].argmax(axis=1)]
            place_MV[is_joining_M, value] = target_M[is_joining_M]
            num_wanted_MV[rows_M, target_M] += is_joining_M
        num_rivals_MV = num_wanted_MV[rows_M[:, None], place_MV]
        place_MV = np.where(num_rivals_MV > 1, np.arange(self._num_values), place_MV)
        group_MK: IntArray = place_MV[rows_M[:, None], value_MK]
        return group_MK


@functools.lru_cache(64)
def _subsets(n: int, k: int) -> IntArray:
    """All subsets of k of n places, or some of them; a row each, the same ones every time."""
    if math.comb(n, k) <= MOST_SUBSETS:
        return np.asarray(list(itertools.combinations(range(n), k)), dtype=np.int64)
    rng = np.random.default_rng((n, k))
    places_MN = np.tile(np.arange(n, dtype=np.int64), (MOST_SUBSETS, 1))
    return rng.permuted(places_MN, axis=1)[:, :k]
