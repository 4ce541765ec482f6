"""Checks once, with a short timeout, that a hub has a model; vLLM would retry for minutes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fasttts.backends.vllm.checkpoint import Checkpoint
from fasttts.config import DEMO, JUDGE, SIGNALS
from fasttts.config.validation import did_you_mean
from fasttts.errors import ConfigurationError

_TIMEOUT_S = 10.0


def ask_hub(name: str, revision: str | None) -> object:
    """Looks a model up on the hub; raises as huggingface_hub does.

    Args:
        name: The model's name on the hub.
        revision: Branch, tag or commit; None is the main one.
    """
    from huggingface_hub import HfApi

    return HfApi().model_info(name, revision=revision, timeout=_TIMEOUT_S)


def check_on_hub(
    model: Checkpoint,
    revision: str | None = None,
    *,
    ask: Callable[[str, str | None], object] = ask_hub,
) -> None:
    """Checks that a model is in the hub's local cache or on the hub.

    Args:
        model: The model; a directory needs no hub.
        revision: Its branch, tag or commit; None is the main one.
        ask: Looks name and revision up on the hub, and raises where there is no such model.

    Raises:
        ConfigurationError: It is in neither, or the hub cannot be reached.
    """
    from huggingface_hub import try_to_load_from_cache
    from vllm import envs

    if model.is_local or envs.VLLM_USE_MODELSCOPE:
        return
    with _translated(f"{model.role}={model.name!r}", _hint(model)):
        cached = try_to_load_from_cache(model.name, "config.json", revision=revision)
        if not isinstance(cached, str):
            ask(model.name, revision)


def _hint(model: Checkpoint) -> str:
    """Ends a message with the special name that a model's resembles; empty where it does not."""
    if "/" in model.name:
        return ""
    known = (DEMO, JUDGE, *SIGNALS) if model.role == "verifier" else (DEMO,)
    meant = did_you_mean(model.name.lower(), known, otherwise="")
    return f"; {meant}" if meant else ""


@contextmanager
def _translated(what: str, hint: str) -> Iterator[None]:
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        yield
    except HFValidationError as error:
        raise ConfigurationError(
            f"{what} is neither a directory nor a name on the hub: give an existing directory, or "
            f"organisation/model{hint}"
        ) from error
    except HfHubHTTPError as error:
        raise ConfigurationError(
            f"{what} is no directory, and the hub refuses the name ({_first_line(error)}): check "
            f"the spelling; a gated or private model needs a token (hf auth login){hint}"
        ) from error
    except Exception as error:  # no network: the errors depend on the version's HTTP library
        raise ConfigurationError(
            f"{what} is no directory and not in the hub's local cache, and the hub cannot be "
            f"reached ({_first_line(error)}): give a directory, or connect and try again{hint}"
        ) from error


def _first_line(error: Exception) -> str:
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__).rstrip(".")
