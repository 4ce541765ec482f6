"""Distributions of the time and the tokens of requests, each counted once, when it ends."""

from dataclasses import dataclass

from fasttts.observability.histograms import (
    FIRST_TOKEN_BOUNDS,
    RATIO_BOUNDS,
    SECONDS_BOUNDS,
    TOKEN_BOUNDS,
    Distribution,
)
from fasttts.observability.stats import RequestDistributions
from fasttts.scheduling.run import SearchRun
from fasttts.scheduling.usage import token_counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Time and tokens of one request.

    Attributes:
        seconds: Seconds from call to outcome.
        first_token_s: Seconds from call to the first token; None without one.
        prompt_tokens: Tokens of its prompt; None where there was no search, as for the others.
        generated_tokens: Tokens sampled for it.
        acceptance: The share of its tokens generated ahead that became part of the tree; None
            where there were none.
    """

    seconds: float
    first_token_s: float | None = None
    prompt_tokens: int | None = None
    generated_tokens: int | None = None
    acceptance: float | None = None


def taken(seconds: float, run: SearchRun | None) -> Taken:
    """Reads the time and the tokens of a request that has ended.

    Args:
        seconds: Seconds from call to outcome.
        run: The search that was done for it; None where there was none.
    """
    if run is None:
        return Taken(seconds=seconds)
    counts = token_counts(run.counts, run.tree)
    num_accepted = counts["speculated_tokens"]
    num_ahead = num_accepted + counts["generated_tokens"] - counts["required_tokens"]
    return Taken(
        seconds=seconds,
        first_token_s=run.counts.first_token_s,
        prompt_tokens=len(run.request.prompt_token_ids),
        generated_tokens=counts["generated_tokens"],
        acceptance=num_accepted / num_ahead if num_ahead > 0 else None,
    )


class RequestRecorder:
    """The distributions of one kind of requests; not safe for use by several threads."""

    def __init__(self) -> None:
        self._seconds = Distribution(SECONDS_BOUNDS)
        self._first_token_s = Distribution(FIRST_TOKEN_BOUNDS)
        self._prompt_tokens = Distribution(TOKEN_BOUNDS)
        self._generated_tokens = Distribution(TOKEN_BOUNDS)
        self._acceptance = Distribution(RATIO_BOUNDS)

    def add(self, taken: Taken) -> None:
        """Counts a request."""
        for distribution, value in (
            (self._seconds, taken.seconds),
            (self._first_token_s, taken.first_token_s),
            (self._prompt_tokens, taken.prompt_tokens),
            (self._generated_tokens, taken.generated_tokens),
            (self._acceptance, taken.acceptance),
        ):
            if value is not None:
                distribution.add(value)

    def snapshot(self) -> RequestDistributions:
        """Returns the counts so far."""
        return RequestDistributions(
            seconds=self._seconds.snapshot(),
            first_token_s=self._first_token_s.snapshot(),
            prompt_tokens=self._prompt_tokens.snapshot(),
            generated_tokens=self._generated_tokens.snapshot(),
            acceptance=self._acceptance.snapshot(),
        )
