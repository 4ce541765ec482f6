"""Names with a special meaning in place of a model's directory or hub name."""

import functools
import importlib
import re
from collections.abc import Callable
from typing import Any

from fasttts.errors import ConfigurationError

DEMO = "demo"
"""The name of the bundled demonstration models."""

JUDGE = "judge"
"""The verifier that asks the generator itself whether the steps so far are right."""

SIGNALS = ("mean_confidence", "lowest_confidence", "self_certainty", "perplexity", "entropy")
"""The verifiers that read the generator's own log-probabilities; see `verifiers/signals.py`."""

VARIABLE_PREFIX = "FASTTTS_"
"""Prefix of the environment variables that set options of the engine."""

SERVING_PREFIX = "FASTTTS_SERVE_"
"""Prefix of those that set options of the server."""

LOG_PREFIX = "FASTTTS_LOG_"
"""Prefix of those that set options of the commands' log."""

FLAGS = frozenset(
    {
        "generator",
        "verifier",
        "dtype",
        "numerics",
        "max_model_len",
        "max_num_seqs",
        "kv_cache_memory_bytes",
        "gpu_memory_utilization",
        "cache_dir",
    }
)
"""Options of the engine that have a flag of the same name on the command line."""

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def option_name(option: str) -> str:
    """Names an option of the engine for a message, with its flag and its environment variable."""
    return f"{option} {option_hint(option)}"


def option_hint(option: str) -> str:
    """The flag, if there is one, and the environment variable of an option of the engine."""
    flag = f"--{option.replace('_', '-')}, " if option in FLAGS else ""
    return f"({flag}{VARIABLE_PREFIX}{option.upper()})"


def is_function_name(name: str) -> bool:
    """Whether the name of a verifier or of a search is of the form `module:function`."""
    return _FUNCTION.fullmatch(name) is not None


def import_function(name: str, *, option: str, purpose: str) -> Callable[..., Any]:
    """Imports the function that `module:function` names.

    Args:
        name: The function's name in that form.
        option: The option that holds the name, for messages.
        purpose: The purpose of the function, for messages.

    Raises:
        ConfigurationError: There is no such module or function.
    """
    module, _, path = name.partition(":")
    try:
        found: Any = functools.reduce(getattr, path.split("."), importlib.import_module(module))
    except Exception as error:  # a module may raise anything
        raise ConfigurationError(
            f"{option}={name!r} cannot be imported: {type(error).__name__}: {error}; give "
            "module:function, where the module is installed or in the current directory"
        ) from error
    if not callable(found):
        raise ConfigurationError(
            f"{option}={name!r} is no function but {type(found).__name__}: give the name of "
            f"{purpose}"
        )
    function: Callable[..., Any] = found
    return function
