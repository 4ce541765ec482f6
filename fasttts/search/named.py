"""Policies of the user's own, named as `module:function` in the option `search`.

The function makes a policy from the search's options. Results keep its name, so whoever can
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
"""What a policy consists of."""


def make_named_policy(config: SearchConfig) -> SearchPolicy:
    """The policy that the function named by `config.search` makes of the options.

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
    """The function `module:function` that makes a policy of a search's options.

    Raises:
        ConfigurationError: It cannot be imported, or is none.
    """
    return import_function(name, option="search", purpose="what makes a policy from the options")
