"""The time that a check may take, and how its measurements share it."""

import time
from collections.abc import Callable

Clock = Callable[[], float]


class Deadline:
    """Counts down from a number of seconds.

    Args:
        limit_s: The seconds.
        clock: Returns seconds; replaced by tests.
    """

    def __init__(self, limit_s: float, clock: Clock = time.monotonic) -> None:
        self.limit_s = limit_s
        self._clock = clock
        self._begin_s = clock()

    @property
    def elapsed_s(self) -> float:
        """Seconds since it was made."""
        return self._clock() - self._begin_s

    @property
    def left_s(self) -> float:
        """Seconds that are left, at least 0."""
        return max(0.0, self.limit_s - self.elapsed_s)

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return self.left_s <= 0.0

    def part(self, share: float) -> "Deadline":
        """Returns a deadline that ends after a share of the time that is left now."""
        return Deadline(self.left_s * share, self._clock)
