"""Text that a terminal shows and does not obey.

Texts of models, tools, files and titles may hold escape sequences, other control characters,
characters that turn the order of a line, and characters that nobody sees. All of these are written
out as JSON would escape them, so that a JSON document stays the same document.
"""

import re

from rich.text import Text

_HIDDEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls, all but the line feed and the tab
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # the direction of writing
    "\u2028\u2029"  # other ends of lines
    "\xad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2065\u206a-\u206f\u3164\ufeff"
    "\uffa0\ufff0-\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"  # no width, or no ink
    "\ud800-\udfff"  # halves of characters, which no stream can encode
)
_WORN = "\xa9\xae\u0250-\u200a\u2010-\u2027\u2030-\ud7ff\ue000-\ufdff\ufe30-\U0010ffff"
"""Characters after which joiners and variation selectors belong to a script or a picture."""

_JOINERS = "\u200c\u200d"
_SELECTORS = "\ufe00-\ufe0f"

_UNSAFE = re.compile(
    f"[{_HIDDEN}]"
    f"|(?:(?<![{_WORN}])(?<![{_WORN}]\ufe0f)|(?<=[{_HIDDEN}])|(?<=[{_HIDDEN}]\ufe0f))[{_JOINERS}]"
    f"|(?:(?<![{_WORN}])|(?<=[{_HIDDEN}]))[{_SELECTORS}](?!\u20e3)"
)
_JOINED = re.compile(f"[{_JOINERS}{_SELECTORS}]")


def printable(text: str) -> str:
    """Returns the text with everything escaped that a terminal would obey or hide.

    Line feeds and tabs stay, and so do joiners and variation selectors where Persian, Hindi or a
    picture is written with them.
    """
    return _UNSAFE.sub(lambda found: escaped(found[0]), text.replace("\r\n", "\n"))


def begins_with_joiner(text: str) -> bool:
    """Whether the beginning of a text belongs to what stands before it."""
    return _JOINED.match(text) is not None


def escaped(text: str) -> str:
    r"""Writes every character of a text as JSON does: `\u001b`, and two of these beyond U+FFFF."""
    units = text.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def printable_text(text: Text) -> Text:
    """The same for a styled text, which keeps its styles."""
    found = {each.start(): each.end() for each in _UNSAFE.finditer(text.plain)}
    if not found:
        return text
    shown, offset = text.blank_copy(), 0
    for piece in text.divide(sorted({*found, *found.values()})):
        is_unsafe, offset = offset in found and len(piece) > 0, offset + len(piece)
        shown.append_text(Text(escaped(piece.plain), piece.style) if is_unsafe else piece)
    return shown
