r"""What an answer means, as a form that can be compared and counted.

Two answers are equal if their forms agree. A form is made of one answer alone, so that the vote
among n candidates reads n answers and compares no pairs, and equality is what it should be:
reflexive, symmetric, and the same in whatever order candidates arrive.

Some answers are decorated: `5 cm`, `50\%`, `x = 5`. A decorated answer also equals the bare one
(`5`; for a percentage `50` and `0.5`), but not one that is decorated otherwise (`5 kg`).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fasttts.answers.canonical_json import try_canonical
from fasttts.answers.notation import plain_notation
from fasttts.answers.numbers import number_key, read_number
from fasttts.answers.sympy_client import Description
from fasttts.answers.value_keys import description_key

Algebra = Callable[[str], Description | None]
"""Mathematics in LaTeX to its value; None where it is none or may not be asked."""

MAX_ITEMS = 64
"""Lists with more items are compared as text."""

_VARIABLE = re.compile(
    r"(\\?[A-Za-z]+(?:_\{?\w+\}?)?(?:\([a-z]\))?)\s*(?:=|\\in(?![a-z]))\s*([^=<>]+)"
)
_SHORT_UNITS = (
    "[cdkmn]m|[km]?g|m[lL]|ft|in|yd|mi|lbs?|oz|hrs?|h|min|sec|m?s|mph|k?Hz|rad|deg|mol|am|pm|pct|"
    "USD|usd"
)
_UNIT = re.compile(
    r"(?P<value>.*[\d})\]])\s*(?:\\text\s*\{\s*(?P<text>[^{}]*)\}|(?P<sign>%|\^\\circ ?[CFK]?)"
    rf"|(?P<words> ?(?:{_SHORT_UNITS}|[A-Za-z]{{4,}})(?: ?/ ?(?:{_SHORT_UNITS}))?(?: [A-Za-z]+)*"
    r"| [mghslLNJWVAKCF](?: ?/ ?(?:s|h|min))?)"
    r")(?P<power>\s*\^\s*\{?-?\d\}?)?"
)
_CURRENCY = re.compile(r"(?P<minus>-?)\s*\\?(?P<sign>[$€£¥₹])\s*(?P<value>[\d.,]+(?: ?[a-z]+)?)")
_WORDS = re.compile(r"\(?[^\W\d_](?:[^\W\d_]|[ '.,-])*\)?|[^\W\d_]\)")
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
_CONJUNCTION = re.compile(r"(?:\\text\s*\{\s*)?\b(?:and|or)\b(?:\s*\})?|;")
_INFINITY = re.compile(r"[+-]?\\infty")
_EXPONENT = re.compile(r"\d[eE][+-]?\d")
"""A number too large for `read_number`, which math-verify would take for a product with e."""

_UNIT_NAMES = {
    **dict.fromkeys(("percent", "pct"), "%"),
    **dict.fromkeys(("dollar", "usd"), "$"),
    **dict.fromkeys(("euro", "eur"), "€"),
    **dict.fromkeys(("degree", "deg", r"^\circ"), "°"),
}


@dataclass(frozen=True, slots=True)
class NormalForm:
    """The meaning of an answer.

    Attributes:
        key: Answers with the same key are equal.
        bare: Keys of the undecorated answers that it equals too, the likelier first; none if it
            is bare itself.
    """

    key: str
    bare: tuple[str, ...] = ()

    def equals(self, other: "NormalForm") -> bool:
        """Whether the two mean the same."""
        if self.key == other.key:
            return True
        if self.bare and other.bare:
            return False
        return other.key in self.bare or self.key in other.bare


def text_form(answer: str) -> NormalForm:
    """The form of an answer that is compared as it is written, but for white space at the ends."""
    lines = [line.rstrip() for line in answer.strip().splitlines()]
    return NormalForm("text:" + "\n".join(lines))


def make_form(answer: str, algebra: Algebra) -> NormalForm:
    """The form of an answer; several lines that are no LaTeX, such as code, are text."""
    if (found := try_canonical(answer.strip())) is not None:
        return NormalForm(f"json:{found}")
    if "\n" in answer.strip() and "\\begin" not in answer:
        return text_form(answer)
    text = plain_notation(answer)
    return _read(text, algebra) or NormalForm("text:" + re.sub(r"\s", "", text))


def _read(text: str, algebra: Algebra) -> NormalForm | None:
    """The first reading that fits, the plainest first; None where none does."""
    number = read_number(text)
    if number is not None:
        return NormalForm(number_key(number))
    for reading in _READINGS:
        form = reading(text, algebra)
        if form is not None:
            return form
    return None


def _words(text: str, algebra: Algebra) -> NormalForm | None:
    r"""Words, in `\text{}` or out of it, and letters of choices; capitals do not matter."""
    plain = _TEXT.sub(r"\1", text).strip()
    is_product = len(plain) == 2 and plain.islower() and plain == text and plain != "no"
    if is_product or "\\" in plain or not _WORDS.fullmatch(plain):
        return None
    return NormalForm("word:" + " ".join(plain.strip("() .,").casefold().split()))


def _currency(text: str, algebra: Algebra) -> NormalForm | None:
    found = _CURRENCY.fullmatch(text)
    if found is None:
        return None
    value = _read(found["minus"] + found["value"].strip(), algebra)
    return value and NormalForm(f"{value.key} {found['sign']}", value.bare or (value.key,))


def _counted(text: str, algebra: Algebra) -> NormalForm | None:
    """A plain number and what it counts; read before lists, for `1,234 people`."""
    found = _UNIT.fullmatch(text)
    return _unit(text, algebra) if found and read_number(found["value"]) is not None else None


def _unit(text: str, algebra: Algebra) -> NormalForm | None:
    r"""A value and what it counts: `5 cm`, `5\text{ cm}^2`, `50\%`, `90^\circ`."""
    found = _UNIT.fullmatch(text)
    value = found and _read(found["value"].strip(), algebra)
    if found is None or value is None or value.key.startswith(("word:", "text:")):
        return None
    unit = _unit_name(found["text"] or found["sign"] or found["words"] or "")
    power = re.sub(r"[\s{}]", "", found["power"] or "")
    if not unit:
        return value
    bare: tuple[str, ...] = (value.key,)
    number = read_number(found["value"]) if unit == "%" else None
    if number is not None:
        bare = (number_key(number), number_key(number / 100))
    return NormalForm(f"{value.key} {unit}{power}", bare)


def _unit_name(written: str) -> str:
    """One name for a unit: no capitals of words, no plural, no sign that is also spelled out."""
    words = written.replace(" ", "").strip(".")
    name = words.casefold() if len(words) > 3 else words
    single = name[:-1] if len(name) > 3 and name.endswith("s") and name[-2] != "s" else name
    return _UNIT_NAMES.get(single, _UNIT_NAMES.get(single.casefold(), single))


def _variable(text: str, algebra: Algebra) -> NormalForm | None:
    r"""`x = 5`, `f(x) = x^2`, `x \in (1, 2)`: the value, decorated with a name."""
    found = _VARIABLE.fullmatch(text)
    value = found and _read(found[2].strip(), algebra)
    if found is None or value is None:
        return None
    name = re.sub(r"[\\{}]", "", found[1])
    if value.key.startswith("expression:") and "(" not in name:
        equation = _value(text, algebra)  # `y = 2x` is also `2x - y = 0`
        return NormalForm(equation.key if equation else f"{name}={value.key}", (value.key,))
    return NormalForm(f"{name}={value.key}", value.bare or (value.key,))


def _group(text: str, algebra: Algebra) -> NormalForm | None:
    """Points and intervals: a bracket, items, a bracket."""
    if text[:1] not in "([" or text[-1:] not in ")]" or not _is_one_group(text):
        return None
    items = split(text[1:-1], ",;")
    if len(items) < 2:
        return _read(text[1:-1].strip(), algebra) if text[0] + text[-1] == "()" else None
    return _sequence(text[0], items, text[-1], algebra)


def _list(text: str, algebra: Algebra) -> NormalForm | None:
    r"""Sets and enumerations, in any order: `\{1, 2\}`, `1, 2`, `1 and 2`."""
    inner = text[2:-2] if text.startswith(r"\{") and text.endswith(r"\}") else None
    if inner is None and not (re.search("[,;]", text) or _CONJUNCTION.search(text)):
        return None
    items = split(_CONJUNCTION.sub(",", text if inner is None else inner), ",;")
    items = [item for item in items if item]
    if (inner is None and len(items) < 2) or any("\\text" in item for item in items):
        return None
    return _sequence("{", items, "}", algebra)


def _plus_minus(text: str, algebra: Algebra) -> NormalForm | None:
    if text.count(r"\pm") != 1:
        return None
    both = [text.replace(r"\pm", sign).strip().removeprefix("+") for sign in "+-"]
    return _sequence("{", both, "}", algebra)


def _sequence(
    opening: str, items: Sequence[str], closing: str, algebra: Algebra
) -> NormalForm | None:
    forms = [_read(item, algebra) for item in items] if len(items) <= MAX_ITEMS else [None]
    read = [form for form in forms if form is not None]
    if len(read) < len(forms):
        return None
    bare = [form.bare[0] if form.bare else form.key for form in read]
    key = _joined(opening, [form.key for form in read], closing)
    plain = _joined(opening, bare, closing)
    return NormalForm(key) if key == plain else NormalForm(key, (plain,))


def _joined(opening: str, keys: Sequence[str], closing: str) -> str:
    return opening + ", ".join(sorted(set(keys)) if opening == "{" else keys) + closing


def _value(text: str, algebra: Algebra) -> NormalForm | None:
    """What math-verify makes of it; degrees inside a formula are turned into radians."""
    if _INFINITY.fullmatch(text):
        return NormalForm("-infinity" if text.startswith("-") else "infinity")
    if _EXPONENT.search(text):
        return None
    description = algebra(text.replace(r"^\circ", r"\cdot\frac{\pi}{180}"))
    key = description and description_key(description)
    return NormalForm(key) if key else None


_READINGS = (_currency, _words, _counted, _group, _list, _variable, _unit, _plus_minus, _value)


def split(text: str, signs: str) -> list[str]:
    """`text` at those of `signs` that stand in no bracket, stripped."""
    parts, level, start = [], 0, 0
    for position, sign in enumerate(text):
        level += (sign in "({[") - (sign in ")}]")
        if level == 0 and sign in signs:
            parts.append(text[start:position].strip())
            start = position + 1
    return [*parts, text[start:].strip()]


def _is_one_group(text: str) -> bool:
    """Whether the first bracket closes with the last character; `(1,2)+(3,4)` is not one."""
    level = 0
    for position, sign in enumerate(text):
        level += (sign in "([{") - (sign in ")]}")
        if level == 0:
            return position == len(text) - 1
    return False
