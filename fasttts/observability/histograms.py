"""Histograms: counts of values in fixed ranges, as Prometheus has them."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

SECONDS_BOUNDS = tuple(0.01 * 2**power for power in range(17))
"""Bounds for the seconds of a request: those that OpenTelemetry's conventions advise for
`gen_ai.server.request.duration`, and three more, since a search may take minutes."""

FIRST_TOKEN_BOUNDS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 100.0),
)
"""Bounds for the seconds to the first token: those that the conventions advise for
`gen_ai.server.time_to_first_token`, and two more, for calls that wait in a queue."""

TOKEN_BOUNDS = tuple(4.0**power for power in range(11))
"""Bounds for tokens: those that the conventions advise for `gen_ai.client.token.usage`, as far as
one search gets."""

RATIO_BOUNDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Bounds for a share of something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How often values fell into each range.

    Attributes:
        bounds: Upper bounds of the ranges, increasing; a value that equals one is below it.
        counts: Values in each range; one more than there are bounds, for what is above the last.
        total: Sum of the values.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float

    @property
    def num_values(self) -> int:
        """Values in all ranges."""
        return sum(self.counts)

    def cumulative(self) -> list[tuple[float, int]]:
        """For each bound, and for infinity, how many values are not above it."""
        found: list[tuple[float, int]] = []
        num = 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            num += count
            found.append((bound, num))
        return found


class Distribution:
    """Counts values; not safe for use by several threads.

    Args:
        bounds: As in `Histogram`.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._total = 0.0

    def add(self, value: float) -> None:
        """Counts a value."""
        self._counts[bisect.bisect_left(self._bounds, value)] += 1
        self._total += value

    def snapshot(self) -> Histogram:
        """Returns the counts so far."""
        return Histogram(bounds=self._bounds, counts=tuple(self._counts), total=self._total)
