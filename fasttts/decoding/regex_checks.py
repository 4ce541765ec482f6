r"""Regular expressions of users, checked before llguidance reads them."""

import re

from fasttts.decoding.grammar_limits import (
    MAX_REGEX_CHARS,
    MAX_REGEX_DEPTH,
    MAX_REGEX_SIZE,
    MAX_REPEATS,
    check,
)
from fasttts.decoding.json_checks import check_text

_PART = re.compile(r"\\.|\{(\d*),?(\d*)\}|\[\^?\]?|.", re.DOTALL)
_VERBOSE = re.compile(r"\(\?[a-zA-Z]*x")
_SLASH = re.compile(r"\\.|/", re.DOTALL)


def check_regex(regex: str) -> None:
    """Checks the length, the nesting and the repetitions of a regular expression.

    Args:
        regex: The expression.

    Raises:
        ValueError: One of them is beyond its limit, or comments hide them.
    """
    check_text(regex)
    check("number of characters", len(regex), MAX_REGEX_CHARS)
    if _VERBOSE.search(regex):
        raise ValueError("the flag x, which allows comments, is not supported")
    groups: list[int] = []
    size = last = num_classes = 0
    for part in _PART.finditer(regex):
        sign = part[0]
        if num_classes:
            num_classes += (sign[0] == "[") - (sign == "]")
        elif sign == "(":
            groups.append(size + last)
            size = last = 0
        elif sign == ")" and groups:
            last, size = size + last + 1, groups.pop()
        elif part.lastindex and len(sign) > 1:
            times = max(number(part[1]), number(part[2]))
            check("repetition count", times, MAX_REPEATS)
            last *= max(times, 1)
        else:
            num_classes += sign[0] == "["
            size, last = size + last, 1
        check("nesting depth", len(groups) + num_classes, MAX_REGEX_DEPTH)
        check("length with repetitions written out", size + last, MAX_REGEX_SIZE)


def number(digits: str) -> int:
    """The number that digits write; of one that is beyond every limit, the first digits."""
    return int(digits.lstrip("0")[:20] or 0)


def for_lark(regex: str) -> str:
    r"""Writes a regular expression as a terminal of a Lark grammar; `/` and `\/` are the same.

    Args:
        regex: The expression.
    """
    return "/" + _SLASH.sub(lambda part: r"\/" if part[0] == "/" else part[0], regex) + "/"
