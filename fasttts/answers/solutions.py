r"""Named solutions and inequalities, in all the ways in which they are joined.

`x = 1, 2`, `x = 1 \text{ or } x = 2`, `x = \pm 2`, `x \in \{1, 2\}` name solutions of one unknown;
`x = 1, y = 2` and `(x, y) = (1, 2)` give values to several. Inequalities joined by "and" have the
common solutions, those joined by "or" have all of them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fasttts.answers.brackets import split

Joint = Literal[",", "and", "or"]

JOINT = re.compile(
    r",?\s*\\text\s*\{\s*,?\s*(and|or)\s*\}\s*|,?\s*(?<![A-Za-z\\])(and|or)(?![A-Za-z])\s*|;"
)
_JOINTS: dict[str, Joint] = {",": ",", "\x00": "and", "\x01": "or"}
_SYMBOL = r"\\?[A-Za-z]+(?:_\{?\w+\}?)?(?:\([a-z]\))?"
_EQUATION = re.compile(
    rf"(?P<name>{_SYMBOL}|\(\s*{_SYMBOL}(?:\s*,\s*{_SYMBOL})+\s*\))\s*"
    r"(?P<sign>=|\\in(?![a-z])|\\ne(?![a-z]))\s*(?P<value>[^=<>]+)"
)
_INEQUALITY = re.compile(r"[<>]|\\(?:le|ge|ne)(?![A-Za-z])")
_RELATION = re.compile(r"[=<>]|\\(?:le|ge|ne|in)(?![A-Za-z])")
_REALS = re.compile(rf"({_SYMBOL})\s*\\in\s*\\mathbb\s*\{{R\}}")
_SUBSCRIPT = re.compile(r"_\{?\w+\}?")
MAX_PIECES = 64


@dataclass(frozen=True, slots=True)
class Equation:
    r"""One named value: `x = 5`, `x \in (1, 2)`, `(x, y) = (1, 2)`.

    Attributes:
        name: Without braces and backslashes.
        value: As it is written.
        is_set: Whether the value is what the solutions are in.
    """

    name: str
    value: str
    is_set: bool


def pieces(text: str) -> tuple[list[str], list[Joint]]:
    """What stands between commas, "and" and "or" outside brackets, and what joins it."""
    marked = JOINT.sub(
        lambda found: {"and": "\x00", "or": "\x01"}.get(found[1] or found[2], ","), text
    )
    marked = marked.removeprefix("either ")
    restored = [
        part.replace("\x00", " and ").replace("\x01", " or ") for part in split(marked, ",\x00\x01")
    ]
    return restored, [_JOINTS[sign] for sign in _outer_signs(marked)]


def equations(parts: Sequence[str]) -> list[Equation] | None:
    """The named values of a text in pieces; a bare piece goes on with the name before it."""
    found: list[Equation] = []
    for part in parts:
        match = _EQUATION.fullmatch(part)
        if match is not None and match["sign"] != r"\ne" and not _RELATION.search(match["value"]):
            name = re.sub(r"[\\{}\s]", "", match["name"])
            found.append(Equation(name, match["value"].strip(), match["sign"] != "="))
        elif found and part and not _RELATION.search(part):
            found.append(Equation(found[-1].name, part, found[-1].is_set))
        else:
            return None
    return found or None


def base_name(name: str) -> str:
    """A name without its subscript."""
    return _SUBSCRIPT.sub("", name)


def inequalities(parts: Sequence[str], joints: Sequence[Joint]) -> str | None:
    r"""Joined inequalities as one text with `\land` and `\lor`; None where they are none.

    Commas join what is left out (`x \ne 1, 2`) and the domain (`x \in \mathbb{R}, x \ne 1`) only:
    between whole inequalities they may mean either.

    Args:
        parts: The inequalities.
        joints: How each is joined to the next.
    """
    if not any(_INEQUALITY.search(part) for part in parts):
        return None
    written: list[str] = []
    domain = next((part for part in parts if _is_domain(part, parts)), None)
    for index, part in enumerate(parts):
        joint = joints[index - 1] if index else None
        whole = _completed(part, parts[0])
        if whole is None or (joint == "," and whole == part and domain not in (part, parts[0])):
            return None
        if part == domain and joint != "or":
            continue
        if written:
            written.append(r" \lor " if joint == "or" else r" \land ")
        written.append(whole)
    return "".join(written)


def _completed(part: str, first: str) -> str | None:
    r"""A piece as a whole relation: `or > 2` and `\ne 1, 2` leave the unknown out."""
    if _RELATION.search(part) and not _RELATION.match(part):
        return part
    head = re.match(rf"({_SYMBOL})\s*(\\ne(?![A-Za-z])|[<>=]|\\[lg]e(?![A-Za-z]))", first)
    if head is None or not part:
        return None
    if _RELATION.match(part):
        return f"{head[1]} {part}"
    return rf"{head[1]} \ne {part}" if head[2] == r"\ne" else None


def _is_domain(part: str, parts: Sequence[str]) -> bool:
    r"""Whether a piece says `x \in \mathbb{R}` of the unknown of the others."""
    found = _REALS.fullmatch(part)
    return found is not None and all(
        re.search(rf"(?<![A-Za-z\\]){re.escape(found[1])}(?![A-Za-z])", each) for each in parts
    )


def _outer_signs(text: str) -> list[str]:
    """The signs at which `split` splits."""
    level, signs = 0, []
    for sign in text:
        level += (sign in "({[") - (sign in ")}]")
        if level == 0 and sign in ",\x00\x01":
            signs.append(sign)
    return signs
