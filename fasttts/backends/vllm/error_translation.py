"""Translates vLLM's errors; the only place that reads their texts."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fasttts.config import option_hint, option_name
from fasttts.errors import BackendError, CapacityError, ConfigurationError, FastTTSError, Role

_CAPACITY = (
    (
        r"KV cache is needed|No available memory for the cache|memory for kv|Cannot auto-fit",
        (
            f"raise {option_name('kv_cache_memory_bytes')} or "
            f"{option_name('gpu_memory_utilization')}, or lower {option_name('max_model_len')}"
        ),
    ),
    (
        r"Free memory on device|out of memory|can't allocate memory|Cannot allocate memory",
        (
            f"free memory on the device, lower {option_name('gpu_memory_utilization')}, or choose "
            "smaller models"
        ),
    ),
)
_CONFIGURATION = (
    (
        r"max_model_len .* is greater than the derived|greater than the derived max_model_len",
        f"lower {option_name('max_model_len')} to the model's context length",
    ),
    (
        r"Model architectures? .*(not supported|failed to be inspected)|no vLLM implementation",
        "choose a model with an architecture vLLM supports",
    ),
    (
        r"max_num_batched_tokens .* must be greater than or equal to max_num_seqs",
        f"lower {option_name('max_num_seqs')}, or raise generator_args['max_num_batched_tokens']",
    ),
    (
        r"unexpected keyword argument|validation error",
        f"check {option_name('dtype')} and generator_args or verifier_args",
    ),
    (
        r"trust_remote_code",
        (
            "read the code in the model's repository, then set "
            f"trust_remote_code=True {option_hint('trust_remote_code')}"
        ),
    ),
    (
        r"is not a local folder|Repository ?Not ?Found|Invalid repository ID|couldn't connect",
        "check the model's name, the network and the token, or give a local directory",
    ),
)

_NOISE = re.compile(r"Supported architectures: .*|\[type=\w+, input_value=.*", re.DOTALL)
"""Ends of messages without information: vLLM's list of all models, pydantic's input."""


_CAUSE = re.compile(r"\b(\w*(?:Error|Exception): .+)")
"""The last line of a traceback."""


@contextmanager
def builder(role: Role, name: str, hidden: Callable[[], str] = str) -> Iterator[None]:
    """Translates the errors of vLLM while an engine is built.

    Args:
        role: The role of the engine.
        name: The model.
        hidden: Returns the output so far. An engine in a process of its own prints why it does not
            start, and raises here only that it does not.

    Raises:
        ConfigurationError: An option or the model cannot work.
        CapacityError: The model or its cache does not fit.
        BackendError: Anything else.
    """
    try:
        yield
    except FastTTSError:
        raise
    except Exception as error:  # vLLM raises many types; each becomes one of ours
        known = _initialization_error(hidden()) if "initialization failed" in str(error) else None
        raise translate(known or error, role, f"{role}={name!r} cannot be opened") from error


def _initialization_error(printed: str) -> Exception | None:
    """Reads another process's reason for not starting from its output; None without one."""
    causes = [cause for cause in _CAUSE.findall(printed) if "initialization failed" not in cause]
    return RuntimeError(causes[-1]) if causes else None


def translate(error: Exception, role: Role, what: str) -> FastTTSError:
    """Translates an error of vLLM.

    Args:
        error: The error.
        role: The role of the engine that raised it.
        what: The action that failed, for the message.
    """
    text = _first_lines(error)
    if isinstance(error, MemoryError):
        return CapacityError(f"{what}: {text}; {_CAPACITY[1][1]}", role=role)
    for pattern, advice in _CAPACITY:
        if re.search(pattern, text, re.IGNORECASE):
            return CapacityError(f"{what}: {text}; {advice}", role=role)
    for pattern, advice in _CONFIGURATION:
        if re.search(pattern, text, re.IGNORECASE):
            return ConfigurationError(f"{what}: {text}; {advice}")
    return BackendError(f"{what}: {type(error).__name__}: {text}", role=role)


def _first_lines(error: Exception, limit: int = 600) -> str:
    text = " ".join(_NOISE.sub("", str(error)).split()).rstrip(".") or type(error).__name__
    return text if len(text) <= limit else text[:limit] + " ..."
