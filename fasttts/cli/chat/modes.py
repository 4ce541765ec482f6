"""Modes of answering: a draft with a search where it is doubted, or always one of the two."""

from collections.abc import Mapping
from typing import Literal, get_args

from fasttts.config.validation import did_you_mean
from fasttts.engine import FastTTS
from fasttts.errors import ConfigurationError
from fasttts.routing import Always, Never, Router

Effort = Literal["low", "medium", "high"]
Mode = Literal["auto", "plain", "deliberate"]

EFFORTS: Mapping[Effort, Mapping[str, int]] = {
    "low": {"n": 4, "beam_width": 2},
    "medium": {"n": 16, "beam_width": 4},
    "high": {"n": 64, "beam_width": 4},
}
"""Width of a search at each level."""


def check_effort(name: str) -> Effort:
    """Returns the effort level of that name.

    Raises:
        ConfigurationError: There is none.
    """
    for level in get_args(Effort):
        if level == name:
            return level  # type: ignore[no-any-return]  # get_args knows no types
    raise ConfigurationError(f"unknown effort '{name}': {did_you_mean(name, EFFORTS)}")


def check_auto(engine: FastTTS) -> None:
    """Checks that the engine has a verifier, which decides whether a plain answer suffices.

    Raises:
        ConfigurationError: It has none.
    """
    if engine.verifier_name is None:
        raise ConfigurationError(
            "without a verifier nobody can tell which answers need a search: use /plain or "
            "/deliberate, or start the chat with --verifier; --verifier judge has the generator "
            "judge itself"
        )


def router_of(engine: FastTTS, mode: Mode) -> Router:
    """Makes the router of a mode.

    Args:
        engine: Decodes and searches.
        mode: The mode.

    Raises:
        ConfigurationError: The mode needs a verifier and there is none.
    """
    match mode:
        case "plain":
            return Router(engine, Never())
        case "deliberate":
            return Router(engine, Always())
    check_auto(engine)
    return Router(engine)
