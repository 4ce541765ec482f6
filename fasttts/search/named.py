"""User-defined policies, named as `module:function` in the option `search`.

The function makes a policy from the search's options. Results keep its name, so that whoever can
import it can repeat them.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

from fasttts.config import SearchConfig, import_function
from fasttts.decoding.steps import StepShape
from fasttts.errors import ConfigurationError
from fasttts.search.policy import Branch, SearchPolicy
from fasttts.tree import Beam
from fasttts.types import Path

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

MAX_BRANCHES = 65_536
"""The most children that one decision may start."""


class CheckedPolicy:
    """A user's policy, every value of which is checked before the search uses it.

    What does not change in a search is read once, here.

    Args:
        policy: The user's.

    Raises:
        TypeError: One of its attributes is of a wrong type.
        ValueError: It starts with no beams, or with more than `MAX_BRANCHES`.
    """

    def __init__(self, policy: Any) -> None:
        self._policy = policy
        self.num_roots = operator.index(policy.num_roots)
        if not 1 <= self.num_roots <= MAX_BRANCHES:
            raise ValueError(f"num_roots={self.num_roots}: make it 1 to {MAX_BRANCHES}")
        self.needs_scores = bool(policy.needs_scores)
        self.needs_answers = bool(policy.needs_answers)
        self.is_monotone = bool(policy.is_monotone)
        self.is_revisiting = bool(policy.is_revisiting)

    def step_shape(self, path: Path) -> StepShape:
        """Asks the policy how much text a node holds.

        Raises:
            TypeError: It returned something else than a shape.
        """
        shape = self._policy.step_shape(path)
        if not isinstance(shape, StepShape):
            raise TypeError(f"step_shape returned {shape!r:.200}: return a StepShape")
        return shape

    def group(self, path: Path) -> Path:
        """Asks the policy which group decides about a node.

        Raises:
            TypeError: It returned something else than a path.
        """
        name = self._policy.group(path)
        if not isinstance(name, tuple):
            raise TypeError(f"group returned {name!r:.200}: return a path, a tuple of integers")
        return name

    def expand(self, frontier: Sequence[Beam], ended: Sequence[Beam]) -> Sequence[Branch]:
        """Asks the policy for its branches.

        Args:
            frontier: As for `SearchPolicy.expand`.
            ended: As for `SearchPolicy.expand`.

        Raises:
            TypeError: It returned what is no sequence of branches.
            ValueError: It starts no child of a branch, or more than `MAX_BRANCHES` together.
        """
        branches: Any = self._policy.expand(frontier, ended)
        if not isinstance(branches, Sequence) or not all(isinstance(b, Branch) for b in branches):
            raise TypeError(f"expand returned {branches!r:.200}: return a sequence of Branch")
        counts = [operator.index(branch.num_children) for branch in branches]
        if min(counts, default=1) < 1 or sum(counts) > MAX_BRANCHES:
            raise ValueError(
                f"expand starts {sum(counts)} children, of which a branch starts {min(counts)}: "
                f"start at least one for each branch, and at most {MAX_BRANCHES} together"
            )
        checked: Sequence[Branch] = branches
        return checked


def make_named_policy(config: SearchConfig) -> SearchPolicy:
    """Makes the policy of the function that `config.search` names.

    Raises:
        ConfigurationError: There is no such function, or it makes something else.
    """
    policy: Any = named_function(config.search)(config)
    missing = [word for word in _WORDS if not _has(policy, word)]
    if missing:
        raise ConfigurationError(
            f"search='{config.search}' made a {type(policy).__name__}, which is no search policy: "
            f"it lacks {', '.join(missing)}"
        )
    try:
        return CheckedPolicy(policy)
    except Exception as error:  # its attributes may raise anything
        raise ConfigurationError(
            f"search='{config.search}' made a policy that cannot be used: "
            f"{type(error).__name__}: {error}"
        ) from error


def _has(policy: object, word: str) -> bool:
    """Whether a policy has an attribute, be it one that raises."""
    try:
        return hasattr(policy, word)
    except Exception:  # noqa: BLE001, it may be a property that raises
        return True


def named_function(name: str) -> Callable[..., Any]:
    """Imports the function `module:function` that makes a policy from a search's options.

    Raises:
        ConfigurationError: It cannot be imported, or is no function.
    """
    return import_function(name, option="search", purpose="what makes a policy from the options")
