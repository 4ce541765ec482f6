"""User-defined policies, named as `module:function` in the option `search`.

The function makes a policy from the search's options. Results keep its name, so that whoever can
import it can repeat them.
"""

from collections.abc import Callable
from typing import Any

from fasttts.config import SearchConfig, import_function
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
"""Attributes and methods of a policy."""


def make_named_policy(config: SearchConfig) -> SearchPolicy:
    """Makes the policy of the function that `config.search` names.

    Raises:
        ConfigurationError: There is no such function, or it makes something else.
    """
    policy: SearchPolicy = named_function(config.search)(config)
    missing = [word for word in _WORDS if not hasattr(policy, word)]
    if missing:
        raise ConfigurationError(
            f"search='{config.search}' made a {type(policy).__name__}, which is no search policy: "
            f"it lacks {', '.join(missing)}"
        )
    return policy


def named_function(name: str) -> Callable[..., Any]:
    """Imports the function `module:function` that makes a policy from a search's options.

    Raises:
        ConfigurationError: It cannot be imported, or is no function.
    """
    return import_function(name, option="search", purpose="what makes a policy from the options")
