"""`--option NAME=VALUE`: options of a search that have no flag of their own."""

import json
from collections.abc import Sequence
from typing import Any

from fasttts.errors import ConfigurationError


def parse_options(given: Sequence[str]) -> dict[str, Any]:
    """Reads options of a search; a value is JSON, or else a text.

    Args:
        given: Each `NAME=VALUE`; a name with a dot is a part of an option, as in `budget.tokens`.

    Raises:
        ConfigurationError: One is not of that form.
    """
    found: dict[str, Any] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name.strip():
            raise ConfigurationError(f"--option {one!r}: write NAME=VALUE, as in lookahead_steps=2")
        name, _, part = name.strip().partition(".")
        if part:
            found[name] = {**found.get(name, {}), part: _value(value)}
        else:
            found[name] = _value(value)
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
