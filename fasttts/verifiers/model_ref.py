"""Reference to a verifier model, so that combinations can be built before it is loaded."""

from collections.abc import Sequence

from fasttts.errors import ConfigurationError
from fasttts.interfaces import Verification, VerificationRequest, Verifier, fingerprint


class ModelVerifier:
    """A model as a part of a combination; `FastTTS.load` loads it.

    Args:
        model: "judge" for the generator itself, "demo", a model directory, or a hub name.
    """

    def __init__(self, model: str) -> None:
        self.model = model
        self._loaded: Verifier | None = None

    @property
    def name(self) -> str:
        """The loaded verifier's name; before that the model's."""
        return self._loaded.name if self._loaded else self.model

    @property
    def fingerprint(self) -> str | None:
        """The loaded verifier's; None before it is loaded."""
        return fingerprint(self._loaded)

    @property
    def parts(self) -> tuple[Verifier, ...]:
        """The loaded verifier; empty before it is loaded."""
        return () if self._loaded is None else (self._loaded,)

    @property
    def is_loaded(self) -> bool:
        """Whether it can score."""
        return self._loaded is not None

    def bind(self, loaded: Verifier) -> None:
        """Sets the loaded verifier, which this object owns from now on.

        Raises:
            ConfigurationError: It is loaded already: each engine needs an object of its own.
        """
        if self._loaded is not None:
            raise ConfigurationError(
                f"verifier={self.model!r} is loaded by another engine: build a new one for this"
            )
        self._loaded = loaded

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        """Scores each request's unscored steps; see `interfaces.Verifier.score`.

        Raises:
            ConfigurationError: The model is not loaded.
        """
        if self._loaded is None:
            raise ConfigurationError(
                f"verifier={self.model!r} is not loaded: hand it to FastTTS.load"
            )
        return self._loaded.score(requests)

    def close(self) -> None:
        """Frees the model."""
        if self._loaded is not None:
            self._loaded.close()
