"""Bytes, rates and seconds as people write and read them."""

import math
import re
from typing import Literal

from fasttts.errors import ConfigurationError, shown

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
GB = 10**9

Unit = Literal["B", "B/s", "FLOPS"]

_EXPONENTS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}
_NUMBER = r"(?P<number>\d+\.?\d*(?:E[+-]?\d+)?)\s*(?P<prefix>[KMGTP]?)(?P<binary>i?)"
_PATTERNS = {
    "B": re.compile(_NUMBER + r"B?", re.IGNORECASE),
    "B/s": re.compile(_NUMBER + r"(?:B(?:/s)?)?", re.IGNORECASE),
    "FLOPS": re.compile(_NUMBER + r"(?:FLOPS|FLOP/s)?", re.IGNORECASE),
}
_LARGEST = 1e21
"""Far above what any device has; larger numbers, and fractions of one, plan nonsense."""

_EXAMPLES = {"B": "24GiB", "B/s": "1008GB/s", "FLOPS": "165TFLOPS"}


def parse_quantity(value: object, unit: Unit, name: str) -> float:
    """Parses a positive number of bytes, bytes per second or operations per second.

    Args:
        value: A number, or text such as "24GiB", "1008 GB/s" or "165TFLOPS"; `Ki`, `Mi`, ... are
            powers of 1024, `k`, `M`, ... of 1000.
        unit: The unit; may be left out of the text.
        name: The option, for the error.

    Raises:
        ConfigurationError: The value is not such a number.
    """
    number = _number(value, unit)
    if number is None or not 1 <= number <= _LARGEST:
        raise ConfigurationError(
            f"{name}={shown(value)}: give a number from 1 to {_LARGEST:.0e} {unit}, with its unit, "
            f"for example {_EXAMPLES[unit]}"
        )
    return number


def _number(value: object, unit: Unit) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int) and abs(value) > _LARGEST:
        return math.inf  # beyond any float, perhaps
    if isinstance(value, int | float):
        return float(value)
    found = _PATTERNS[unit].fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return None
    base = 1024 if found["binary"] else 1000
    return float(found["number"]) * float(base ** _EXPONENTS[found["prefix"].upper()])


def format_bytes(num_bytes: float) -> str:
    """Formats bytes with about three digits, in binary units."""
    for size, unit in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if num_bytes >= size:
            count = num_bytes / size
            return f"{count:.{_decimals(count)}f} {unit}"
    return f"{num_bytes:.0f} B"


def format_seconds(seconds: float) -> str:
    """Formats seconds with about three digits, in seconds, milliseconds or microseconds."""
    for size, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= size:
            count = seconds / size
            return f"{count:,.{_decimals(count)}f} {unit}"
    return f"{seconds * 1e6:.0f} µs"


def format_rate(per_second: float, unit: str) -> str:
    """Formats a rate in decimal units, such as "1,008 GB/s" or "165 TFLOPS".

    Args:
        per_second: The rate.
        unit: Unit after the decimal prefix, such as "B/s".
    """
    size, prefix = (1e12, "T") if unit == "FLOPS" and per_second >= 1e12 else (1e9, "G")
    count = per_second / size
    return f"{count:,.{0 if count >= 100 else 1}f} {prefix}{unit}"


def _decimals(count: float) -> int:
    if count >= 100:
        return 0
    return 1 if count >= 10 else 2
