r"""Named solutions as forms: a value, decorated with the name of the unknown.

`x = 1, 2` and `x = 1 \text{ or } x = 2` are one form, which equals the bare `1, 2`.
"""

import re
from collections.abc import Sequence

from fasttts.answers.brackets import is_one_group, split
from fasttts.answers.forms import MAX_ITEMS, NormalForm, Reader, both_signs, sequence
from fasttts.answers.solutions import Equation, base_name, equations, pieces


def named_solutions(text: str, reader: Reader) -> NormalForm | None:
    r"""`x = 5`, `x = 1, 2`, `x \in (1, 2)`, `(x, y) = (1, 2)`: the value, decorated with a name.

    Args:
        text: The answer.
        reader: Reads values.
    """
    parts, joints = pieces(text)
    found = equations(parts) if len(parts) <= MAX_ITEMS else None
    if found is None:
        return None
    if len({each.name for each in found}) > 1:
        return _assignments(found, "or" in joints, reader)
    if found[0].name.startswith("(") and len(found) == 1:
        return _named_point(found[0], reader)
    is_list = all(not each.is_set or each.value.startswith(r"\{") for each in found)
    if not is_list or (len(found) == 1 and not found[0].is_set):
        value = reader.read(r" \cup ".join(each.value for each in found))
    else:
        value = sequence("{", [item for each in found for item in _items(each)], "}", reader.read)
    return value and _named(text, found[0].name, value, reader)


def _named(text: str, name: str, value: NormalForm, reader: Reader) -> NormalForm | None:
    key = re.fullmatch(r"\{([^,]+)\}", value.key)
    if key is not None:  # a set of one solution
        value = NormalForm(key[1], value.bare)
    if value.key.startswith("text:"):
        return None
    if value.key.startswith("expression:") and "(" not in name:
        equation = reader.value(text)  # `y = 2x` is also `2x - y = 0`
        return NormalForm(equation.key if equation else f"{name}={value.key}", (value.key,))
    return NormalForm(f"{name}={value.key}", value.bare or (value.key,))


def _items(equation: Equation) -> list[str]:
    r"""The single values of an equation: the items of a set, both values of `\pm`."""
    value = equation.value
    if value.startswith(r"\{") and value.endswith(r"\}"):
        return [item for item in split(value[2:-2], ",;") if item]
    return both_signs(value) or [value]


def _assignments(found: Sequence[Equation], is_or: bool, reader: Reader) -> NormalForm | None:
    """Values of several unknowns, by name; they also equal the point with these coordinates."""
    if any(each.is_set for each in found) or len({each.name for each in found}) < len(found):
        return None
    ordered = sorted(found, key=lambda each: each.name)
    names = ", ".join(each.name for each in ordered)
    values = [each.value for each in ordered]
    form = sequence("(", values, ")", reader.read)
    if form is None:
        return None
    if is_or:
        return NormalForm(f"or:({names})={form.key}")
    bare = form.bare or (form.key,)
    is_one_letter = len({base_name(each.name) for each in found}) == 1
    solutions = sequence("{", values, "}", reader.read) if is_one_letter else None
    if solutions is not None:
        bare = (*bare, *(solutions.bare or (solutions.key,)))
    return NormalForm(f"({names})={form.key}", bare)


def _named_point(equation: Equation, reader: Reader) -> NormalForm | None:
    """`(x, y) = (1, 2)`, the same as `x = 1, y = 2`."""
    names = split(equation.name[1:-1], ",")
    value = equation.value
    items = split(value[1:-1], ",;") if is_one_group(value) and value[:1] == "(" else []
    if equation.is_set or len(items) != len(names):
        form = reader.read(value)
        return form and NormalForm(f"{equation.name}={form.key}", form.bare or (form.key,))
    named = [Equation(name, item, False) for name, item in zip(names, items, strict=True)]
    return _assignments(named, False, reader)
