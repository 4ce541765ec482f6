r"""Values with units: quantities, money, percent, and times of day.

A unit stands behind a number or another quantity, never behind a sum: `5 s` has one, `2 + 3 s` is
an expression.
"""

import re

_SHORT = (
    "[cdkmnµμ]m|[kmµμ]?g|[mck]?[lL]|ft|in|yd|mi|lbs?|oz|hrs?|h|min|sec|m?s|mph|kmh|kph|k?Hz|rad|deg"
    "|mol|pct|k?J|k?W|k?Pa|k?N|m?V|m?A|cc|USD|usd|EUR|eur"
)
_POWER = r"\s*\^\s*\{?-?\d\}?"
_TEXTS = (
    rf"\\text\s*\{{[^{{}}]*\}}(?:{_POWER})?"
    rf"(?:\s*(?:/|\\cdot|\s)?\s*\\text\s*\{{[^{{}}]*\}}(?:{_POWER})?)*"
)
UNIT = re.compile(
    rf"(?P<value>.*?\S)\s*(?:(?P<texts>{_TEXTS})"
    r"|(?P<sign>(?<=[\d})\]])\s*(?:%|\^\\circ ?[CFK]?(?![a-z])))"
    rf"|(?P<words>(?<=[\d}})\]])(?: ?(?:{_SHORT}|[A-Za-z]{{4,}})(?: ?/ ?(?:{_SHORT}|[a-z]{{4,}}))?"
    r"(?: [A-Za-z]+)*| [mghslLNJWVAKCF](?: ?/ ?(?:s|h|min))?)"
    rf"(?:{_POWER})?|(?<=\\pi)(?: ?\b(?:{_SHORT})\b(?:{_POWER})?| [a-z]{{4,}}(?: [a-z]+)*)))"
)
CURRENCY = re.compile(
    r"(?P<minus>-?)\s*(?:US|USD|EUR|GBP)?\s*\\?(?P<sign>[$€£¥₹])\s*"
    r"(?P<value>-?[\d.,]+(?: ?[a-z]+)?|-?\\frac\{\d+\}\{\d+\})"
    r"|(?P<front>-?[\d.,]+)\s*\\?(?P<after>[$€£¥₹])"
)
_TIME = re.compile(
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d\d))?(?::(?P<second>\d\d))?\s*(?:\\text\s*\{\s*)?"
    r"(?P<half>[ap])\s?\.?\s?m\.?\s*\}?",
    re.IGNORECASE,
)
_NO_QUANTITY = re.compile(r"[=<>,;]|\\(?:le|ge|ne|pm|in|cup|cap|text)(?![a-z])")
_TEXT_PARTS = re.compile(r"\\text\s*\{([^{}]*)\}")
_NAMES = {
    name: short
    for short, names in {
        "%": "percent pct percentage",
        "$": "dollar usd",
        "€": "euro eur",
        "°": "degree deg ^\\circ",
        "mm": "millimeter millimetre",
        "cm": "centimeter centimetre",
        "m": "meter metre",
        "km": "kilometer kilometre",
        "in": "inch inches",
        "ft": "feet foot",
        "yd": "yard",
        "mi": "mile",
        "mg": "milligram",
        "g": "gram",
        "kg": "kilogram",
        "lb": "pound lbs",
        "oz": "ounce",
        "ml": "milliliter millilitre mL",
        "l": "liter litre L",
        "s": "second sec",
        "min": "minute mins",
        "h": "hour hr hrs",
        "km/h": "kph kmh km/hr km/hour",
        "mi/h": "mph mi/hr",
        "m/s": "mps m/sec",
    }.items()
    for name in names.split()
}
_WORD = re.compile(r"[A-Za-zµμ]+|[^A-Za-zµμ\s]+")
_SQUARE = re.compile(r"\b(?:sq|square)\.? (\w+)|(\w+) squared")
_CUBIC = re.compile(r"\b(?:cu|cubic)\.? (\w+)|(\w+) cubed")


def is_quantity(value: str) -> bool:
    """Whether a unit may stand behind a value: no sum, no list, no relation outside brackets."""
    level = 0
    outside = []
    for position, sign in enumerate(value):
        level += (sign in "([{") - (sign in ")]}")
        if level == 0:
            outside.append(sign)
            if sign in "+-" and value[:position].strip():
                return False
    return _NO_QUANTITY.search("".join(outside)) is None


def unit_name(written: str) -> str:
    """One name for a unit: no capitals of words, no plural, no spelled-out name of a short one."""
    text = _TEXT_PARTS.sub(r" \1 ", written).replace("\\cdot", " ")
    text = re.sub(r"[{}]", "", text.replace(" per ", " / "))
    text = _CUBIC.sub(r"\1\2^3", _SQUARE.sub(r"\1\2^2", text.strip(" .")))
    name = "".join(_single(word) for word in _WORD.findall(text))
    return _NAMES.get(name, name)


def _single(word: str) -> str:
    if word in _NAMES:
        return _NAMES[word]
    name = word.casefold() if len(word) > 3 else word
    if len(name) > 3 and name.endswith("s") and not name.endswith("ss"):
        name = name[:-1]
    return _NAMES.get(name, _NAMES.get(name.casefold(), name))


def time_of_day(text: str) -> str | None:
    """`3:30 pm` as `15:30:00`; None for a text that is no time of the clock."""
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    hour, minute, second = int(found["hour"]), int(found["minute"] or 0), int(found["second"] or 0)
    if not 1 <= hour <= 12 or minute > 59 or second > 59:
        return None
    hour = hour % 12 + (12 if found["half"].lower() == "p" else 0)
    return f"{hour:02}:{minute:02}:{second:02}"
