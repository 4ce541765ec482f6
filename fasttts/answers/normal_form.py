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
from fractions import Fraction

from fasttts.answers.brackets import depth, is_one_group, split, without_outer
from fasttts.answers.canonical_json import try_canonical
from fasttts.answers.mathematics import is_mathematics
from fasttts.answers.notation import plain_notation
from fasttts.answers.numbers import number_key, read_number
from fasttts.answers.quantities import CURRENCY, UNIT, is_quantity, time_of_day, unit_name
from fasttts.answers.solutions import JOINT, Equation, base_name, equations, inequalities, pieces
from fasttts.answers.sympy_client import Description
from fasttts.answers.value_keys import description_key

Algebra = Callable[[str], Description | None]
"""Mathematics in LaTeX to its value; None where it is none or may not be asked."""

MAX_ITEMS = 64
"""Lists with more items are compared as text."""

MAX_CHARACTERS = 4_000
MAX_DEPTH = 40
"""Longer answers, and more deeply nested ones, are compared as text."""

_WORDS = re.compile(r"\(?[^\W\d_](?:[^\W\d_]|[ '.,-])*\)?|[^\W\d_]\)")
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
_PLUS_MINUS = re.compile(r"\\pm(?![A-Za-z])")
_INFINITY = re.compile(r"[+-]?\s*\\infty")
_EXPONENT = re.compile(r"\d[eE][+-]?\d")
"""A number too large for `read_number`, which math-verify would take for a product with e."""


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
    if ("\n" in answer.strip() and "\\" not in answer) or len(answer) > MAX_CHARACTERS:
        return text_form(answer)
    text = without_outer(without_outer(answer.strip()))
    if depth(text) > MAX_DEPTH:
        return text_form(answer)
    text = plain_notation(text)
    return _read(text, algebra) or NormalForm("text:" + re.sub(r"\s", "", text))


def _read(text: str, algebra: Algebra) -> NormalForm | None:
    """The first reading that fits, the plainest first; None where none does."""
    text = without_outer(text)
    number = read_number(text)
    if number is not None:
        return NormalForm(number_key(number))
    for reading in _READINGS:
        form = reading(text, algebra)
        if form is not None:
            return form
    return None


def _time(text: str, algebra: Algebra) -> NormalForm | None:
    """Times of the clock: `3:30 pm` is none of the ratio 3 to 30."""
    time = time_of_day(text)
    if time is None:
        return None
    is_full_hour = time.endswith(":00:00")
    return NormalForm(
        f"time:{time}", (number_key(Fraction(int(time[:2]) % 12 or 12)),) if is_full_hour else ()
    )


def _words(text: str, algebra: Algebra) -> NormalForm | None:
    r"""Words, in `\text{}` or out of it, and letters of choices; capitals do not matter."""
    plain = _TEXT.sub(r"\1", text).strip()
    is_product = len(plain) == 2 and plain.islower() and plain == text and plain != "no"
    if is_product or "\\" in plain or not _WORDS.fullmatch(plain):
        return None
    return NormalForm("word:" + " ".join(plain.strip("() .,").casefold().split()))


def _currency(text: str, algebra: Algebra) -> NormalForm | None:
    found = CURRENCY.fullmatch(text)
    if found is None:
        return None
    value = _read((found["minus"] or "") + (found["value"] or found["front"]).strip(), algebra)
    sign = unit_name(found["sign"] or found["after"])
    return value and NormalForm(f"{value.key} {sign}", value.bare or (value.key,))


def _counted(text: str, algebra: Algebra) -> NormalForm | None:
    """A plain number and what it counts; read before lists, for `1,234 people`."""
    found = UNIT.fullmatch(text)
    return _unit(text, algebra) if found and read_number(found["value"]) is not None else None


def _unit(text: str, algebra: Algebra) -> NormalForm | None:
    r"""A quantity and its unit: `5 cm`, `5\text{ cm}^2`, `50\%`, `90^\circ`."""
    found = UNIT.fullmatch(text)
    if found is None or not is_quantity(found["value"]):
        return None
    value = _read(found["value"].strip(), algebra)
    if value is None or value.bare or value.key.startswith(("word:", "text:")):
        return None
    unit = unit_name(found["texts"] or found["sign"] or found["words"] or "")
    if not unit:
        return value
    bare: tuple[str, ...] = (value.key,)
    number = read_number(found["value"]) if unit == "%" else None
    if number is not None:
        bare = (number_key(number), number_key(number / 100))
    return NormalForm(f"{value.key} {unit}", bare)


def _solutions(text: str, algebra: Algebra) -> NormalForm | None:
    r"""`x = 5`, `x = 1, 2`, `x \in (1, 2)`, `(x, y) = (1, 2)`: the value, decorated with a name."""
    parts, joints = pieces(text)
    found = equations(parts) if len(parts) <= MAX_ITEMS else None
    if found is None:
        return None
    if len({each.name for each in found}) > 1:
        return _assignments(found, "or" in joints, algebra)
    if found[0].name.startswith("(") and len(found) == 1:
        return _named_point(found[0], algebra)
    is_list = all(not each.is_set or each.value.startswith(r"\{") for each in found)
    if not is_list or (len(found) == 1 and not found[0].is_set):
        value = _read(r" \cup ".join(each.value for each in found), algebra)
    else:
        value = _sequence("{", [item for each in found for item in _items(each)], "}", algebra)
    return value and _named(text, found[0].name, value, algebra)


