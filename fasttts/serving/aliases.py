"""Names of models that choose a search: `NAME`, `NAME:auto`, `NAME:beam-16` and so on."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from fasttts.chat.efforts import EFFORTS
from fasttts.chat.options import AUTO
from fasttts.config import SearchMethod
from fasttts.config.validation import did_you_mean
from fasttts.serving.api_errors import ApiError

_SHORT: Mapping[str, str] = {
    "plain": "none",
    "beam": "beam_search",
    "best": "best_of_n",
    "vote": "self_consistency",
    "dynamic": "dynamic_branching",
    "granularity": "varying_granularity",
    "particles": "particle_filtering",
}
"""Short names of searches."""

_METHODS: Mapping[str, str] = {
    **{method.replace("_", "-"): method for method in (AUTO, *get_args(SearchMethod))},
    **_SHORT,
}
_ALIAS = re.compile(r"(?P<method>[a-z_-]*[a-z])(?:-(?P<n>[0-9]{1,6})(?:x(?P<width>[0-9]{1,6}))?)?")
_WIDTHS = (4, 3, 2, 1)

_PLAIN_EFFORTS = ("none", "minimal")
_SEARCH_EFFORTS: Mapping[str, Mapping[str, int]] = {
    **{str(level): width for level, width in EFFORTS.items()},
    "xhigh": EFFORTS["high"],
}


class Aliases:
    """The names that clients may give the one model.

    Args:
        names: Names without a search; the first is the one that is listed first.
        has_verifier: Whether the engine has a verifier.
    """

    def __init__(self, names: Sequence[str], *, has_verifier: bool) -> None:
        self.names = tuple(names)
        self._has_verifier = has_verifier

    def listed(self) -> list[str]:
        """The names that a list of models shows; there are more, such as other widths."""
        searches = [AUTO, "beam-16", "best-16", "vote-16"] if self._has_verifier else ["vote-16"]
        return [*self.names, *(f"{name}:{each}" for name in self.names for each in searches)]

    def options(self, model: str) -> dict[str, Any]:
        """Returns the options of a search that a name stands for; empty for the model alone.

        Raises:
            ApiError: The model is not served, or the name has no search of ours.
        """
        if model in self.names:
            return {}
        for name in self.names:
            if model.startswith(f"{name}:"):
                return _search_options(name, model[len(name) + 1 :])
        raise _unknown(model, did_you_mean(model[:200], self.listed()))

    def effort_options(self, effort: str) -> dict[str, Any]:
        """Returns the options of a search that a `reasoning_effort` stands for.

        Without a verifier, nobody can tell which replies need a search, and all are voted on.

        Raises:
            ApiError: There is no such effort.
        """
        if effort in _PLAIN_EFFORTS:
            return {"search": "none"}
        if effort not in _SEARCH_EFFORTS:
            known = ", ".join((*_PLAIN_EFFORTS, *_SEARCH_EFFORTS))
            message = f"reasoning_effort={effort[:80]!r} is none of {known}"
            raise ApiError(message, status=400, param="reasoning_effort")
        width = dict(_SEARCH_EFFORTS[effort])
        return {"search": AUTO if self._has_verifier else "self_consistency", **width}


def _search_options(name: str, alias: str) -> dict[str, Any]:
    found = _ALIAS.fullmatch(alias)
    method = _METHODS.get(found["method"].replace("_", "-")) if found else None
    if found is None or method is None:
        hint = did_you_mean(alias[:200], _METHODS)
        raise _unknown(f"{name}:{alias}", f"behind {name + ':'!r}, {hint}")
    options: dict[str, Any] = {"search": method}
    if found["n"] is not None:
        n = int(found["n"])
        width = found["width"] or next(width for width in _WIDTHS if n % width == 0)
        options |= {"n": n, "beam_width": int(width)}
    return options


def _unknown(model: str, hint: str) -> ApiError:
    message = f"the model {model[:200]!r} is not served here: {hint}"
    return ApiError(message, status=404, code="model_not_found", param="model")
