"""Verifiers without a model: the generator's confidence in its own tokens.

A signal reads the log-probabilities that the generator reports beside the tokens of a step, which
takes no further pass. They are those of the model's logits, before temperature, filters and
grammars, and they stay with the tokens: a sequence that is restarted, preempted or speculated has
the same. A step's score is a function of them alone.

Every signal is mapped to [0, 1] so that higher is more confident. `Perplexity` and `Entropy` are in
units of choices: their inverse is how many equally likely tokens the model had in the mean. The
others are in units of `SCALE_NATS` nats, so that thresholds of the papers carry over.

Sources: DeepConf, Fu et al. 2025, "Deep think with confidence", arXiv 2508.15260 (entropy and
    confidence of a token, mean and lowest group confidence); self-certainty, Kang et al. 2025,
    "Scalable best-of-N selection for large language models via self-certainty", arXiv 2502.18581;
    perplexity of a sampled text is common. Differences: a score is a step's, not a text's (with the
    aggregation "model" it is that of the text so far), log-probabilities are kept above `FLOOR`,
    and groups are shorter and end with the step. `decoding.distribution` has the formulas of
    self-certainty and entropy, which are of the whole vocabulary.
"""

import abc
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from fasttts.config import SIGNALS as SIGNAL_NAMES
from fasttts.decoding.distribution import FLOOR
from fasttts.errors import ConfigurationError, ContractError, shown
from fasttts.interfaces import MAX_LOGPROBS, Verification, VerificationRequest
from fasttts.types import Distribution, Numerics, TokenLogprobs

SCALE_NATS = 40.0
"""Confidence and self-certainty of so many nats score 1."""

_ROUNDING = 1e-3
"""How far above 0 rounding may put the logarithm of 1."""


class Signal(abc.ABC):
    """A verifier that reads log-probabilities; subclasses rate the tokens of a step.

    Args:
        top_k: How many of the likeliest tokens are read beside each one.
        least: The fewest that have a meaning.

    Raises:
        ConfigurationError: `top_k` is less than that, or more than generators report.
    """

    rule = "signal"
    is_batched = False
    numerics: Numerics = "deterministic"
    reads_distributions = False
    """Whether it reads what all tokens' log-probabilities say together."""

    def __init__(self, top_k: int, *, least: int = 2) -> None:
        number: object = top_k
        if type(number) is not int or not least <= number <= MAX_LOGPROBS:
            raise ConfigurationError(
                f"top_k={shown(top_k)} of {self.rule}: make it {least} to {MAX_LOGPROBS}"
            )
        self.num_logprobs = number

    @property
    def name(self) -> str:
        """The rule; with its settings where they are not the default ones."""
        return self.rule if not self._settings() else f"{self.rule}({self._settings()})"

    @property
    def fingerprint(self) -> str | None:
        """The rule and its settings; None for a user-defined rule without its own."""
        return f"signal {self.name}" if type(self).__module__ == __name__ else None

    @abc.abstractmethod
    def rate(self, tokens: Sequence[TokenLogprobs]) -> float:
        """Rates a step in [0, 1].

        Args:
            tokens: Its tokens, one or more: log-probabilities of each and of the `num_logprobs`
                likeliest there, from `FLOOR` to 0, and of a signal that reads distributions the
                numbers of the distribution there.
        """

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        """Scores each request's unscored steps; a step without tokens scores 0.

        Raises:
            ContractError: There are no log-probabilities of a step, or one is no logarithm of a
                probability.
        """
        return [Verification(scores=tuple(map(self._score, _steps(one)))) for one in requests]

    def close(self) -> None:  # noqa: B027, there is nothing to free
        """Does nothing."""

    def _settings(self) -> str:
        return "" if self.num_logprobs in (0, MAX_LOGPROBS) else f"top_k={self.num_logprobs}"

    def _checked(self, found: TokenLogprobs) -> TokenLogprobs:
        """The part of a token's report that is read, within bounds.

        A generator reports as many tokens as any of its requests asks for, the likeliest first, and
        all there are of a smaller vocabulary.
        """
        likeliest = found.likeliest[: self.num_logprobs]
        if self.num_logprobs and not likeliest:
            raise ContractError(
                f"the generator reports none of the {self.num_logprobs} likeliest tokens",
                role="generator",
            )
        whole = found.distribution
        if self.reads_distributions and (whole is None or not all(map(_is_nats, whole))):
            raise ContractError(
                f"the generator reports {whole} of the distribution of a token: {self.rule} needs "
                "finite numbers of 0 or more, or another signal is to be used",
                role="generator",
            )
        return TokenLogprobs(
            found.token_id,
            _in_bounds(found.token_id, found.logprob),
            [(each, _in_bounds(each, logprob)) for each, logprob in likeliest],
            whole,
        )

    def _score(self, tokens: Sequence[TokenLogprobs]) -> float:
        read = [self._checked(found) for found in tokens]
        return min(max(self.rate(read), 0.0), 1.0) if read else 0.0


class Perplexity(Signal):
    """The inverse of a step's perplexity: the geometric mean of its tokens' probabilities.

    A score of 0.5 is a perplexity of 2. It needs one log-probability for each token.
    """

    rule = "perplexity"

    def __init__(self) -> None:
        super().__init__(0, least=0)

    def rate(self, tokens: Sequence[TokenLogprobs]) -> float:
        """Returns `exp(mean of log p(token))`."""
        return math.exp(_mean([found.logprob for found in tokens]))


