r"""The last number of a text, whole and as it is written.

Whole: with its sign, thousands, decimals, exponent, fraction, and percent sign; `2 1/2`, `1{,}234`
and `3\times 10^5` are one number each, a ratio (`3:4`) and a power (`2^{10}`) too. What is a piece
of something else is none: of a name (`H2O`, `step-3`), a version or address (`1.2.3`), a date
(`2024-05-01`, `July 4, 1776`), an ordinal (`3rd`), a formula (the 3 of `\sqrt{3}`, the 2 of `x^2`,
`2\pi` or `x/2`).
"""

import re

_MINUS = r"\-\u2212"
_SPACE = "[\u2009\u202f\u00a0]"
_THOUSANDS = rf"(?:,\\!|\{{,\}}|\\[,:; ]|[,'’]|{_SPACE})"
_DIGITS = (
    rf"(?:\d{{1,3}}(?:{_THOUSANDS}\d{{3}})+(?!\d)"
    r"|\d{1,3}(?: \d{3}){2,}(?!\d)|\d{1,3} 0\d\d(?!\d)|\d+)"
)
_DECIMAL = rf"(?:{_DIGITS}(?:\.\d+)?|\.\d+)"
_VULGAR = "[¼-¾⅐-⅞]"
_SUPERSCRIPT = r"[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+"
_EXPONENT = (
    rf"(?:\s?\^\s?(?:[+{_MINUS}]?\d{{1,9}}|\{{\s?[+{_MINUS}]?\d{{1,9}}\s?\}})|{_SUPERSCRIPT})"
)
_POWER = rf"(?:[eE][+{_MINUS}]?\d+(?!\w)|\s?(?:\\times|\\cdot|[×x*·])\s?10{_EXPONENT})"
_PART = rf"(?:\{{\s*[+{_MINUS}]?{_DIGITS}\s*\}}|\d)"
_FRAC = rf"\\[dtc]?frac\s*{_PART}\s*{_PART}"
_SLASH = rf"{_DIGITS}\s?[/⁄]\s?{_DIGITS}"
_UNSIGNED = (
    r"(?:0x[0-9A-Fa-f]+\b|\d+_(?:\d{1,2}(?!\d)|\{\d{1,2}\})"
    rf"|(?:\d+\s?)?{_FRAC}|\d+[ \u00a0](?=\d){_SLASH}|\d+\s?{_VULGAR}|{_VULGAR}"
    rf"|{_SLASH}|\d+:\d+(?:\.\d+)?|\d+{_EXPONENT}|{_DECIMAL}{_POWER}?)"
)
_SIGN = (
    rf"(?:(?<![\w.)\]}}])(?:[+{_MINUS}]|[{_MINUS}]\s?\\?[$€£¥₹])"  # not where it subtracts
    rf"|(?:(?<=[=(<>:])|(?<=[=(<>:]\s))[{_MINUS}]\s)"
)
_NO_PIECE = (
    r"(?<![\w.])(?<![^\W\d_][-\u2010\u2011])(?<![A-Za-z)\]}]/)"
    r"(?<!_\{)(?<![_^][-+])(?<![_^]\{[-+])(?<!\^)(?<!\^\{)"
    r"(?<!sqrt\{)(?<!sqrt)(?<!sqrt )(?<!sqrt\[\d\]\{)"
)
_MONTH = r"(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
_TOKEN = re.compile(
    r"(?<![\w.])(?P<piece>\d+(?:\.\d+){2,}"  # versions, addresses, dates with dots
    r"|\d{1,4}(?P<dash>[-/\u2013])\d{1,2}(?P=dash)\d{1,4}\b"
    rf"|{_MONTH}\s\d{{1,2}}(?:st|nd|rd|th)?,?\s\d{{4}}\b"
    rf"|\d{{1,2}}(?:st|nd|rd|th)?\s{_MONTH},?\s\d{{4}}\b"
    r"|\d+:\d\d:\d\d"
    r"|\d+(?:st|nd|rd|th)\b)"
    rf"|(?P<number>{_SIGN}?{_NO_PIECE}{_UNSIGNED}(?:\s?\\?%)?)"
    r"(?P<rest>(?=\s?(?:\\(?:sqrt|pi)(?![A-Za-z])|[√π]|\^(?!\s*\{?\\circ))|_))?"
)
_BROKEN_FRACTION = re.compile(r"\\[dtc]?frac\s*\{$|\}\s*\{$")
_YEAR = re.compile(
    rf"\b(?:(?:[Ii]n|[Ss]ince|[Uu]ntil|[Dd]uring|year|{_MONTH})\s(?:AD\s)?)"
    r"[12]\d{3}(?:\s?(?:AD|BC|CE|BCE))?[.!\s)]*\Z"
)
_MAX_YEAR_CHARACTERS = 40


def last_number(text: str) -> str | None:
    """The last number of a text as it is written; None without one."""
    last = None
    for token in _TOKEN.finditer(text):
        if token["number"] and token["rest"] is None and not _is_in_fraction(token):
            last = token["number"].strip()
    return last


def ends_in_year(text: str) -> bool:
    """Whether a text ends in a number that is likely a year, as in `The battle was in 1066.`."""
    return _YEAR.search(text[-_MAX_YEAR_CHARACTERS:]) is not None


def _is_in_fraction(token: re.Match[str]) -> bool:
    """Whether a number is a numerator or denominator whose other part is none."""
    before = token.string[max(0, token.start() - 9) : token.start()]
    return _BROKEN_FRACTION.search(before) is not None
