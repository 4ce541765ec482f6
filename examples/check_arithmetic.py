"""A verifier that checks sums: a Python function, no model.

Run it with `fasttts solve "..." --verifier examples.check_arithmetic:sums_are_right` from the root
of the repository, or hand `sums_are_right` to `FastTTS.load(verifier=...)`.

It finds equations of numbers such as `30 + 12 = 42`, `3 × $4.50 = $13.50` or `10 / 4 * 2 = 5`, and
computes them with fractions. Nothing of a text is evaluated as a program. A right sum may still be
the wrong one for the problem, so this tells slips of arithmetic and nothing more.
"""

import re
from collections.abc import Iterator
from fractions import Fraction

NO_SUM, WRONG, RIGHT = 0.5, 0.0, 1.0
"""Scores: of a text without sums, with a wrong one, and with right ones alone."""

_NUMBER = r"-?[$€£]?(?:\d{1,3}(?:,\d{3}){1,5}|\d{1,15})(?:\.\d{1,15})?"
_OPERATOR = r"\+|-|−|–|\*|×|·|x|/|÷"
_SPACE = r"[ \t\u00a0]?"
_SUM = re.compile(
    rf"(?P<left>{_NUMBER}(?:{_SPACE}(?:{_OPERATOR}){_SPACE}{_NUMBER}){{1,20}})"
    rf"{_SPACE}={_SPACE}(?=(?P<right>{_NUMBER}))"
)
_TOKEN = re.compile(rf"{_SPACE}(?P<operator>{_OPERATOR})?{_SPACE}(?P<number>{_NUMBER})")
_CONTINUED = re.compile(rf"[\d.,]*\d|{_SPACE}(?:{_OPERATOR}|%|\^){_SPACE}[\d$€£(]|[%^]")
_PART_OF_MORE = re.compile(r"[\w.,^%)]\Z|(?<=\S)\s*[+−–×·/÷^-]\s*\Z|(?<=[^*\s])\s*\*\s*\Z")
"""What stands before an equation that is a part of more; a sign that opens a line is a bullet."""

_LATEX = {r"\times": "×", r"\cdot": "·", r"\div": "÷", r"\$": "$", r"\(": " ", r"\[": " "}


def sums_are_right(problem: str, steps: tuple[str, ...]) -> float:
    """Scores the last step: 1 where its sums are right, 0 where one is wrong, 0.5 without any.

    Args:
        problem: The problem, which is not read.
        steps: The steps so far.
    """
    found = list(checked_sums(steps[-1]))
    if not found:
        return NO_SUM
    return RIGHT if all(found) else WRONG


def checked_sums(text: str) -> Iterator[bool]:
    """Yields for each equation of numbers in a text whether it holds, to the digits it gives.

    An equation that is a part of a longer expression, `(2 + 3) * 4 = 20`, is not checked.

    Args:
        text: The text.
    """
    for word, sign in _LATEX.items():
        text = text.replace(word, sign)
    for match in _SUM.finditer(text):
        line = text.rfind("\n", 0, match.start()) + 1
        before = text[max(line, match.start() - 8) : match.start()]
        end = match.end("right")
        if not _PART_OF_MORE.search(before) and not _CONTINUED.match(text, end):
            yield _holds(match["left"], match["right"])


def _holds(left: str, right: str) -> bool:
    value = _value(left)
    if value is None:
        return False
    num_digits = len(right.partition(".")[2])
    return bool(abs(value - _number(right)) * 10**num_digits <= Fraction(1, 2))


def _value(expression: str) -> Fraction | None:
    """The value of numbers joined by operators, products before sums; None for x / 0."""
    terms: list[Fraction] = []
    for match in _TOKEN.finditer(expression):
        operator, number = match["operator"], _number(match["number"])
        if operator is None or operator == "+":
            terms.append(number)
        elif operator in "-−–":
            terms.append(-number)
        elif operator in "/÷":
            if not number:
                return None
            terms[-1] /= number
        else:
            terms[-1] *= number
    return sum(terms, Fraction())


def _number(text: str) -> Fraction:
    return Fraction(re.sub(r"[,$€£]", "", text))
