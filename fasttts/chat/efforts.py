"""How hard a call is worked on: a word for the width of its search."""

from collections.abc import Mapping
from typing import Literal, get_args

from fasttts.config.validation import did_you_mean
from fasttts.errors import ConfigurationError

Effort = Literal["low", "medium", "high"]

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
