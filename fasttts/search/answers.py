"""What a candidate answers: extraction from text, and equality through math-verify."""

import functools
import logging
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

MAX_PARSED_CHARACTERS = 200
"""Longer answers are compared as text: symbolic algebra on them can take arbitrarily long."""

_BOX = "\\boxed{"
_NOISE = re.compile(r"\\[!,;: ]|\\(?:left|right)\b|[$\s]")
_THOUSANDS = re.compile(r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$")


def extract_boxed(text: str) -> str | None:
    r"""Content of the last complete `\boxed{...}` in `text`, braces matched; None without one."""
    end = len(text)
    while (start := text.rfind(_BOX, 0, end)) >= 0:
        content = _until_closing_brace(text, start + len(_BOX))
        if content is not None:
            return content.strip()
        end = start
    return None


def _until_closing_brace(text: str, start: int) -> str | None:
    level = 1
    for position in range(start, len(text)):
        level += {"{": 1, "}": -1}.get(text[position], 0)
        if level == 0:
            return text[start:position]
    return None


def canonical_answer(answer: str) -> str:
    """One spelling for answers that differ only in spacing, dollar signs or number format."""
    compact = _NOISE.sub("", answer).removesuffix(".")
    plain = compact.replace(",", "") if _THOUSANDS.match(compact) else compact
    try:
        number = Decimal(plain)
    except InvalidOperation:
        return compact or answer.strip()
    if not number.is_finite() or abs(number.adjusted()) > MAX_PARSED_CHARACTERS:
        return compact
    return format(number.normalize() + 0, "f")


def answers_equal(left: str | None, right: str | None) -> bool:
    """Whether two extracted answers mean the same; a missing answer equals nothing."""
    if left is None or right is None:
        return False
    one, other = canonical_answer(left), canonical_answer(right)
    if one == other:
        return True
    if _is_number(one) and _is_number(other):
        return False
    if max(len(one), len(other)) > MAX_PARSED_CHARACTERS:
        return False
    return _are_symbolically_equal(left, right)


def group_equal(answers: Sequence[str | None]) -> list[list[int]]:
    """Indices of equal answers together, groups in order of first appearance.

    Candidates without an answer form no group.
    """
    groups: list[list[int]] = []
    for index, answer in enumerate(answers):
        if answer is None:
            continue
        group = _find_group(answer, answers, groups)
        if group is None:
            groups.append([index])
        else:
            group.append(index)
    return groups


def _find_group(
    answer: str, answers: Sequence[str | None], groups: Iterable[list[int]]
) -> list[int] | None:
    return next((group for group in groups if answers_equal(answers[group[0]], answer)), None)


def _is_number(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False


@functools.lru_cache(maxsize=4096)
def _are_symbolically_equal(left: str, right: str) -> bool:
    """math-verify's judgement; it may differ by side, so both directions count."""
    parsed_left, parsed_right = _parse(left), _parse(right)
    if not parsed_left or not parsed_right:
        return False
    import math_verify

    def verify(gold: tuple[Any, ...], target: tuple[Any, ...]) -> bool:
        return bool(math_verify.verify(list(gold), list(target), timeout_seconds=None))

    return verify(parsed_left, parsed_right) or verify(parsed_right, parsed_left)


@functools.lru_cache(maxsize=4096)
def _parse(answer: str) -> tuple[Any, ...]:
    """Parsed forms of an answer.

    math-verify's own time limit needs the main thread's signals, so it is off here; the length
    limit of the callers bounds the work. Its warning about that is silenced.
    """
    import math_verify

    logging.getLogger("math_verify").setLevel(logging.ERROR)
    return tuple(math_verify.parse(f"${answer}$", parsing_timeout=None))
