"""Tokens a second with 1, 16 and 64 sequences, and what lies between."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from fasttts.check.deadline import Deadline
from fasttts.config import search_config
from fasttts.config.budget import Budget
from fasttts.engine import FastTTS
from fasttts.errors import SearchError

NUM_SEQUENCES = (1, 16, 64)
"""Sequences in the measured batches."""

_LONG = "Count from 1 to 300."
"""A short prompt whose answer is long, so that few sequences end early."""

_TOKENS = 64
_WARM_UP_TOKENS = 2
_LEAST_S = 0.5
_TOO_SLOW_SHARE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """One measured batch.

    Attributes:
        wanted: Sequences that were to run together.
        num_sequences: Sequences that did, on average.
        num_tokens: Tokens of all of them.
        seconds: Time in the generator.
        is_cut: Whether time ended it before every sequence had its tokens.
    """

    wanted: int
    num_sequences: float
    num_tokens: int
    seconds: float
    is_cut: bool = False

    @property
    def tokens_per_s(self) -> float:
        """Tokens of all sequences together in a second."""
        return self.num_tokens / self.seconds


def measure_speed(engine: FastTTS, wanted: int, deadline: Deadline) -> Speed | None:
    """Samples answers together, again if that took next to no time.

    Args:
        engine: An idle engine.
        wanted: Sequences to run.
        deadline: When to stop.

    Returns:
        None where no token was sampled in time.
    """
    before = engine.usage
    most_s = deadline.left_s
    asked = 0
    while asked == 0 or (deadline.elapsed_s < min(_LEAST_S, most_s) and asked < 20):
        if deadline.is_over:
            break
        _sample(engine, wanted, _TOKENS, seed=asked, seconds=deadline.left_s)
        asked += 1
    after = engine.usage
    num_tokens = after.generated_tokens - before.generated_tokens
    seconds = after.generation_s - before.generation_s
    if num_tokens == 0 or seconds <= 0.0:
        return None
    iterations = after.num_iterations - before.num_iterations
    return Speed(
        wanted=wanted,
        num_sequences=(after.required_sequences - before.required_sequences) / iterations,
        num_tokens=num_tokens,
        seconds=seconds,
        is_cut=deadline.is_over,
    )


def warm_up(engine: FastTTS, deadline: Deadline) -> None:
    """Runs a few tokens, since the first iterations of an engine take longer than others.

    Args:
        engine: An idle engine.
        deadline: When to stop.
    """
    _sample(engine, 1, _WARM_UP_TOKENS, seed=0, seconds=deadline.left_s)


def is_too_slow_for_more(speed: Speed) -> bool:
    """Whether a larger batch would take too long: this one did not get far in its time."""
    return speed.is_cut and speed.num_tokens < _TOO_SLOW_SHARE * speed.wanted * _TOKENS


def rate(speeds: Sequence[Speed], num_sequences: int) -> float | None:
    """Estimates tokens a second of a batch from measured ones.

    Between two measured sizes it is a power law; beyond the largest a batch gains nothing, and
    below the smallest a sequence is as fast as there.

    Args:
        speeds: Measured batches, in order of size.
        num_sequences: Sequences of the batch.
    """
    if not speeds:
        return None
    points = sorted((speed.num_sequences, speed.tokens_per_s) for speed in speeds)
    if num_sequences <= points[0][0]:
        return points[0][1] * num_sequences / points[0][0]
    for (low, slow), (high, fast) in itertools.pairwise(points):
        if low < num_sequences <= high:
            share = math.log(num_sequences / low) / math.log(high / low)
            return float(slow * (fast / slow) ** share)
    return points[-1][1]


def fitting_batch(speeds: Sequence[Speed], num_tokens: int, seconds: float, most: int) -> int:
    """The most sequences that get through their tokens in time, 1, 2, 4, ... up to `most`.

    Args:
        speeds: Measured batches.
        num_tokens: Tokens of each sequence.
        seconds: The time.
        most: Upper bound.
    """
    best, size = 1, 1
    while size <= most:
        total = rate(speeds, size)
        if total is not None and num_tokens * size / total <= seconds:
            best = size
        size *= 2
    return best


def _sample(
    engine: FastTTS, num_sequences: int, max_tokens: int, *, seed: int, seconds: float
) -> None:
    """Samples answers whose text nobody reads."""
    config = search_config(
        search="best_of_n",
        selection="majority",
        n=num_sequences,
        max_tokens=max_tokens,
        seed=seed,
        budget=Budget(seconds=max(seconds, 0.001)),
    )
    try:
        engine.search(_LONG, config=config)
    except SearchError:
        return  # no text came in time; the engine has counted the tokens all the same
