"""JSON objects inside a text."""

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, NoReturn

from fasttts.answers.canonical_json import canonical_json

_MAX_FAILED_OBJECTS = 256
"""Braces that may turn out not to begin JSON: each costs a look at what follows."""


def json_field(text: str, field: str) -> str | None:
    """`field` of the last JSON object that has it; a dotted field reaches into objects.

    Strings come as they are, other values as JSON; null is no answer.

    Args:
        text: The text.
        field: The field's name, with dots between nested ones.
    """
    last = None
    for found in _json_objects(text):
        value: Any = found
        for name in field.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is not None:
            last = value if isinstance(value, str) else canonical_json(value)
    return last


def json_object(text: str) -> str | None:
    """The last JSON object, in one spelling for all that are equal."""
    last = None
    for found in _json_objects(text):
        last = found
    return None if last is None else canonical_json(last)


def _json_objects(text: str) -> Iterator[Mapping[str, Any]]:
    """The outermost JSON objects in a text, in order; their numbers are exact."""
    decoder = json.JSONDecoder(parse_constant=_no_number, parse_float=Decimal)
    position, num_failed = text.find("{"), 0
    while position >= 0 and num_failed < _MAX_FAILED_OBJECTS:
        try:
            found, end = decoder.raw_decode(text, position)
            if "\\u" in text[position:end]:
                canonical_json(found).encode()  # an escape may be half of a character
        except (ValueError, ArithmeticError, RecursionError):
            num_failed, end = num_failed + 1, position + 1
        else:
            yield found
        position = text.find("{", end)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
