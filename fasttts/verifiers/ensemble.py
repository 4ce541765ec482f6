"""Several verifiers as one: a mean, the smallest score, a product.

A step's score depends on the scores of the same step alone, so that a combination is as
independent of batches as its parts are.
"""

import abc
import math
from collections.abc import Sequence

from fasttts.errors import ConfigurationError, ContractError
from fasttts.interfaces import Verification, VerificationRequest, Verifier
from fasttts.verifiers.async_scoring import AsyncScoring, finish, scoring_of, together, try_async
from fasttts.verifiers.resolve import VerifierLike, as_verifier, joint_fingerprint, models_of


class Ensemble(abc.ABC):
    """Verifiers that all score every step; subclasses say how their scores become one.

    Args:
        parts: Verifiers, functions, or names of models; this object closes them.
    """

    rule = "combination"
    weights: tuple[float, ...] = ()

    def __init__(self, *parts: VerifierLike) -> None:
        if not parts:
            raise ConfigurationError(f"{self.rule}() needs at least one verifier")
        self.parts: tuple[Verifier, ...] = tuple(as_verifier(part) for part in parts)

    @property
    def name(self) -> str:
        """The rule and the parts' names."""
        return f"{self.rule}({', '.join(part.name for part in self.parts)})"

    @property
    def fingerprint(self) -> str | None:
        """That of the rule and the parts; a rule of the user's own has to say its own."""
        if type(self).__module__ != __name__:
            return None
        return joint_fingerprint(f"{self.rule} {self.weights}", self.parts)

    @abc.abstractmethod
    def combine(self, scores_P: Sequence[float]) -> float:
        """One step's score from those of the P parts, each in [0, 1]."""

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        """Scores each request's unscored steps; see `base.Verifier.score`."""
        return finish(self.score_async(requests))

    def score_async(self, requests: Sequence[VerificationRequest]) -> AsyncScoring:
        """`score` without blocking: what runs beside the loop begins first."""
        order = sorted(range(len(self.parts)), key=lambda i: try_async(self.parts[i]) is None)
        found = yield from together([scoring_of(self.parts[i], requests) for i in order])
        by_part = [found[order.index(i)] for i in range(len(self.parts))]
        return [self._merged(own) for own in zip(*by_part, strict=True)]

    def close(self) -> None:
        """Closes the parts."""
        for part in self.parts:
            part.close()

    def _merged(self, found: Sequence[Verification]) -> Verification:
        counts = {len(one.scores) for one in found}
        if len(counts) > 1:
            raise ContractError(
                f"the parts of {self.name} gave {sorted(counts)} scores for the same steps",
                role="verifier",
            )
        return Verification(
            scores=tuple(map(self.combine, zip(*(one.scores for one in found), strict=True))),
            num_computed_tokens=sum(one.num_computed_tokens for one in found),
            num_cached_tokens=sum(one.num_cached_tokens for one in found),
        )


class Mean(Ensemble):
    """The mean of the parts' scores.

    Args:
        parts: As for `Ensemble`.
        weights: One for each part, positive; equal by default.
    """

    rule = "mean"

    def __init__(self, *parts: VerifierLike, weights: Sequence[float] | None = None) -> None:
        super().__init__(*parts)
        self.weights = tuple(weights) if weights is not None else (1.0,) * len(self.parts)
        if len(self.weights) != len(self.parts) or not all(
            0 < weight < math.inf for weight in self.weights
        ):
            raise ConfigurationError(
                f"weights={self.weights}: give one positive number for each of the "
                f"{len(self.parts)} parts"
            )

    def combine(self, scores_P: Sequence[float]) -> float:
        """The weighted mean."""
        total = math.fsum(w * score for w, score in zip(self.weights, scores_P, strict=True))
        return min(total / math.fsum(self.weights), 1.0)


class Minimum(Ensemble):
    """The smallest of the parts' scores."""

    rule = "minimum"

    def combine(self, scores_P: Sequence[float]) -> float:
        """The smallest."""
        return min(scores_P)


class Product(Ensemble):
    """The product of the parts' scores."""

    rule = "product"

    def combine(self, scores_P: Sequence[float]) -> float:
        """The product."""
        return math.prod(scores_P)


VerifierOption = VerifierLike | Sequence[VerifierLike]
"""A part, or several whose mean is meant."""


def resolve_verifier(choice: VerifierOption) -> Verifier:
    """The verifier that is meant; models are named, not loaded.

    Raises:
        ConfigurationError: Nothing is meant that can score, or a model is loaded already.
    """
    if isinstance(choice, Sequence) and not isinstance(choice, str):
        return Mean(*choice)
    return as_verifier(choice)


def check_loaded(verifier: Verifier) -> None:
    """Raises ConfigurationError when a model of the verifier is not loaded."""
    for model in models_of(verifier):
        if not model.is_loaded:
            raise ConfigurationError(
                f"verifier={model.model!r} is not loaded: hand it to FastTTS.load"
            )
