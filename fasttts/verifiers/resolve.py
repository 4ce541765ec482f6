"""What users may give as a part of a verifier, and the verifier it stands for."""

from collections.abc import Iterator, Sequence

from fasttts.config import import_function, is_function_name
from fasttts.errors import BackendError, ConfigurationError
from fasttts.interfaces import Verifier, fingerprint
from fasttts.verifiers.function import FunctionVerifier, ScoreFunction
from fasttts.verifiers.model_ref import ModelVerifier

VerifierLike = Verifier | ScoreFunction | str
"""A verifier, a function `score(problem, steps)`, or a name: "judge", a model, module:function."""


def as_verifier(part: VerifierLike) -> Verifier:
    """The verifier that a part of a combination stands for; models are named, not loaded.

    Raises:
        ConfigurationError: It is none of the three.
    """
    if isinstance(part, str):
        return named_function(part) if is_function_name(part) else ModelVerifier(part)
    if callable(getattr(part, "score", None)):
        return part  # type: ignore[return-value]  # what scores is taken for a verifier
    if callable(part):
        return FunctionVerifier(part)
    raise ConfigurationError(
        f"verifier={part!r}: give a model's name, 'judge', 'module:function', a function "
        "score(problem, steps), or a verifier"
    )


def named_function(name: str) -> FunctionVerifier:
    """The verifier that `module:function` names.

    Raises:
        ConfigurationError: There is no such module or function.
    """
    function = import_function(name, option="verifier", purpose="score(problem, steps)")
    return FunctionVerifier(function, name=name)


def parts_of(verifier: Verifier) -> Iterator[Verifier]:
    """The verifier and all that it is combined of."""
    yield verifier
    parts: Sequence[Verifier] = getattr(verifier, "parts", ())
    for part in parts:
        yield from parts_of(part)


def models_of(verifier: Verifier) -> list[ModelVerifier]:
    """The models that it names."""
    return [part for part in parts_of(verifier) if isinstance(part, ModelVerifier)]


def is_serial(verifier: Verifier) -> bool:
    """Whether it, or a part of it, says of itself that it works on one batch at a time.

    What comes meanwhile does better to wait, and to go as one larger batch.
    """
    return any(getattr(part, "is_serial", False) for part in parts_of(verifier))


def fault_of(verifier: Verifier) -> BackendError | None:
    """What it, or a part of it, was lost by, if that says so in an attribute `fault`."""
    faults = (getattr(part, "fault", None) for part in parts_of(verifier))
    return next(filter(None, faults), None)


def joint_fingerprint(rule: str, parts: Sequence[Verifier]) -> str | None:
    """The fingerprint of a combination by a rule; None where a part has none."""
    found = [fingerprint(part) for part in parts]
    return f"{rule}({', '.join(map(str, found))})" if all(found) else None
