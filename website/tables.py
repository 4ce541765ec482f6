"""Tables of Markdown that Python-Markdown and the renderers of code forges show alike."""

import html
import re
from collections.abc import Iterable, Sequence

_CODE = re.compile(r"(`[^`]+`)")
_DOCUMENT = re.compile(r"\bdocs/([a-z-]+)\.md")


def prose(text: str) -> str:
    """Plain text with code between backticks, as Markdown; documents that it names become links.

    Args:
        text: Of a docstring or a help, where no mark but the backtick means anything.
    """

    def escaped(part: str) -> str:
        marked = html.escape(part, quote=False).replace("*", r"\*")
        return _DOCUMENT.sub(r"[\1](../\1.md)", marked)

    parts = _CODE.split(text)
    return "".join(part if _CODE.fullmatch(part) else escaped(part) for part in parts)


def cell(text: str) -> str:
    """A text of Markdown as a cell of a table.

    A bar within code would end the cell in one renderer, and keep its backslash in the other: code
    with a bar becomes an element of HTML.

    Args:
        text: Markdown in any number of lines, without blocks.
    """

    def code(part: str) -> str:
        if not _CODE.fullmatch(part) or "|" not in part:
            return part.replace("|", r"\|")
        return f"<code>{html.escape(part[1:-1]).replace('|', '&#124;')}</code>"

    return "".join(map(code, _CODE.split(" ".join(text.split()))))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, with a line break at its end.

    Args:
        head: Titles of the columns.
        rows: Cells in Markdown.

    Raises:
        ValueError: A row has another number of cells than the head.
    """
    lines = [list(head), ["---"] * len(head)]
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"{len(row)} cells under {len(head)} titles: {row}")
        lines.append([cell(one) for one in row])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
