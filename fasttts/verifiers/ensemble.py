"""Ensembles of verifiers: mean, minimum, product.

A step's score depends on the scores of the same step alone, so that an ensemble is as independent
of batches as its parts are.
"""

import abc
import math
from collections.abc import Sequence

from fasttts.errors import ConfigurationError, shown, wrong_type
from fasttts.interfaces import Verification, VerificationRequest, Verifier
from fasttts.verifiers.async_scoring import (
    AsyncScoring,
    finish,
    read_verification,
    scoring_of,
    together,
    try_async,
)
from fasttts.verifiers.resolve import (
    VerifierLike,
    as_verifier,
    joint_fingerprint,
    models_of,
)

_LEAST_WEIGHT, _MOST_WEIGHT = 1e-100, 1e100
"""Between these neither a sum of weights nor a weighted score leaves the range of a float."""


class Ensemble(abc.ABC):
    """Verifiers that all score every step; subclasses combine the scores.

    Args:
        parts: Verifiers, functions, or names of models; this object closes them.

    Raises:
        ConfigurationError: There are no parts.
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
        """Fingerprint of the rule and the parts; None for a user-defined rule without its own."""
        if type(self).__module__ != __name__:
            return None
        return joint_fingerprint(f"{self.rule} {self.weights}", self.parts)

    @abc.abstractmethod
    def combine(self, scores_P: Sequence[float]) -> float:
        """Combines the scores of the P parts, each in [0, 1], to one step's score."""

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        """Scores each request's unscored steps; see `interfaces.Verifier.score`."""
        return finish(self.score_async(requests))

    def score_async(self, requests: Sequence[VerificationRequest]) -> AsyncScoring:
        """Scores as `score` does, without blocking; parts that run in other threads begin first."""
        order = sorted(range(len(self.parts)), key=lambda i: try_async(self.parts[i]) is None)
        found = yield from together([scoring_of(self.parts[i], requests) for i in order])
        by_part = [
            list(map(read_verification, found[order.index(i)], requests))
            for i in range(len(self.parts))
        ]
        return [self._merged(own) for own in zip(*by_part, strict=True)]

    def close(self) -> None:
        """Closes the parts."""
        for part in self.parts:
            part.close()

    def _merged(self, found: Sequence[Verification]) -> Verification:
        return Verification(
            scores=tuple(map(self.combine, zip(*(one.scores for one in found), strict=True))),
            num_computed_tokens=sum(one.num_computed_tokens for one in found),
            num_cached_tokens=sum(one.num_cached_tokens for one in found),
            is_nan=_any_nan(found),
        )


def _any_nan(found: Sequence[Verification]) -> tuple[bool, ...]:
    """For each step whether a part gave not-a-number; empty where none did."""
    told = [one.is_nan for one in found if any(one.is_nan)]
    return tuple(map(any, zip(*told, strict=True)))


class Mean(Ensemble):
    """The weighted mean of the parts' scores.

    Args:
        parts: As for `Ensemble`.
        weights: One positive number for each part, from 1e-100 to 1e100; None weighs them equally.

    Raises:
        ConfigurationError: A weight is missing, not positive, or out of that range.
    """

    rule = "mean"

    def __init__(self, *parts: VerifierLike, weights: Sequence[float] | None = None) -> None:
        super().__init__(*parts)
        if not isinstance(weights, Sequence | None):
            raise wrong_type("weights", weights, "a list of numbers or None")
        self.weights = tuple(weights) if weights is not None else (1.0,) * len(self.parts)
        if len(self.weights) != len(self.parts) or not all(map(_is_weight, self.weights)):
            raise ConfigurationError(
                f"weights={shown(self.weights)}: give one positive number for each of the "
                f"{len(self.parts)} parts, from {_LEAST_WEIGHT:g} to {_MOST_WEIGHT:g}"
            )

    def combine(self, scores_P: Sequence[float]) -> float:
        """Returns the weighted mean."""
        total = math.fsum(w * score for w, score in zip(self.weights, scores_P, strict=True))
        return min(total / math.fsum(self.weights), 1.0)


def _is_weight(weight: object) -> bool:
    return isinstance(weight, int | float) and _LEAST_WEIGHT <= weight <= _MOST_WEIGHT


class Minimum(Ensemble):
    """The smallest of the parts' scores."""

    rule = "minimum"

    def combine(self, scores_P: Sequence[float]) -> float:
        """Returns the smallest score."""
        return min(scores_P)


class Product(Ensemble):
    """The product of the parts' scores."""

    rule = "product"

    def combine(self, scores_P: Sequence[float]) -> float:
        """Returns the product."""
        return math.prod(scores_P)


VerifierOption = VerifierLike | Sequence[VerifierLike]
"""A part, or several parts, which stand for their mean."""


def resolve_verifier(choice: VerifierOption) -> Verifier:
    """Makes the verifier that an option describes; models are named, not loaded.

    Raises:
        ConfigurationError: The option, or a part of it, is nothing that can score.
    """
    if isinstance(choice, Sequence) and not isinstance(choice, str | bytes):
        return Mean(*choice)
    return as_verifier(choice)


def check_loaded(verifier: Verifier) -> None:
    """Checks that every model of the verifier is loaded.

    Raises:
        ConfigurationError: A model is not.
    """
    for model in models_of(verifier):
        if not model.is_loaded:
            raise ConfigurationError(
                f"verifier={model.model!r} is not loaded: hand it to FastTTS.load"
            )
