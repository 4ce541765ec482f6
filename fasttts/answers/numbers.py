"""Plain numbers, read exactly and without algebra, and the key that equal numbers share."""

import decimal
import re
from decimal import Decimal
from fractions import Fraction

MAX_DIGITS = 200
"""Numbers with more digits, or larger powers of ten, are compared as text."""

NUM_PLACES = 6
"""Decimals, or below one significant digits, to which numbers must agree; math-verify's rounding.

Equality of rounded values, unlike a tolerance, is transitive: votes do not depend on an order.
"""

_CONTEXT = decimal.Context(prec=2 * MAX_DIGITS + 20, Emin=-10_000, Emax=10_000)
_DIGITS = r"\d+(?:,\d{3})*"
_DECIMAL = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>[1-9]\d{0,2}(?:,\d{3})+|\d{1,3}(?: \d{3})+|\d*)"
    r"(?:\.(?P<places>\d*))?"
    r"(?:\\overline\s*\{(?P<repeated>\d+)\})?"
    r"(?:[eE](?P<e>[+-]?\d{1,4})| ?(?:\\times|\\cdot|\*|x) ?10 ?\^ ?\{?(?P<power>[+-]?\d{1,4})\}?)?"
)
_FRACTION = re.compile(
    r"(?P<sign>[+-]?)(?:(?P<whole>\d+)(?: (?=\d)| ?(?=\\)))?"
    r"(?:(?P<over>\d+)/(?P<under>\d+)"
    r"|\\frac ?(?:\{(?P<top>[+-]?\d+)\}|(?P<top1>\d))"
    r" ?(?:\{(?P<bottom>[+-]?\d+)\}|(?P<bottom1>\d)))"
)
_RATIO = re.compile(r"(?P<sign>)(?P<over>\d+(?:\.\d+)?) ?: ?(?P<under>\d+(?:\.\d+)?)")
_BARE_POWER = re.compile(r"(?P<sign>[+-]?)10 ?\^ ?\{?(?P<power>[+-]?\d{1,4})\}?")


def read_number(text: str) -> Fraction | None:
    r"""The value of a number as people write it; None for anything else.

    Decimals with thousands (`1,234.5`, `1 234`), repeating decimals (`0.\overline{3}`), powers of
    ten (`3e5`, `3\times 10^5`), fractions, mixed numbers and ratios (`3/4`, `1\frac{1}{2}`, `3:4`).
    """
    text = re.sub(r" ?([+/*^-]|\\times|\\cdot) ?", r"\1", text.strip())
    if len(text) > MAX_DIGITS or not any(c.isdigit() for c in text):
        return None
    for pattern, value in _READINGS:
        match = pattern.fullmatch(text)
        if match:
            return value(match)
    return None


def number_key(value: Fraction) -> str:
    """What numbers that agree to six decimals (below one: six significant digits) share."""
    exact = _CONTEXT.divide(Decimal(value.numerator), Decimal(value.denominator))
    if not exact:
        return "0"
    exponent = min(0, exact.adjusted() + 1) - NUM_PLACES
    rounded = exact.quantize(Decimal((0, (1,), exponent)), decimal.ROUND_HALF_EVEN, _CONTEXT)
    return format(rounded.normalize(_CONTEXT), "f")


def _decimal(match: re.Match[str]) -> Fraction | None:
    whole = re.sub("[, ]", "", match["whole"])
    places, repeated = match["places"] or "", match["repeated"]
    exponent = int(match["e"] or match["power"] or 0)
    if not (whole or places) or abs(exponent) > MAX_DIGITS:
        return None
    value = Fraction(int((whole + places) or 0), 10 ** len(places))
    if repeated is not None:
        if match["places"] is None:
            return None
        value += Fraction(int(repeated), (10 ** len(repeated) - 1) * 10 ** len(places))
    return _signed(match, value * Fraction(10) ** exponent)


def _fraction(match: re.Match[str]) -> Fraction | None:
    top = int(match["over"] or match["top"] or match["top1"])
    bottom = int(match["under"] or match["bottom"] or match["bottom1"])
    if bottom == 0 or (match["whole"] and (top < 0 or bottom < 0)):
        return None
    return _signed(match, int(match["whole"] or 0) + Fraction(top, bottom))


def _ratio(match: re.Match[str]) -> Fraction | None:
    under = Fraction(match["under"])
    return Fraction(match["over"]) / under if under else None


def _power(match: re.Match[str]) -> Fraction | None:
    exponent = int(match["power"])
    return None if abs(exponent) > MAX_DIGITS else _signed(match, Fraction(10) ** exponent)


def _signed(match: re.Match[str], value: Fraction) -> Fraction:
    return -value if match["sign"] == "-" else value


_READINGS = (
    (_DECIMAL, _decimal),
    (_FRACTION, _fraction),
    (_RATIO, _ratio),
    (_BARE_POWER, _power),
)