class Entropy(Signal):
    """The inverse of how many tokens the model hesitated between: `exp(-mean entropy)`.

    A score of 0.5 is the entropy of two equally likely tokens. It is that of the distribution of
    all tokens.
    """

    rule = "entropy"
    reads_distributions = True

    def __init__(self) -> None:
        super().__init__(0, least=0)

    def rate(self, tokens: Sequence[TokenLogprobs]) -> float:
        """Returns `exp(-mean entropy)`, the entropy of each token's distribution in nats."""
        return math.exp(-_mean([one.entropy for one in _distributions(tokens)]))


class MeanConfidence(Signal):
    """DeepConf's confidence of a step: the mean of its tokens'.

    A token's confidence is `-mean(log p)` of the `top_k` likeliest tokens of its place, in nats: it
    is high where the others are unlikely. It is divided by `SCALE_NATS`.

    Args:
        top_k: How many of the likeliest tokens are read.

    Raises:
        ConfigurationError: As for `Signal`.
    """

    rule = "mean_confidence"

    def __init__(self, top_k: int = MAX_LOGPROBS) -> None:
        super().__init__(top_k)

    def rate(self, tokens: Sequence[TokenLogprobs]) -> float:
        """Returns the mean confidence in units of `SCALE_NATS`."""
        return _mean([_confidence(found) for found in tokens]) / SCALE_NATS


class LowestConfidence(Signal):
    """DeepConf's lowest group confidence: the least mean confidence of `window` tokens in a row.

    Groups overlap, and a step shorter than a group is one. DeepConf's groups have 1024 or 2048
    tokens of a long chain of thought.

    Args:
        top_k: As for `MeanConfidence`.
        window: Tokens of a group.

    Raises:
        ConfigurationError: As for `Signal`, or the groups have no tokens.
    """

    rule = "lowest_confidence"

    def __init__(self, top_k: int = MAX_LOGPROBS, window: int = 16) -> None:
        super().__init__(top_k)
        number: object = window
        if type(number) is not int or number < 1:
            raise ConfigurationError(f"window={shown(window)}: a group has one token or more")
        self.window = number

    def rate(self, tokens: Sequence[TokenLogprobs]) -> float:
        """Returns the confidence of the least confident group in units of `SCALE_NATS`."""
        values = [_confidence(found) for found in tokens]
        size = min(self.window, len(values))
        groups = (values[start : start + size] for start in range(len(values) - size + 1))
        return min(map(_mean, groups)) / SCALE_NATS

    def _settings(self) -> str:
        window = "" if self.window == 16 else f"window={self.window}"
        return ", ".join(filter(None, (super()._settings(), window)))


class SelfCertainty(Signal):
    """Self-certainty of a step: how far the model is from finding all tokens equally likely.

    It is the mean over the tokens of `KL(U || p)`, the divergence of the distribution there from
    the uniform one, in nats, divided by `SCALE_NATS`; 0 where all are equally likely. The
    distributions are of the whole vocabulary.
    """

    rule = "self_certainty"
    reads_distributions = True

    def __init__(self) -> None:
        super().__init__(0, least=0)

    def rate(self, tokens: Sequence[TokenLogprobs]) -> float:
        """Returns the mean divergence in units of `SCALE_NATS`."""
        return _mean([one.self_certainty for one in _distributions(tokens)]) / SCALE_NATS


_CLASSES: tuple[Callable[[], Signal], ...] = (
    MeanConfidence,
    LowestConfidence,
    SelfCertainty,
    Perplexity,
    Entropy,
)
SIGNALS: Mapping[str, Callable[[], Signal]] = MappingProxyType(
    dict(zip(SIGNAL_NAMES, _CLASSES, strict=True))
)
"""Signals by the names that stand for them among verifiers."""


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _confidence(found: TokenLogprobs) -> float:
    return -_mean([logprob for _, logprob in found.likeliest])


def _distributions(tokens: Sequence[TokenLogprobs]) -> list[Distribution]:
    return [found.distribution for found in tokens if found.distribution is not None]


def _steps(request: VerificationRequest) -> Sequence[Sequence[TokenLogprobs]]:
    """The log-probabilities of a request's unscored steps."""
    num_asked = len(request.steps) - request.num_scored
    found = request.logprobs
    if found is None and num_asked:
        raise ContractError(
            f"the log-probabilities of {num_asked} steps are missing: the generator reports none, "
            "or the steps are not its own",
            role="verifier",
        )
    if len(found or ()) != num_asked:
        raise ContractError(
            f"there are log-probabilities of {len(found or ())} steps instead of {num_asked}",
            role="verifier",
        )
    return found or ()


def _is_nats(number: float) -> bool:
    return -_ROUNDING <= number < math.inf


def _in_bounds(token_id: int, logprob: float) -> float:
    """A log-probability from `FLOOR` to 0."""
    if not logprob <= _ROUNDING:
        raise ContractError(
            f"the generator reports {logprob} as the log-probability of token {token_id}",
            role="generator",
        )
    return min(max(logprob, FLOOR), 0.0)
