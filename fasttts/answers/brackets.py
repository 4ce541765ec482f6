"""Brackets of an answer: where it may be split, and which of them say nothing."""

_CLOSING = {"(": ")", "[": "]", "{": "}"}


def split(text: str, signs: str) -> list[str]:
    """Splits a text at signs that stand in no bracket; the parts are stripped.

    Args:
        text: The text.
        signs: The characters to split at.
    """
    parts, level, start = [], 0, 0
    for position, sign in enumerate(text):
        level += (sign in "({[") - (sign in ")}]")
        if level == 0 and sign in signs:
            parts.append(text[start:position].strip())
            start = position + 1
    return [*parts, text[start:].strip()]


def without_outer(text: str) -> str:
    """`text` without the brackets around all of it that hold one item: `((1))` is `1`."""
    closing, lists = _pairs(text)
    start, end = 0, len(text)
    while closing.get(start) == end - 1 and start not in lists and end - start > 2:
        inner = text[start + 1 : end - 1]
        start += 1 + len(inner) - len(inner.lstrip())
        end -= 1 + len(inner) - len(inner.rstrip())
    return text[start:end]


def is_one_group(text: str) -> bool:
    """Whether the first bracket closes with the last character; `(1,2)+(3,4)` is not one."""
    level = 0
    for position, sign in enumerate(text):
        level += (sign in "([{") - (sign in ")]}")
        if level == 0:
            return position == len(text) - 1
    return False


def depth(text: str) -> int:
    """How deep brackets are nested."""
    level = deepest = 0
    for sign in text:
        level += (sign in "([{") - (sign in ")]}")
        deepest = max(deepest, level)
    return deepest


def _pairs(text: str) -> tuple[dict[int, int], set[int]]:
    """Where the brackets that open close again, and which of them hold lists or sets."""
    opened: list[int] = []
    closing: dict[int, int] = {}
    lists: set[int] = set()
    for position, sign in enumerate(text):
        if sign in _CLOSING:
            opened.append(position)
            if text[position - 1 : position] == "\\":
                lists.add(position)
        elif sign in ")]}":
            if not opened or _CLOSING[text[opened[-1]]] != sign:
                return {}, set()
            closing[opened.pop()] = position
        elif sign in ",;" and opened:
            lists.add(opened[-1])
    return closing, lists
