"""One spelling for all JSON values that are equal, so that candidates can vote for them."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_MAX_DIGITS = 40
"""Numbers that would be longer without an exponent keep it."""


class MalformedAnswer(ValueError):
    """An answer that cannot be read, such as broken JSON: its candidate loses."""


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and numbers in one form: `1`, `1.0` and `1e0` are the same.

    Args:
        value: What `json.loads` gives.

    Raises:
        MalformedAnswer: A number is infinite or none at all, which JSON does not have.
    """
    if isinstance(value, Mapping):
        items = sorted(value.items())
        return "{" + ", ".join(f"{_text(key)}: {canonical_json(item)}" for key, item in items) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(canonical_json, value)) + "]"
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return _number(value)
    return _text(value)


def try_canonical(text: str) -> str | None:
    """The spelling of a text that is a JSON object; None for any other text."""
    if not text.startswith("{") or not text.endswith("}"):
        return None
    try:
        return canonical_json(json.loads(text, parse_float=Decimal))
    except (ValueError, ArithmeticError, RecursionError):
        return None


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _number(value: float | Decimal) -> str:
    """Without zeros that say nothing; exact, where `Decimal.normalize` rounds."""
    sign, digits, exponent = Decimal(str(value)).as_tuple()
    if not isinstance(exponent, int):
        raise MalformedAnswer(f"{value} is no number of JSON")
    if not any(digits):
        return "0"
    kept = "".join(map(str, digits)).rstrip("0")
    exponent += len(digits) - len(kept)
    number = Decimal((sign, tuple(map(int, kept)), exponent))
    return f"{number:f}" if len(kept) + abs(exponent) <= _MAX_DIGITS else str(number)
