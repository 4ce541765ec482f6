"""Converts users' verifier options to verifiers."""

from collections.abc import Iterator, Sequence

from fasttts.config import import_function, is_function_name
from fasttts.errors import BackendError, ConfigurationError, shown
from fasttts.interfaces import (
    Verifier,
    fingerprint,
    num_logprobs,
    numerics,
    reads_distributions,
)
from fasttts.types import Numerics
from fasttts.verifiers.async_scoring import try_async
from fasttts.verifiers.function import FunctionVerifier, ScoreFunction
from fasttts.verifiers.model_ref import ModelVerifier
from fasttts.verifiers.signals import SIGNALS

VerifierLike = Verifier | ScoreFunction | str
"""A verifier, a function `score(problem, steps)`, or a name: "judge", a signal, a model,
module:function."""


def as_verifier(part: VerifierLike) -> Verifier:
    """Makes the verifier that a part of a combination describes; models are named, not loaded.

    Raises:
        ConfigurationError: The part is neither a name, a function nor a verifier, or a class.
    """
    if isinstance(part, str):
        if part in SIGNALS:
            return SIGNALS[part]()
        return named_function(part) if is_function_name(part) else ModelVerifier(part)
    _check_no_class(part)
    if callable(getattr(part, "score", None)):
        return part  # type: ignore[return-value]  # duck typing: `score` makes a verifier
    if callable(part):
        return FunctionVerifier(part)
    raise ConfigurationError(
        f"verifier={shown(part)}: give a model's name, 'judge', a signal such as 'perplexity', "
        "'module:function', a function score(problem, steps), or a verifier"
    )


def named_function(name: str) -> FunctionVerifier:
    """Makes the verifier that `module:function` names.

    Raises:
        ConfigurationError: There is no such module or function, or it is a class.
    """
    function = import_function(name, option="verifier", purpose="score(problem, steps)")
    _check_no_class(function, name)
    return FunctionVerifier(function, name=name)


def _check_no_class(part: object, name: str | None = None) -> None:
    """Refuses a class, which has the methods of its objects and cannot score; `name` names it."""
    if not isinstance(part, type):
        return
    remedy = f"write {part.__name__}()"
    if name is not None:
        remedy = "name a function score(problem, steps), or give the object itself in Python"
    raise ConfigurationError(f"verifier={name or part.__name__} is a class: {remedy}")


def parts_of(verifier: Verifier) -> Iterator[Verifier]:
    """Iterates over the verifier and all its parts, depth first."""
    yield verifier
    parts: Sequence[Verifier] = getattr(verifier, "parts", ())
    for part in parts:
        yield from parts_of(part)


def models_of(verifier: Verifier) -> list[ModelVerifier]:
    """Lists the models that the verifier names."""
    return [part for part in parts_of(verifier) if isinstance(part, ModelVerifier)]


def is_serial(verifier: Verifier) -> bool:
    """Whether the verifier, or a part of it, processes one batch at a time.

    Requests that arrive meanwhile should wait and form one larger batch.
    """
    return any(getattr(part, "is_serial", False) for part in parts_of(verifier))


def is_batched(verifier: Verifier) -> bool:
    """Whether scores of many requests cost less together: not where functions alone score.

    A verifier of which that is not so has an attribute `is_batched` that is false.
    """
    leaves = (part for part in parts_of(verifier) if not getattr(part, "parts", ()))
    return any(getattr(leaf, "is_batched", True) for leaf in leaves)


def is_beside(verifier: Verifier) -> bool:
    """Whether the verifier, or a part of it, works while sequences decode."""
    leaves = (part for part in parts_of(verifier) if not getattr(part, "parts", ()))
    return any(try_async(leaf) is not None for leaf in leaves)


def joint_numerics(verifier: Verifier) -> Numerics:
    """What the verifier gives; a combination is "deterministic" where all its parts are."""
    leaves = (part for part in parts_of(verifier) if not getattr(part, "parts", ()))
    is_exact = all(numerics(leaf) == "deterministic" for leaf in leaves)
    return "deterministic" if is_exact else "default"


def joint_num_logprobs(verifier: Verifier) -> int | None:
    """How many of the likeliest tokens the verifier, or a part of it, reads; None reads none.

    Raises:
        ConfigurationError: A part asks for what no generator reports.
    """
    found = [number for part in parts_of(verifier) if (number := num_logprobs(part)) is not None]
    return max(found, default=None)


def reads_any_distribution(verifier: Verifier) -> bool:
    """Whether the verifier, or a part of it, reads numbers of whole distributions."""
    return any(map(reads_distributions, parts_of(verifier)))


def fault_of(verifier: Verifier) -> BackendError | None:
    """The error that ended the verifier, or a part of it, from its attribute `fault`; else None."""
    faults = (getattr(part, "fault", None) for part in parts_of(verifier))
    return next(filter(None, faults), None)


def joint_fingerprint(rule: str, parts: Sequence[Verifier]) -> str | None:
    """The fingerprint of a combination; None where a part has none.

    Args:
        rule: The rule's name and settings.
        parts: The combined verifiers.
    """
    found = [fingerprint(part) for part in parts]
    return f"{rule}({', '.join(map(str, found))})" if all(found) else None
