"""Where something stands in a text."""

from typing import NamedTuple


class Span(NamedTuple):
    """From the first character to behind the last one."""

    start: int
    end: int
