r"""Boxes: `\boxed{...}`, `\fbox{...}`, `\framebox[width]{...}`, and `\boxed 42` without braces."""

import re

from fasttts.answers.spans import Span

_TOKENS = re.compile(
    r"(?P<box>\\(?:boxed|fbox|framebox)(?:\s*\[[^\[\]{}\n]{0,40}\]){0,2}\s*\{)"
    r"|(?P<bare>\\(?:boxed|fbox|framebox)(?![A-Za-z{])[ \t]*(?![\s\[{]))"
    r"|\\.|(?P<open>\{)|(?P<close>\})",
    re.DOTALL,
)
_GROUP = r"\{(?:[^{}\n]|\{[^{}\n]{0,200}\}){0,200}\}"
_BARE = re.compile(
    rf"[(+\-\u2212]?(?:\\[A-Za-z]+(?:{_GROUP}){{1,2}}|\\[A-Za-z]+|[\d.,]*\d|[A-Za-z])"
    rf"(?:[/^_](?:{_GROUP}|\w+)|\\[A-Za-z]+{_GROUP}|\\?%|!|\)|\w)*"
)


def last_box(text: str) -> Span | None:
    """Where the content of the last complete box stands, braces matched; None without one."""
    opened: list[int | None] = []
    last: Span | None = None
    for token in _TOKENS.finditer(text):
        if token["box"]:
            opened.append(token.end())
        elif token["bare"]:
            found = _BARE.match(text, token.end())
            last = Span(token.end(), found.end()) if found else last
        elif token["open"]:
            opened.append(None)
        elif token["close"] and opened:
            start = opened.pop()
            if start is not None and (last is None or start > last.start):
                last = Span(start, token.start())
    return last


def boxed(text: str) -> str | None:
    """Content of the last complete box; None without one."""
    span = last_box(text)
    return None if span is None else text[span.start : span.end].strip()
