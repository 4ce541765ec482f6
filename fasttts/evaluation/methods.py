"""The methods that an evaluation compares, as configurations of a search."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from fasttts.config import CandidateSearch, SearchConfig, search_config

Method = Literal["greedy", "majority", CandidateSearch]

METHODS: Mapping[Method, Mapping[str, Any]] = {
    "greedy": {"search": "none", "temperature": 0.0, "n": 1, "beam_width": 1, "selection": None},
    "majority": {"search": "best_of_n", "selection": "majority"},
    **{search: {"search": search} for search in get_args(CandidateSearch)},
    "self_consistency": {"search": "self_consistency", "selection": "majority"},
}
"""The settings of a search configuration that each compared method fixes."""

_SELECTIONS: Mapping[Method, str] = {"deepconf": "weighted"}
"""What chooses where nothing is said, as in a search itself; else the highest score."""

_SAMPLING = "best_of_n"


def method_config(method: Method, **options: Any) -> SearchConfig:
    """Returns the search configuration of a method.

    Args:
        method: The method; its own settings take precedence over `options`.
        options: Options of `SearchConfig`; the answer with the highest score is chosen, and of
            "deepconf" that with the highest sum of scores, unless they say otherwise.

    Raises:
        ConfigurationError: An option is unknown or its value cannot work.
    """
    given = {name: value for name, value in options.items() if (name, value) != ("selection", None)}
    selection = _SELECTIONS.get(method, "best")
    return search_config(**{"selection": selection, **given, **METHODS[method]})


def curve_sizes(config: SearchConfig) -> tuple[int, ...]:
    """The numbers of samples that one run of a method tells of: powers of two up to n, and n.

    Args:
        config: The method's search; only independent samples tell of smaller numbers.
    """
    if config.search != _SAMPLING:
        return ()
    powers = (1 << exponent for exponent in range(config.n.bit_length()))
    return (*(size for size in powers if size < config.n), config.n)
