"""What users may give as an engine's verifier."""

from collections.abc import Sequence

from fasttts.backends.base import Verifier
from fasttts.errors import ConfigurationError
from fasttts.verifiers.combination import Mean
from fasttts.verifiers.parts import Part, as_verifier, models_of

Choice = Part | Sequence[Part]
"""A part, or several whose mean is meant."""


def choose(choice: Choice) -> Verifier:
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
