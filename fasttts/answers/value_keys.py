"""The key of a value that the algebra worker described: equal values, equal keys."""

import re
from decimal import Decimal
from fractions import Fraction

from fasttts.answers.numbers import MAX_DIGITS, number_key
from fasttts.answers.sympy_client import Description

NUM_SIGNIFICANT = 10
"""Digits to which two expressions must agree at every point they are evaluated at."""

_INTEGERS = re.compile(r"-?\d+/\d+|0")
_OPAQUE = {"EmptySet": "{}"}


def description_key(description: Description) -> str | None:
    """The key; None where part of the value is unknown."""
    kind = description["kind"]
    if kind == "number":
        return _complex_key(description["parts"])
    if kind == "infinity":
        return "infinity" if description["sign"] > 0 else "-infinity"
    if kind == "expression":
        return f"expression:{_points_key(description['values'])}"
    if kind == "relation":
        return f"{description['type']}:{_points_key(description['values'])}"
    if kind == "interval":
        return _interval_key(description)
    if kind == "opaque":
        return _OPAQUE.get(description["text"], f"opaque:{description['text']}")
    return _items_key(kind, description)


def _items_key(kind: str, description: Description) -> str | None:
    keys = [
        f"{item['name']}={key}" if "name" in item else key
        for item in description["items"]
        if (key := item and description_key(item))
    ]
    if len(keys) < len(description["items"]):
        return None
    if kind == "set":
        return "{" + ", ".join(sorted(set(keys))) + "}"
    if kind == "tuple":
        return "(" + ", ".join(keys) + ")"
    if kind == "matrix":
        return f"matrix{description['shape']}: {', '.join(keys)}"
    return f"{kind}: {', '.join(sorted(keys))}"


def _interval_key(description: Description) -> str | None:
    low, high = (end and description_key(end) for end in description["ends"])
    if low is None or high is None:
        return None
    is_low_open, is_high_open = description["is_open"]
    return f"{'(' if is_low_open else '['}{low}, {high}{')' if is_high_open else ']'}"


def _complex_key(parts: list[str]) -> str:
    """Real and imaginary part as other numbers; as they are where they are huge or tiny."""
    keys = [_part_key(part) for part in parts]
    return keys[0] if keys[1] == "0" else f"{keys[0]} + {keys[1]}i"


def _part_key(part: str) -> str:
    whole = _INTEGERS.fullmatch(part)
    if whole is None and abs(Decimal(part).adjusted()) > MAX_DIGITS:
        return part
    value = Fraction(part)
    is_huge = max(abs(value.numerator), value.denominator) >= 10**MAX_DIGITS
    return part if is_huge else number_key(value)


def _points_key(values: list[list[str]]) -> str:
    """Values at the points, rounded; without names, so that `x` and `x + 0y` are equal."""
    return "; ".join(",".join(_rounded(part) for part in parts) for parts in values)


def _rounded(part: str) -> str:
    """Of a decimal, whose exponent may be enormous: so it never becomes a fraction."""
    value = Decimal(part)
    return format(value, f".{NUM_SIGNIFICANT - 1}e") if value.adjusted() > -10 and value else "0"
