r"""Digits as people group them, and numbers of other bases.

`1,234`, `1{,}234`, `1,\!234`, `1\,234` and the thin spaces of Unicode are one number wherever they
stand: in a fraction, before a unit, in a point. A list stays a list: a comma between digits is one
of thousands only if all groups fit, and directly inside the brackets of a list only if the list
is written with other commas (`(1,000, 2,000)`) or the group could be no item (`000`).
"""

import re
from fractions import Fraction

_SEPARATOR = r"(?:,\\!|\{,\}|\\[,:; ]|['’]|[\u2009\u202f\u00a0])"
_GROUPED = re.compile(
    rf"(?<![\d.])[1-9]\d{{0,2}}(?:(?:{_SEPARATOR}|,)\d{{3}})*{_SEPARATOR}\d{{3}}(?!\d)"
    rf"(?:(?:{_SEPARATOR}|,)\d{{3}}(?!\d))*"
)
_SPACED = re.compile(r"(?<=\{)[1-9]\d{0,2}(?: \d{3})+(?=\})")
_DECIMAL_COMMA = re.compile(r"(?<=\d)\{,\}(?=\d)")
_TIGHT = re.compile(r"(?<![\d.,])\d+(?:,\d+)+")
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+")
_SURELY = re.compile(r"(?<!\d)([1-9]\d{0,2})((?:,0\d\d)+)(?!\d)")
_OPENING, _CLOSING = "([", ")]"

_BASE_NAMES = {
    **{name: base for base, name in enumerate(("two", "three", "four", "five", "six"), 2)},
    **{name: base for base, name in enumerate(("seven", "eight", "nine", "ten"), 7)},
    "twelve": 12,
    "sixteen": 16,
}
_NAME = rf"(?:\d{{1,2}}|{'|'.join(_BASE_NAMES)})"
_TEXT = r"\\(?:text|mathrm|textrm|mathtt|texttt|mbox)\s*\{\s*"
_SUBSCRIPT = (
    r"_\s*(?:(?P<digits>\d{1,2})(?!\d)"
    rf"|\{{\s*\(?(?:{_TEXT})?(?:base[ -]?)?(?P<sub>{_NAME})\s*\}}?\)?\s*\}})"
)
_WORDS = (
    rf"\(?(?:in\s)?(?:{_TEXT})?\(?(?:in\s)?base[ -]?\s*\}}?\s*(?P<word>{_NAME})\)?\s*\}}?\)?(?!\w)"
)
_IN_BASE = re.compile(
    rf"(?<![\w.}}^])(?P<open>\()?(?:{_TEXT}(?P<text>[0-9A-Za-z.]+)\s*\}}"
    r"|(?P<plain>\d[0-9A-F]*(?:\.[0-9A-F]+)?|[A-F][0-9A-F]*\d[0-9A-F]*))(?(open)\))"
    rf"\s*(?:{_SUBSCRIPT}|{_WORDS})"
)
_PREFIXED = re.compile(r"(?<![\w.])0([xXbBoO])([0-9A-Fa-f]+)(?!\w)")
_PREFIXES = {"x": 16, "b": 2, "o": 8}
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_MAX_LITERAL = 100
"""Digits of a number in another base; longer ones are left alone."""


def plain_digits(text: str) -> str:
    """`text` with its numbers written without separators of thousands, in base ten."""
    text = _GROUPED.sub(lambda run: re.sub(r"\D", "", run[0]), text)
    text = _SPACED.sub(lambda run: run[0].replace(" ", ""), text)
    text = _DECIMAL_COMMA.sub(".", text)
    text = _joined(text) if "," in text else text
    text = _PREFIXED.sub(_prefixed, text)
    return _IN_BASE.sub(_in_base, text) if "_" in text or "base" in text else text


def _joined(text: str) -> str:
    """`text` without the commas of thousands."""
    inside = _tight_lists(text)

    def replace(run: re.Match[str]) -> str:
        if not inside[run.start()] and _THOUSANDS.fullmatch(run[0]):
            return run[0].replace(",", "")
        return _SURELY.sub(lambda group: group[0].replace(",", ""), run[0])

    return _TIGHT.sub(replace, text)


def _tight_lists(text: str) -> list[bool]:
    """For each character whether it is an item of a bracket whose commas have no space."""
    owner: list[int | None] = [None] * len(text)
    is_loose: set[int | None] = set()
    opened: list[int | None] = []
    for position, sign in enumerate(text):
        is_set = text[position - 1 : position] == "\\"
        if sign in _CLOSING or sign == "}":
            opened[-1:] = []
        owner[position] = opened[-1] if opened else None
        if sign in _OPENING or sign == "{":
            opened.append(position if sign != "{" or is_set else None)
        elif (sign == "," and text[position + 1 : position + 2] in (" ", "\\")) or sign == ";":
            is_loose.add(owner[position])
    return [each is not None and each not in is_loose for each in owner]


def _prefixed(found: re.Match[str]) -> str:
    value = _read(found[2], _PREFIXES[found[1].lower()])
    return found[0] if value is None else value


def _in_base(found: re.Match[str]) -> str:
    name = found["digits"] or found["sub"] or found["word"]
    base = _BASE_NAMES.get(name) or int(name)
    value = _read(found["text"] or found["plain"], base)
    return found[0] if value is None else value


def _read(digits: str, base: int) -> str | None:
    """The value in base ten; None where the digits are none of that base."""
    whole, _, places = digits.upper().partition(".")
    if not 2 <= base <= len(_DIGITS) or len(digits) > _MAX_LITERAL:
        return None
    if any(digit not in _DIGITS[:base] for digit in whole + places):
        return None
    value = Fraction(int(whole + places, base), base ** len(places))
    top, bottom = value.numerator, value.denominator
    return str(top) if bottom == 1 else f"\\frac{{{top}}}{{{bottom}}}"
