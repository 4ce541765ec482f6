"""Intervals of shares, of differences of paired shares, and of means over problems."""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

Z_95 = NormalDist().inv_cdf(0.975)
"""The 97.5 % quantile of the standard normal distribution, for two-sided 95 % intervals."""

NUM_RESAMPLES = 1000
"""Resamples of a bootstrap."""

Interval = tuple[float, float]


def wilson_interval(num_correct: int, num_problems: int, *, z: float = Z_95) -> Interval:
    """Wilson score interval of a share (Wilson 1927), 95 % by default.

    Unlike the normal approximation it stays inside [0, 1] and does not collapse at 0 or 1.

    Args:
        num_correct: Successes.
        num_problems: Trials.
        z: Quantile of the standard normal distribution for the wanted confidence.

    Raises:
        ValueError: `num_problems` is not positive or `num_correct` is outside [0, num_problems].
    """
    if not 0 <= num_correct <= num_problems or num_problems == 0:
        raise ValueError(f"{num_correct=} of {num_problems=} is not a share")
    share = num_correct / num_problems
    spread = z * z / num_problems
    center = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) / num_problems + spread / num_problems / 4) * z
    half /= 1 + spread
    return max(0.0, min(share, center - half)), min(1.0, max(share, center + half))


def paired_interval(num_problems: int, num_won: int, num_lost: int) -> Interval:
    """The 95 % interval of a difference of two shares of the same problems, in [-1, 1].

    That of Agresti and Min (2005, section 3): Wald's interval for the difference of two dependent
    shares, with half a problem added to each of the four outcomes. So it has a width where both
    solve the same problems, and a handful of problems decides nothing.

    Args:
        num_problems: The problems.
        num_won: Those that only the first solves.
        num_lost: Those that only the second solves.
    """
    total, changed = num_problems + 2, num_won + num_lost + 1
    centre = (num_won - num_lost) / total
    half = Z_95 * math.sqrt(changed / total - centre**2) / math.sqrt(total)
    return max(-1.0, centre - half), min(1.0, centre + half)


def mcnemar_p(num_won: int, num_lost: int) -> float:
    """The two-sided p-value of McNemar's exact test: whether both solve equally many.

    Args:
        num_won: Problems that only the first solves.
        num_lost: Problems that only the second solves.
    """
    changed = num_won + num_lost
    tail = sum(math.comb(changed, k) for k in range(min(num_won, num_lost) + 1))
    return min(1.0, 2 * math.exp(math.log(tail) - changed * math.log(2)))


def bootstrap_intervals(values: Sequence[Sequence[float]]) -> list[Interval]:
    """95 % percentile intervals of the means over problems; the same values give the same ones.

    Args:
        values: For each problem a value of each curve's point, all resampled together.
    """
    table_PC = np.asarray(values, dtype=np.float64)
    num_problems = len(table_PC)
    rng = np.random.default_rng(0)
    means_RC = np.stack(
        [
            table_PC[rng.integers(num_problems, size=num_problems)].mean(axis=0)
            for _ in range(NUM_RESAMPLES)
        ]
    )
    low_C, high_C = np.quantile(means_RC, (0.025, 0.975), axis=0)
    return list(zip(low_C.tolist(), high_C.tolist(), strict=True))
