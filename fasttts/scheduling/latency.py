"""Latencies: of an iteration by its batch, of a search by its kind, of a user's slow call.

Where an iteration takes as long for one sequence as for many, free slots are free. Where its time
grows with the batch, as on a CPU or in very large batches, each sequence must be worth its tokens.

Of the last times measured for a size of the batch the shortest counts: other load of the machine
can only add to it, but a longer context does too, so old times are dropped.
"""

import collections
import logging
from dataclasses import dataclass

from fasttts.config import SearchConfig
from fasttts.scheduling.usage import EngineUsage

logger = logging.getLogger(__name__)

SLOW_S = 1.0
"""Policies and backends of users run in the step loop; a call that takes longer is warned about."""

_MIN_SECONDS = 1e-3
"""A full batch that costs less than this more than one sequence is cheap, whatever the ratio."""

_COSTLY, _CHEAP_AGAIN = 1.0, 0.3
"""A full batch is costly where it adds more than this share of the time of one sequence, and stays
so until it adds less than the second: times of different sizes are never measured together."""

_NUM_KEPT = 8


@dataclass(frozen=True, slots=True, order=True)
class _Iteration:
    seconds: float
    num_sequences: int


class IterationLatency:
    """The last iterations for each order of magnitude of the batch."""

    def __init__(self) -> None:
        self._recent: dict[int, collections.deque[_Iteration]] = {}
        self._is_known = self._is_cheap = False

    def measured(self, num_sequences: int, seconds: float) -> None:
        """Adds the time of an iteration in which every sequence gained one token.

        Args:
            num_sequences: Size of the batch.
            seconds: Time of the iteration.
        """
        kept = self._recent.setdefault(
            num_sequences.bit_length(), collections.deque(maxlen=_NUM_KEPT)
        )
        kept.append(_Iteration(seconds, num_sequences))

    def is_cheap(self, num_slots: int) -> bool:
        """Whether a full batch is known to take about as long as a single sequence.

        It is not known before batches of two sizes ran of which one was at least twice the other.
        """
        times = self._times(num_slots)
        if times is not None:
            added_s, alone_s = times
            was_costly = self._is_known and not self._is_cheap
            share = _CHEAP_AGAIN if was_costly else _COSTLY
            self._is_known, self._is_cheap = True, added_s < max(_MIN_SECONDS, share * alone_s)
        return self._is_cheap

    def _times(self, num_slots: int) -> tuple[float, float] | None:
        """Time that a full batch adds to that of one sequence, and the latter; None if unknown."""
        if not self._recent:
            return None
        small, large = (min(self._recent[choose(self._recent)]) for choose in (min, max))
        if large.num_sequences < 2 * small.num_sequences:
            return None
        growth_s = (large.seconds - small.seconds) / (large.num_sequences - small.num_sequences)
        alone_s = small.seconds - growth_s * (small.num_sequences - 1)
        return growth_s * (num_slots - 1), alone_s


class SearchLatency:
    """The fewest iterations that searches of each kind have taken."""

    def __init__(self) -> None:
        self._num_iterations: dict[tuple[str, int], int] = {}

    def ended(self, config: SearchConfig, num_iterations: int) -> None:
        """Records a search that ended by its own rule.

        Args:
            config: The search's options.
            num_iterations: Iterations in which it had a sequence.
        """
        kind = (config.search, config.n)
        self._num_iterations[kind] = min(
            num_iterations, self._num_iterations.get(kind, num_iterations)
        )

    def expected_s(self, config: SearchConfig, num_ahead: int, usage: EngineUsage) -> float:
        """Estimates the seconds until a new search ends; 0 without earlier searches of its kind.

        Args:
            config: The search's options.
            num_ahead: Queued searches before it, assumed to be similar.
            usage: The engine's totals, for the time of an iteration.
        """
        num_iterations = self._num_iterations.get((config.search, config.n), 0)
        if not num_iterations or not usage.num_iterations:
            return 0.0
        seconds = (usage.generation_s + usage.verification_s) / usage.num_iterations
        return seconds * num_iterations * (1 + num_ahead)


def warn_if_slow(what: str, owner: object, seconds: float) -> None:
    """Warns of a call that held up the step loop for long, unless it is one of this package.

    Args:
        what: Whose call it was.
        owner: The object that was called.
        seconds: What the call took.
    """
    is_own = type(owner).__module__.partition(".")[0] == __name__.partition(".")[0]
    if seconds > SLOW_S and not is_own:
        logger.warning("%s held up the step loop for %.1f s", what, seconds)
