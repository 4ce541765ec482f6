"""Policies of the user's own, named as `module:function` in the option `search`.

The function makes a policy from the search's options. Results keep its name, so whoever can
import it can repeat them.
"""

import functools
import importlib
from collections.abc import Callable
from typing import Any

from fasttts.config import SearchConfig
from fasttts.errors import ConfigurationError
from fasttts.search.policy import SearchPolicy

_WORDS = (
    "num_roots",
    "needs_scores",
    "needs_answers",
    "is_monotone",
    "is_revisiting",
    "step_shape",
    "group",
    "expand",
)
"""What a policy consists of."""


def make_named_policy(config: SearchConfig) -> SearchPolicy:
    """The policy that the function named by `config.search` makes of the options.

    Raises:
        ConfigurationError: There is no such function, or it makes something else.
    """
    policy = _function(config.search)(config)
    missing = [word for word in _WORDS if not hasattr(policy, word)]
    if missing:
        raise ConfigurationError(
            f"search='{config.search}' made a {type(policy).__name__}, which is no search policy: "
            f"it lacks {', '.join(missing)}"
        )
    return policy


def _function(name: str) -> Callable[[SearchConfig], SearchPolicy]:
    module, _, path = name.partition(":")
    try:
        found: Any = functools.reduce(getattr, path.split("."), importlib.import_module(module))
    except Exception as error:  # a module may raise what it likes
        raise ConfigurationError(
            f"search={name!r} cannot be imported: {type(error).__name__}: {error}; give "
            "module:function, where the module is installed or in the current directory"
        ) from error
    if not callable(found):
        raise ConfigurationError(
            f"search={name!r} is no function but {type(found).__name__}: give the name of what "
            "makes a policy from the options"
        )
    function: Callable[[SearchConfig], SearchPolicy] = found
    return function
