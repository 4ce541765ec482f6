"""Modes of answering: a draft with a search where it is doubted, or always one of the two."""

from typing import Literal

from fasttts.engine import FastTTS
from fasttts.errors import ConfigurationError
from fasttts.routing import Always, Never, Router

Mode = Literal["auto", "plain", "deliberate"]


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