def _named(text: str, name: str, value: NormalForm, algebra: Algebra) -> NormalForm | None:
    key = re.fullmatch(r"\{([^,]+)\}", value.key)
    if key is not None:  # a set of one solution
        value = NormalForm(key[1], value.bare)
    if value.key.startswith("text:"):
        return None
    if value.key.startswith("expression:") and "(" not in name:
        equation = _value(text, algebra)  # `y = 2x` is also `2x - y = 0`
        return NormalForm(equation.key if equation else f"{name}={value.key}", (value.key,))
    return NormalForm(f"{name}={value.key}", value.bare or (value.key,))


def _items(equation: Equation) -> list[str]:
    r"""The single values of an equation: the items of a set, both values of `\pm`."""
    value = equation.value
    if value.startswith(r"\{") and value.endswith(r"\}"):
        return [item for item in split(value[2:-2], ",;") if item]
    return _both_signs(value) or [value]


def _assignments(found: Sequence[Equation], is_or: bool, algebra: Algebra) -> NormalForm | None:
    """Values of several unknowns, by name; they also equal the point with these coordinates."""
    if any(each.is_set for each in found) or len({each.name for each in found}) < len(found):
        return None
    ordered = sorted(found, key=lambda each: each.name)
    names = ", ".join(each.name for each in ordered)
    values = [each.value for each in ordered]
    form = _sequence("(", values, ")", algebra)
    if form is None:
        return None
    if is_or:
        return NormalForm(f"or:({names})={form.key}")
    bare = form.bare or (form.key,)
    is_one_letter = len({base_name(each.name) for each in found}) == 1
    solutions = _sequence("{", values, "}", algebra) if is_one_letter else None
    if solutions is not None:
        bare = (*bare, *(solutions.bare or (solutions.key,)))
    return NormalForm(f"({names})={form.key}", bare)


def _named_point(equation: Equation, algebra: Algebra) -> NormalForm | None:
    """`(x, y) = (1, 2)`, the same as `x = 1, y = 2`."""
    names = split(equation.name[1:-1], ",")
    value = equation.value
    items = split(value[1:-1], ",;") if is_one_group(value) and value[:1] == "(" else []
    if equation.is_set or len(items) != len(names):
        form = _read(value, algebra)
        return form and NormalForm(f"{equation.name}={form.key}", form.bare or (form.key,))
    named = [Equation(name, item, False) for name, item in zip(names, items, strict=True)]
    return _assignments(named, False, algebra)


def _relations(text: str, algebra: Algebra) -> NormalForm | None:
    """Inequalities, alone or joined by "and" and "or": their solutions."""
    parts, joints = pieces(text)
    joined = inequalities(parts, joints) if len(parts) <= MAX_ITEMS else None
    return _value(joined, algebra) if joined else None


def _group(text: str, algebra: Algebra) -> NormalForm | None:
    """Points and intervals: a bracket, items, a bracket."""
    if text[:1] not in "([" or text[-1:] not in ")]" or not is_one_group(text):
        return None
    items = split(text[1:-1], ",;")
    return _sequence(text[0], items, text[-1], algebra) if len(items) > 1 else None


def _list(text: str, algebra: Algebra) -> NormalForm | None:
    r"""Sets and enumerations, in any order: `\{1, 2\}`, `1, 2`, `1 and 2`."""
    inner = text[2:-2] if text.startswith(r"\{") and text.endswith(r"\}") else None
    if inner is None and not (re.search("[,;]", text) or JOINT.search(text)):
        return None
    items = split(JOINT.sub(",", text if inner is None else inner), ",;")
    items = [item for item in items if item]
    if inner is None and len(items) < 2:
        return None
    return _sequence(
        "{", [sign for item in items for sign in _both_signs(item) or [item]], "}", algebra
    )


def _plus_minus(text: str, algebra: Algebra) -> NormalForm | None:
    both = _both_signs(text)
    return _sequence("{", both, "}", algebra) if both else None


def _both_signs(text: str) -> list[str] | None:
    before, *after = _PLUS_MINUS.split(text)
    if len(after) != 1:
        return None
    return [f"{before}{sign}{after[0]}".strip().removeprefix("+") for sign in "+-"]


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
    text = text.replace(r"^\circ", r"\cdot\frac{\pi}{180}")
    if _EXPONENT.search(text) or not is_mathematics(text):
        return None
    description = algebra(text)
    key = description and description_key(description)
    if not description or not key:
        return None
    name = description.get("name")
    return NormalForm(f"{name}={key}", (key,)) if name else NormalForm(key)


_READINGS = (
    _time,
    _currency,
    _words,
    _counted,
    _group,
    _relations,
    _solutions,
    _list,
    _unit,
    _plus_minus,
    _value,
)
