"""JSON documents of users, checked before anything recursive reads or writes them."""

import json
import math
import re
from typing import Any

from fasttts.decoding.grammar_limits import MAX_CHARS, MAX_DEPTH, MAX_VALUES, check, shortened

_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[{]|[\]}]', re.DOTALL)
"""A text, which may lack its end, or a bracket; a search never looks at a character twice."""


def check_json(value: object, *, max_chars: int | None = MAX_CHARS) -> None:
    """Checks that a value can be written as JSON of ordinary size and depth.

    Args:
        value: Dictionaries, lists, tuples, texts, numbers, booleans and None.
        max_chars: Most characters of its texts; None does not limit them.

    Raises:
        ValueError: It is something else, too deep, too large, or contains itself.
    """
    num_values = num_chars = 0
    level: list[Any] = [value]
    depth = 0
    while level:
        inner: list[Any] = []
        for part in level:
            num_values += 1
            num_chars += _check_part(part)
            check("number of values", num_values, MAX_VALUES)
            check("number of characters", num_chars, max_chars or num_chars)
            if isinstance(part, dict):
                inner += [*part, *part.values()]
            elif isinstance(part, list | tuple):
                inner += part
            check("number of values", num_values + len(inner), MAX_VALUES)
        depth += bool(inner)
        check("nesting depth", depth, MAX_DEPTH)
        level = inner


def _check_part(part: Any) -> int:
    """Checks one value without those inside; returns the characters that it has."""
    if isinstance(part, str):
        check_text(part)
        return len(part)
    if isinstance(part, dict):
        if any(not isinstance(key, str) for key in part):
            raise ValueError("a key of a JSON object is no text")
        return 0
    if isinstance(part, float) and not math.isfinite(part):
        raise ValueError(f"{part} is no JSON number")
    if isinstance(part, int) and part.bit_length() > 1000:
        raise ValueError(f"number {shortened(part)} is too large")
    if part is None or isinstance(part, int | float | list | tuple):
        return 0
    raise ValueError(f"a value of type {type(part).__name__} is no JSON")


def check_text(text: str) -> None:
    """Checks that a text is Unicode.

    Raises:
        ValueError: It has half of a surrogate pair.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"character {error.start} is half of a surrogate pair") from error


def read_json(text: str) -> Any:
    """Reads a JSON document.

    Raises:
        ValueError: It is none, too long or too deep, or has a number that JSON has not.
    """
    check("number of characters", len(text), MAX_CHARS)
    json_end(text, 0)
    value = json.loads(text, parse_constant=_no_number)
    check_json(value)
    return value


def json_end(text: str, start: int) -> int:
    """The position behind the object or array that begins at `start`; the end if it is open.

    Args:
        text: The text.
        start: Where the JSON begins, or whitespace before it.

    Raises:
        ValueError: It is too deep.
    """
    depth = 0
    for found in _STRUCTURE.finditer(text, start):
        sign = found[0][0]
        depth += (sign in "[{") - (sign in "]}")
        check("nesting depth", depth, MAX_DEPTH)
        if depth <= 0 and sign != '"':
            return found.end()
    return len(text)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")
