"""Values of `--option NAME=VALUE`, options without a flag of their own, and of switches in JSON."""

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
            whole = found.setdefault(name, {})
            if not isinstance(whole, dict):
                raise ConfigurationError(
                    f"--option {one!r}: {name} is {whole!r} already; give it whole, or by its parts"
                )
            whole[part] = _value(value)
        else:
            found[name] = _value(value)
    return found


def parse_switches(given: str | None) -> dict[str, Any]:
    """Reads the value of `--chat-template-kwargs`; None is no switch.

    Raises:
        ConfigurationError: It is no JSON object.
    """
    found = {} if given is None else _value(given)
    if not isinstance(found, dict):
        raise ConfigurationError(
            f"--chat-template-kwargs {given!r}: write a JSON object, as in "
            "'{\"enable_thinking\": false}'"
        )
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # no JSON, or deeper than any option
        return text
