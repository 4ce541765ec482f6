"""Seconds against batch size: measured curves and their knee."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

Seconds = Callable[[int], float]
"""Time of a batch of this size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Seconds against a size, from measured points.

    The curve is the lower convex hull of the points, never falling: timings err upwards, and a
    batch costs no less than a part of it. Between points it is linear. Beyond the last one time
    grows in proportion at least, so that no batch larger than the measured ones looks better.

    Attributes:
        sizes: Ascending, positive.
        seconds: One for each size.
    """

    sizes: tuple[float, ...]
    seconds: tuple[float, ...]

    @classmethod
    def fit(cls, points: Iterable[tuple[float, float]]) -> Self:
        """Fits the curve through the fastest of the points; at least one is needed."""
        fastest: dict[float, float] = {}
        for size, seconds in points:
            fastest[size] = min(seconds, fastest.get(size, seconds))
        hull = _lower_hull(sorted(fastest.items()))
        times = [seconds for _, seconds in hull]
        rising = tuple(min(times[index:]) for index in range(len(times)))
        return cls(sizes=tuple(size for size, _ in hull), seconds=rising)

    def at(self, size: float) -> float:
        """Seconds at any positive size."""
        if size <= self.sizes[0]:
            return self.seconds[0]
        right = bisect_left(self.sizes, size)
        if right == len(self.sizes):
            return self.seconds[-1] + (size - self.sizes[-1]) * self._last_slope()
        x0, x1 = self.sizes[right - 1 : right + 1]
        y0, y1 = self.seconds[right - 1 : right + 1]
        return y0 + (size - x0) * (y1 - y0) / (x1 - x0)

    def _last_slope(self) -> float:
        proportional = self.seconds[-1] / self.sizes[-1]
        if len(self.sizes) == 1:
            return proportional
        rise = (self.seconds[-1] - self.seconds[-2]) / (self.sizes[-1] - self.sizes[-2])
        return max(proportional, rise)


def _lower_hull(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Andrew's monotone chain over points sorted by their first coordinate."""
    hull: list[tuple[float, float]] = []
    for x, y in points:
        while len(hull) >= 2:
            (x0, y0), (x1, y1) = hull[-2:]
            if (y1 - y0) * (x - x1) < (y - y1) * (x1 - x0):
                break
            hull.pop()
        hull.append((x, y))
    return hull


def knee(seconds: Seconds, most: int, threshold: float) -> int:
    """Largest batch size before one more sequence costs too much, at most `most`.

    Too much is more than `threshold` of the mean cost of a sequence, `seconds(b) / b`. Where
    decoding is bound by reading weights that share is small and grows with the batch; where it is
    bound by compute it is 1. A threshold of 1/2 maximises throughput over latency, `b / seconds(b)
    ** 2` (Kleinrock's power); one near 1 maximises throughput alone.

    Args:
        seconds: Time of a batch.
        most: Largest size to consider.
        threshold: In (0, 1].
    """
    now_s = seconds(1)
    for batch in range(1, most):
        next_s = seconds(batch + 1)
        if (next_s - now_s) * batch > threshold * now_s:
            return batch
        now_s = next_s
    return most


def size_for_rate(seconds: Seconds, most: int, share: float) -> int:
    """Smallest size that reaches a share of the rate, size over seconds, of `most`.

    Args:
        seconds: Time of a size.
        most: The size of the full rate.
        share: In (0, 1].
    """
    wanted = share * most / seconds(most)
    return bisect_left(range(1, most), wanted, key=lambda size: size / seconds(size)) + 1
