r"""LaTeX's commands for fonts and arguments: letters keep their meaning, words become `\text{}`.

A font changes nothing about a letter, a digit or a function: `\mathrm{i}` is `i`, `\mathbf{5}` is
5, `\operatorname{sin}` is `\sin`. A word or a unit in a font is text.
"""

import re

_FONTS = (
    r"\\(?P<font>mathrm|mathbf|mathit|mathsf|mathtt|mathnormal|boldsymbol|bm|pmb|operatorname\*?|mathop"
    r"|text|textrm|textbf|textit|textsf|texttt|textnormal|mbox|hbox|ensuremath|underline|boxed|fbox)"
    r"\s*\{"
)
_FONT = re.compile(_FONTS)
_OLD_FONT = re.compile(
    r"\{?\\(?:rm|bf|it|sf|tt)\s+([A-Za-z0-9]+)\s*\}|\\(?:rm|bf|it|sf|tt)(?![A-Za-z])\s*"
)
_TRANSPARENT = ("ensuremath", "underline", "boxed", "fbox", "boldsymbol", "bm", "pmb", "mathnormal")
"""Fonts and frames whatever stands in which keeps its meaning."""

_FUNCTION_NAMES = (
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh coth ln log exp det gcd lcm max"
    " min arg dim ker lim inf sup"
)
FUNCTIONS = frozenset(_FUNCTION_NAMES.split())
UNIT_LETTERS = frozenset("mghslLNJWVAKCFtTHΩ")
"""Letters that in a text font are units where they stand behind a quantity."""

_LOG_BASE = re.compile(r"(?<=\\log)\s*_\s*(\d)")
_TAKES_ARGUMENTS = re.compile(
    r"\\(?P<name>frac|binom|sqrt)(?![A-Za-z])\s*(?P<index>\[[^\[\]]{0,20}\])?"
)
_ARGUMENT = re.compile(r"\s*(\\[A-Za-z]+|[^\s{}\\])")


def plain_commands(text: str) -> str:
    r"""`text` without fonts, and with braces around the arguments of `\frac` and `\sqrt`."""
    text = _OLD_FONT.sub(lambda found: f"\\text{{{found[1]}}}" if found[1] else "", text)
    return with_braces(_LOG_BASE.sub(r"_{\1} ", _without_fonts(text)))


def group_end(text: str, start: int) -> int | None:
    """Position behind the brace that closes the one at `start`; None where none does.

    Args:
        text: The text.
        start: Position of an opening brace.
    """
    level = 0
    for position in range(start, len(text)):
        sign = text[position]
        if sign in "{}" and text[position - 1 : position] != "\\":
            level += 1 if sign == "{" else -1
            if level == 0:
                return position + 1
    return None


def _without_fonts(text: str) -> str:
    parts: list[str] = []
    position = 0
    while (found := _FONT.search(text, position)) is not None:
        end = group_end(text, found.end() - 1)
        if end is None:
            break
        inner = text[found.end() : end - 1]
        parts += (text[position : found.start()], _in_font(found["font"].rstrip("*"), inner))
        position = end
    return "".join((*parts, text[position:]))


def _in_font(font: str, inner: str) -> str:
    plain = inner.strip()
    if font in _TRANSPARENT:
        return _without_fonts(inner)
    name = plain.removeprefix("\\")
    if name in FUNCTIONS:
        return f"\\{name} "
    if re.fullmatch(r"[A-Za-z]", plain):
        is_unit = plain in UNIT_LETTERS and font in (
            "mathrm",
            "text",
            "textrm",
            "mbox",
            "operatorname",
        )
        return f"\\text{{{plain}}}" if is_unit else f" {plain} "
    is_word = re.search(r"[^\W\d_]{2,}", re.sub(r"\\[A-Za-z]+", "", plain)) is not None
    if is_word or (
        font.startswith(("text", "mbox", "hbox")) and not re.fullmatch(r"[-+\d.,/ ]+", plain)
    ):
        return f"\\text{{{_without_fonts(inner)}}}"
    return _without_fonts(inner)


def with_braces(text: str) -> str:
    r"""`\frac\pi2` as `\frac{\pi}{2}`, `\sqrt2` as `\sqrt{2}`."""
    parts: list[str] = []
    position = 0
    while (found := _TAKES_ARGUMENTS.search(text, position)) is not None:
        parts += (text[position : found.start()], f"\\{found['name']}{found['index'] or ''}")
        position = found.end()
        for _ in range(1 if found["name"] == "sqrt" else 2):
            argument, position = _argument(text, position)
            parts.append(argument)
    return "".join((*parts, text[position:]))


def _argument(text: str, start: int) -> tuple[str, int]:
    """The next argument, in braces, and where it ends; nothing where there is none."""
    brace = start + len(text[start:]) - len(text[start:].lstrip())
    if text[brace : brace + 1] == "{":
        end = group_end(text, brace)
        return (
            ("", start) if end is None else (f"{{{with_braces(text[brace + 1 : end - 1])}}}", end)
        )
    found = _ARGUMENT.match(text, start)
    return ("", start) if found is None else (f"{{{found[1]}}}", found.end())
