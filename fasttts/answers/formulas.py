r"""Mathematics between delimiters in prose: `$...$`, `$$...$$`, `\(...\)`, `\[...\]`.

A dollar is also money. It opens a formula only if the next dollar can close it: without white
space inside the pair (or with it on both sides), without a digit behind it, as Pandoc's Markdown
has it, and without an amount and words between the two.
"""

import re

_FORMULA = re.compile(
    r"\$\$(?P<display>(?:[^$\\]|\\.)+?)\$\$"
    r"|\$(?P<inline>(?:[^$\\\n]|\\.)+)\$(?!\d)"
    r"|\\\((?P<round>.+?)\\\)|\\\[(?P<square>.+?)\\\]",
    re.DOTALL,
)
_COMMAND = re.compile(r"\\(?:text|mbox|textbf|mathrm|operatorname)\s*\{[^{}]*\}|\\[A-Za-z]+")
_WORD = re.compile(r"[A-Za-z]{3,}")
_AMOUNT = re.compile(r"\s*\d")


def formula_at(text: str, start: int = 0) -> re.Match[str] | None:
    """The formula that begins at `start`; None where none does.

    Args:
        text: The text.
        start: Where it may begin.
    """
    found = _FORMULA.match(text, start)
    return found if found and _is_formula(found) else None


def content(formula: re.Match[str]) -> str:
    """What stands between the delimiters."""
    return next(part for part in formula.groups() if part is not None).strip()


def last_formula(text: str) -> str | None:
    """Content of the last formula in a text."""
    found = [each for each in _FORMULA.finditer(text) if _is_formula(each)]
    return content(found[-1]) if found else None


def without_delimiters_inside(text: str) -> str:
    """A text whose formulas have lost their delimiters: `($1$, $2$)` is `(1, 2)`."""
    return _FORMULA.sub(lambda each: content(each) if _is_formula(each) else each[0], text)


def _is_formula(found: re.Match[str]) -> bool:
    inline = found["inline"]
    if inline is None:
        return bool(content(found))
    if not inline.strip() or inline[0].isspace() != inline[-1].isspace():
        return False
    has_words = _WORD.search(_COMMAND.sub("", inline)) is not None
    return not (has_words and _AMOUNT.match(inline))
