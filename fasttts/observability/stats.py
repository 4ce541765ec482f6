"""Statistics of an engine: counters since it was made, and present gauges."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from fasttts.observability.histograms import Histogram
from fasttts.scheduling.gauges import Gauges
from fasttts.scheduling.usage import EngineUsage
from fasttts.types import Health

RequestOutcome = Literal[
    "complete",
    "seconds",
    "tokens",
    "verifier_calls",
    "no_answer",
    "refused",
    "failed",
    "cancelled",
]
"""How a call ended: with a result, by its own rule or at the end of that part of its budget;
without a complete candidate, as a result that was cut off or as a `SearchError`; with a
`SearchError`, because it would have been late; with a
`BackendError`; or because its caller stopped waiting for it."""

REQUEST_OUTCOMES: tuple[RequestOutcome, ...] = get_args(RequestOutcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDistributions:
    """What the requests of one kind took.

    Attributes:
        seconds: Seconds from call to outcome, of all that ended.
        first_token_s: Seconds from call to the first token sampled, of those that had one.
        prompt_tokens: Tokens of the prompt, of those that were searched.
        generated_tokens: Tokens sampled for them, in the tree or not.
        acceptance: Of the tokens that were generated ahead of a decision, or for nothing, the share
            that became part of the tree, 0 to 1; of those searches that had such tokens.
    """

    seconds: Histogram
    first_token_s: Histogram
    prompt_tokens: Histogram
    generated_tokens: Histogram
    acceptance: Histogram


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestStats:
    """Counts of one engine's requests. Each problem of `search_many` is one.

    Attributes:
        ended: Requests that have ended, by outcome; every outcome is a key.
        num_open: Requests that have not.
        seconds: Seconds from call to outcome, summed over those that ended.
        num_cache_hits: Results that the result cache held.
        num_cache_misses: Requests that could have been in it and were not.
        distributions: What they took, by search; "custom" stands for policies of users, and a
            search that was never asked for is no key.
    """

    ended: Mapping[RequestOutcome, int]
    num_open: int = 0
    seconds: float = 0.0
    num_cache_hits: int = 0
    num_cache_misses: int = 0
    distributions: Mapping[str, RequestDistributions] = field(default_factory=dict)

    @property
    def num_ended(self) -> int:
        """Requests that have ended."""
        return sum(self.ended.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """A snapshot of one engine.

    Attributes:
        health: Whether requests are accepted.
        requests: Counts of the requests.
        gauges: Present use of the loop and the KV cache.
        usage: Cost of all searches together.
        num_restarts: Times that `restart` loaded the models again.
    """

    health: Health
    requests: RequestStats
    gauges: Gauges
    usage: EngineUsage
    num_restarts: int = 0
