"""Admission: how many requests are in work, and when a refused one should come again."""

from collections.abc import Iterator
from contextlib import contextmanager

from fasttts.engine import FastTTS
from fasttts.serving.api_errors import ApiError, overloaded

_UNKNOWN_S = 1.0
"""Seconds of a request, before one has ended."""


class Admission:
    """The requests in work; belongs to one event loop.

    Args:
        engine: Its mean time of a request says when there will be room.
        max_requests: Most requests in work at a time.

    Attributes:
        num_open: Requests in work.
    """

    def __init__(self, engine: FastTTS, max_requests: int) -> None:
        self.num_open = 0
        self._engine = engine
        self._max_requests = max_requests

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Counts a request while the body runs.

        Raises:
            ApiError: There is no room.
        """
        if self.num_open >= self._max_requests:
            raise self._refusal()
        self.num_open += 1
        try:
            yield
        finally:
            self.num_open -= 1

    def _refusal(self) -> ApiError:
        stats = self._engine.stats().requests
        mean_s = stats.seconds / stats.num_ended if stats.num_ended else _UNKNOWN_S
        return overloaded(
            f"{self.num_open} requests are in work, and max_requests={self._max_requests}: send "
            "the request again later",
            mean_s,
        )
