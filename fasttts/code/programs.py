"""The program in a text that a model wrote: between fences, or without any."""

import itertools
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fasttts.answers.thoughts import without_thoughts
from fasttts.code.tests import CodeTests, preamble

_FENCE = re.compile(r"^[ \t]*+(```++|~~~++)[ \t]*+([^`\n]*+)$", re.MULTILINE)
_LANGUAGES = {"", "python", "py", "python3", "python2"}
_CODE_LINE = re.compile(
    r"\s|$|#|@|[)\]}]|(?:def|class|async|from|import|if|elif|else|for|while|with|try|except"
    r"|finally|return|raise|assert|global|del|pass|print)\b|[A-Za-z_][\w.\[\], :]*+[-+*/|&]?=[^=]"
)
_FIRST_LINE = re.compile(r"^(?:(?:async )?def |class |from \w|import \w|@\w)", re.MULTILINE)
_INDENT = "    "

STEP_JOIN = "\n\n"
"""Stands between steps where their separators were left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program, or the beginning of one.

    Attributes:
        text: The program.
        is_finished: Whether the text that it was found in says that it ends there.
    """

    text: str
    is_finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    language: str
    text: str
    is_closed: bool
    start: int
    end: int


def find_program(text: str, tests: CodeTests) -> Program | None:
    """The program in a text; None where there is none.

    It is the last fenced block of Python that defines a name that the tests use, else the last
    block. A text without fences is a program where its lines look like one. Where the tests have a
    `prompt`, code that does not define their function is taken as the rest of it.

    Args:
        text: What the model wrote; thoughts are left out.
        tests: What the program is for.
    """
    said = without_thoughts(text).replace("\r\n", "\n")
    blocks = [block for block in _blocks(said) if block.language in _LANGUAGES]
    if not blocks:
        found = _unfenced(said, tests)
        return None if found is None else Program(text=_joined(found, tests), is_finished=False)
    defining = [block for block in blocks if _defines(block.text, tests)]
    block = (defining or blocks)[-1]
    if not block.text.strip():
        return None
    return Program(text=_joined(block.text, tests), is_finished=block.is_closed)


def extract_program(text: str, tests: CodeTests) -> str | None:
    """The text of `find_program`.

    Args:
        text: What the model wrote.
        tests: What the program is for.
    """
    found = find_program(text, tests)
    return None if found is None else found.text


def is_cut_in_code(steps: Sequence[str]) -> bool:
    """Whether a step ends inside a fenced block, so that its white space there is lost."""
    ends = itertools.accumulate(len(step) + len(STEP_JOIN) for step in steps[:-1])
    blocks = list(_blocks(STEP_JOIN.join(steps)))
    return any(block.start < end <= block.end for end in ends for block in blocks)


def _blocks(text: str) -> Iterator[_Block]:
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opened is None:
            opened = fence
        elif fence[1][:3] == opened[1][:3] and len(fence[1]) >= len(opened[1]) and not fence[2]:
            yield _block(text, opened, fence.start(), is_closed=True)
            opened = None
    if opened is not None:
        yield _block(text, opened, len(text), is_closed=False)


def _block(text: str, opened: re.Match[str], end: int, *, is_closed: bool) -> _Block:
    words = opened[2].split()
    start = opened.end() + 1
    return _Block(
        language=words[0].lower().strip("{}.") if words else "",
        text=textwrap.dedent(text[start:end]),
        is_closed=is_closed,
        start=start,
        end=end,
    )


def _defines(code: str, tests: CodeTests) -> bool:
    names = "|".join(map(re.escape, tests.names))
    pattern = rf"^(?:(?:async )?def|class) (?:{names})\b|^(?:{names})[ \t]*+(?::[^=\n]*+)?=[^=]"
    return re.search(pattern, code, re.MULTILINE) is not None


def _unfenced(text: str, tests: CodeTests) -> str | None:
    """The lines of a text that look like code, from the first on."""
    first = _FIRST_LINE.search(text)
    if tests.prompt and not _defines(text, tests):
        return _body(text) or None
    if first is None:
        return None
    lines = text[first.start() :].splitlines()
    num_lines = next((i for i, line in enumerate(lines) if not _CODE_LINE.match(line)), len(lines))
    return "\n".join(lines[:num_lines])


def _joined(code: str, tests: CodeTests) -> str:
    """The whole program: with what the prompt has before the function, or all of the prompt."""
    if not tests.prompt:
        return code
    if not _defines(code, tests):
        return tests.prompt.rstrip("\n ") + "\n" + _body(code)
    before = "" if "from __future__" in code else preamble(tests.prompt, tests.names[0])
    return f"{before.rstrip()}\n\n{code}" if before.strip() else code


def _body(text: str) -> str:
    """The body of a function, with the indentation that its first line may have lost.

    It ends where a line is not indented. Text of which a reader has stripped the white space has
    lost that of its first line alone; a body that was written without any has to be indented.
    """
    lines = text.strip("\n").splitlines()
    filled = [line for line in lines if line.strip()]
    if not filled:
        return ""
    if not filled[0][0].isspace():
        depth = 2 * len(_INDENT) if filled[0].rstrip().endswith(":") else len(_INDENT)
        following = filled[1] if len(filled) > 1 else " " * depth
        if len(following) - len(following.lstrip()) >= depth:
            lines[lines.index(filled[0])] = _INDENT + filled[0]
        else:
            lines = [_INDENT + line if line.strip() else "" for line in lines]
    is_out = (i for i, line in enumerate(lines) if line.strip() and not line[0].isspace())
    return "\n".join(lines[: next(is_out, len(lines))])
