"""Log-probabilities that a generator reports beside a new token."""

from collections.abc import Sequence
from typing import NamedTuple


class Distribution(NamedTuple):
    """What the distribution of all tokens at one position says, before sampling options.

    Log-probabilities below `decoding.distribution.FLOOR` count as that.

    Attributes:
        self_certainty: Its divergence from the uniform one, `KL(U || p)`, in nats.
        entropy: Its entropy in nats.
    """

    self_certainty: float
    entropy: float


class TokenLogprobs(NamedTuple):
    """Log-probabilities at one position; a tuple, as one is made for every token.

    Attributes:
        token_id: The new token.
        logprob: Its log-probability.
        likeliest: The likeliest tokens there with theirs, the likeliest first.
        distribution: What all tokens' say together; None from a generator that does not tell.
    """

    token_id: int
    logprob: float
    likeliest: Sequence[tuple[int, float]] = ()
    distribution: Distribution | None = None
