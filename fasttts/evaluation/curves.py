"""How right a choice among k samples is, for every k up to n, from n samples of a problem.

pass@k is the unbiased estimator of Chen et al. (2021, arXiv 2107.03374, equation 1). best-of-k is
exact as well: the mean over all subsets of k samples, from the ranks of the samples. Majority and
weighted votes are means over all subsets while there are at most `MOST_SUBSETS`, else over as many
drawn by a fixed seed. Choices are those of `fasttts.search.aggregation.rank`.
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
    candidates: Sequence[GradedCandidate], n: int, sizes: Sequence[int]
) -> Mapping[CurveRule, tuple[float, ...]]:
    """The expected share of right choices among k samples of one problem, for each k.

    Args:
        candidates: The samples that there are, at most `n`; missing ones are wrong.
        n: Samples that were asked for.
        sizes: The values of k, each at most `n`.

    Returns:
        A curve for each rule; those that need scores only where samples have them.
    """
    num_right = sum(candidate.is_right for candidate in candidates)
    ranked = sorted(candidates, key=_by_score)
    vote = _Vote(ranked, n)
    curves: dict[CurveRule, tuple[float, ...]] = {
        "pass": tuple(pass_at_k(n, num_right, k) for k in sizes),
        "majority": tuple(vote.share_right(k, is_weighted=False) for k in sizes),
    }
    if any(candidate.score is not None for candidate in candidates):
        right = [candidate.is_right for candidate in ranked]
        curves["best"] = tuple(_best_of_k(n, right, k) for k in sizes)
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
        self._group = padded([0 if c.group is None else c.group for c in ranked], 0)
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
        group_MK = self._group[subsets_MK]
        weight_MK = self._weight[subsets_MK] if is_weighted else 1
        votes_MG = np.zeros((len(subsets_MK), int(self._group.max()) + 1), dtype=np.int64)
        if k > 1:  # a single candidate is no vote
            np.add.at(votes_MG, (rows_M, group_MK), voters_MK * weight_MK)
        votes_MK = votes_MG[rows_M, group_MK] * voters_MK
        # One number that orders as the tuple (tier, votes, rank) does.
        key_MK = self._tier[subsets_MK] * (self._n * SCORE_GRID + 1) + votes_MK
        key_MK = key_MK * self._n - subsets_MK
        chosen_M = subsets_MK[rows_M[:, 0], key_MK.argmax(axis=1)]
        return float(self._right[chosen_M].mean())


@functools.lru_cache(64)
def _subsets(n: int, k: int) -> IntArray:
    """All subsets of k of n places, or some of them; a row each, the same ones every time."""
    if math.comb(n, k) <= MOST_SUBSETS:
        return np.asarray(list(itertools.combinations(range(n), k)), dtype=np.int64)
    rng = np.random.default_rng((n, k))
    places_MN = np.tile(np.arange(n, dtype=np.int64), (MOST_SUBSETS, 1))
    return rng.permuted(places_MN, axis=1)[:, :k]
