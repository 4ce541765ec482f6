r"""Normal forms of answers, which can be compared and counted.

Two answers are equal if their forms agree. A form is made of one answer alone, so that the vote
among n candidates reads n answers and compares no pairs, and equality is what it should be:
reflexive, symmetric, and the same in whatever order candidates arrive.

Some answers are decorated: `5 cm`, `50\%`, `x = 5`. A decorated answer also equals the bare one
(`5`; for a percentage `50` and `0.5`), but not one that is decorated otherwise (`5 kg`).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from fasttts.answers.brackets import depth, is_one_group, split, without_outer
from fasttts.answers.canonical_json import try_canonical
from fasttts.answers.forms import (
    MAX_ITEMS,
    NormalForm,
    Reader,
    both_signs,
    sequence,
    text_form,
)
from fasttts.answers.mathematics import is_mathematics
from fasttts.answers.naming import named_solutions
from fasttts.answers.notation import plain_notation
from fasttts.answers.numbers import number_key, read_number
from fasttts.answers.quantities import CURRENCY, UNIT, is_quantity, time_of_day, unit_name
from fasttts.answers.solutions import JOINT, inequalities, pieces
from fasttts.answers.sympy_client import Description
from fasttts.answers.value_keys import description_key

Algebra = Callable[[str], Description | None]
"""Mathematics in LaTeX to its value; None where it is none or may not be asked."""

MAX_CHARACTERS = 4_000
MAX_DEPTH = 40
"""Longer answers, and more deeply nested ones, are compared as text."""

_WORDS = re.compile(r"\(?[^\W\d_](?:[^\W\d_]|[ '.,-])*\)?|[^\W\d_]\)")
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
_RELATED = re.compile(r"(?<![\\A-Za-z])[A-Za-z]|[<>,;]")
_INFINITY = re.compile(r"[+-]?\s*\\infty")
_EXPONENT = re.compile(r"\d[eE][+-]?\d")
"""A number too large for `read_number`, which math-verify would take for a product with e."""


def make_form(answer: str, algebra: Algebra) -> NormalForm:
    """The form of an answer; several lines that are no LaTeX, such as code, are text.

    Args:
        answer: The answer.
        algebra: Describes mathematical texts.
    """
    if (found := try_canonical(answer.strip())) is not None:
        return NormalForm(f"json:{found}")
    if ("\n" in answer.strip() and "\\begin" not in answer) or len(answer) > MAX_CHARACTERS:
        return text_form(answer)
    text = without_outer(without_outer(answer.strip()))
    if depth(text) > MAX_DEPTH:
        return text_form(answer)
    text = plain_notation(text)
    return _Reader(algebra).read(text) or NormalForm("text:" + re.sub(r"\s", "", text))


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads texts in plain notation, with the algebra that is at hand."""

    algebra: Algebra

    def read(self, text: str) -> NormalForm | None:
        """The first reading that fits, the plainest first; None where none does."""
        text = without_outer(text)
        number = read_number(text)
        if number is not None:
            return NormalForm(number_key(number))
        forms = (reading(text, self) for reading in _READINGS)
        return next((form for form in forms if form is not None), None)

    def value(self, text: str) -> NormalForm | None:
        """What math-verify makes of it; degrees inside a formula are turned into radians."""
        if _INFINITY.fullmatch(text):
            return NormalForm("-infinity" if text.startswith("-") else "infinity")
        text = text.replace(r"^\circ", r"\cdot\frac{\pi}{180}")
        if _EXPONENT.search(text) or not is_mathematics(text):
            return None
        description = self.algebra(text)
        key = description and description_key(description)
        if not description or not key:
            return None
        name = description.get("name")
        return NormalForm(f"{name}={key}", (key,)) if name else NormalForm(key)


def _time(text: str, reader: Reader) -> NormalForm | None:
    """Times of the clock: `3:30 pm` is none of the ratio 3 to 30."""
    time = time_of_day(text)
    if time is None:
        return None
    hour = number_key(Fraction(int(time[:2]) % 12 or 12))
    return NormalForm(f"time:{time}", (hour,) if time.endswith(":00:00") else ())


def _words(text: str, reader: Reader) -> NormalForm | None:
    r"""Words, in `\text{}` or out of it, and letters of choices; capitals do not matter."""
    plain = _TEXT.sub(r"\1", text).strip()
    is_product = len(plain) == 2 and plain.islower() and plain == text and plain != "no"
    if is_product or "\\" in plain or not _WORDS.fullmatch(plain):
        return None
    return NormalForm("word:" + " ".join(plain.strip("() .,").casefold().split()))


def _currency(text: str, reader: Reader) -> NormalForm | None:
    found = CURRENCY.fullmatch(text)
    if found is None:
        return None
    value = reader.read((found["minus"] or "") + (found["value"] or found["front"]).strip())
    sign = unit_name(found["sign"] or found["after"])
    return value and NormalForm(f"{value.key} {sign}", value.bare or (value.key,))


def _counted(text: str, reader: Reader) -> NormalForm | None:
    """A plain number and its unit; read before lists, for `1,234 people`."""
    found = UNIT.fullmatch(text)
    return _unit(text, reader) if found and read_number(found["value"]) is not None else None


def _unit(text: str, reader: Reader) -> NormalForm | None:
    r"""A quantity and its unit: `5 cm`, `5\text{ cm}^2`, `50\%`, `90^\circ`."""
    found = UNIT.fullmatch(text)
    if found is None or not is_quantity(found["value"]):
        return None
    value = reader.read(found["value"].strip())
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


def _relations(text: str, reader: Reader) -> NormalForm | None:
    """Inequalities, alone or joined by "and" and "or": their solutions."""
    parts, joints = pieces(text)
    joined = inequalities(parts, joints) if len(parts) <= MAX_ITEMS else None
    return reader.value(joined) if joined else None


def _calculation(text: str, reader: Reader) -> NormalForm | None:
    """`5 - 3 = 2`: the number that all of its sides are."""
    sides = text.split("=")
    if len(sides) < 2 or _RELATED.search(text):
        return None
    forms = [reader.read(side.strip()) for side in sides]
    keys = {form.key for form in forms if form is not None}
    return forms[-1] if len(keys) == 1 and None not in forms else None


def _group(text: str, reader: Reader) -> NormalForm | None:
    """Points and intervals: a bracket, items, a bracket."""
    if text[:1] not in "([" or text[-1:] not in ")]" or not is_one_group(text):
        return None
    items = split(text[1:-1], ",;")
    return sequence(text[0], items, text[-1], reader.read) if len(items) > 1 else None


def _list(text: str, reader: Reader) -> NormalForm | None:
    r"""Sets and enumerations, in any order: `\{1, 2\}`, `1, 2`, `1 and 2`."""
    inner = text[2:-2] if text.startswith(r"\{") and text.endswith(r"\}") else None
    if inner is None and not (re.search("[,;]", text) or JOINT.search(text)):
        return None
    items = split(JOINT.sub(",", text if inner is None else inner), ",;")
    items = [item for item in items if item]
    if inner is None and len(items) < 2:
        return None
    return sequence(
        "{", [sign for item in items for sign in both_signs(item) or [item]], "}", reader.read
    )


def _plus_minus(text: str, reader: Reader) -> NormalForm | None:
    both = both_signs(text)
    return sequence("{", both, "}", reader.read) if both else None


def _value(text: str, reader: Reader) -> NormalForm | None:
    return reader.value(text)


_READINGS = (
    _time,
    _currency,
    _words,
    _counted,
    _group,
    _relations,
    _calculation,
    named_solutions,
    _list,
    _unit,
    _plus_minus,
    _value,
)
