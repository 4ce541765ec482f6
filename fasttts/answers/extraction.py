r"""Where in a candidate's text its answer stands.

The rules follow what published evaluations look for: the last `\boxed{}` (MATH, Hendrycks et al.
2021, arXiv 2103.03874), "the answer is" (chain of thought, Wei et al. 2022, arXiv 2201.11903),
`####` (GSM8K, Cobbe et al. 2021, arXiv 2110.14168), else the last number. Every rule reads the
text once, so that a model that repeats itself for pages costs no more than its length.
"""

import collections
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn, TypeVar

from fasttts.answers.canonical_json import canonical_json
from fasttts.config import JSON_FIELD

Extractor = Callable[[str], str | None]
"""A candidate's text to its answer; None where it has none.

It may raise `MalformedAnswer`.
"""


class MalformedAnswer(ValueError):
    """What a text should hold cannot be read: its candidate lost, whatever its score."""


_BRACES = re.compile(r"(?P<box>\\(?:boxed|fbox)\s*\{)|\\.|(?P<open>\{)|(?P<close>\})", re.DOTALL)
_STATED = re.compile(
    r"\banswers?\b(?:\s(?:to|for)\b[^.:\n]{0,80}?)?\W{0,4}(?:\b(?:is|are)\b|[:=])[\s:=*_]*"
    r"|^[ \t]*####[ \t]*",
    re.IGNORECASE | re.MULTILINE,
)
_MATH = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_SENTENCE_END = re.compile(r"\n|[.!?](?=\s|[*_)\]\"']*\s*$)|[.!?][*_]+(?=\s)")
_NUMBER = re.compile(
    r"(?:(?<![\w.)\]}])[+\-\u2212])?"  # a sign, unless it subtracts
    r"(?:\\[dt]?frac\s*(?:\{\s*-?\d+\s*\}|\d)\s*(?:\{\s*\d+\s*\}|\d)"
    r"|(?<![\w.])(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][+-]?\d+(?!\w))?(?:/\d+)?"
    r"|(?<![\w.])\.\d+)(?:\s?\\?%)?"
)
_FENCE = re.compile(r"^[ \t]*```([^`\n]*)$", re.MULTILINE)
_LETTER = r"(?:\\(?:text|textbf|mathrm|mathbf)\s*\{\s*)?\(?([A-J])(?![\w'’])"
_CHOICE = re.compile(rf"^[\s*_$({{]*{_LETTER}")
_NAMED_CHOICE = re.compile(rf"\b(?:option|choice)\b[\s:*_$]*{_LETTER}", re.IGNORECASE)
_LONE_CHOICE = re.compile(r"\(([A-J])\)|^[\s*_]*([A-J])[\s.):*_]*$", re.MULTILINE)


def extract_boxed(text: str) -> str | None:
    r"""Content of the last complete `\boxed{...}` or `\fbox{...}`, braces matched; else None."""
    opened: list[int | None] = []
    last: tuple[int, int] | None = None
    for token in _BRACES.finditer(text):
        if token["box"]:
            opened.append(token.end())
        elif token["open"]:
            opened.append(None)
        elif token["close"] and opened:
            start = opened.pop()
            if start is not None and (last is None or start > last[0]):
                last = start, token.start()
    return text[slice(*last)].strip() if last else None


def extract_answer_is(text: str) -> str | None:
    """What follows the last "answer is", "answer:" or `####`, to the end of its sentence."""
    starts = collections.deque((found.end() for found in _STATED.finditer(text)), _MAX_STATEMENTS)
    answers = (_first_expression(_paragraph(text, start)) for start in reversed(starts))
    return next(filter(None, answers), None)


def extract_last_number(text: str) -> str | None:
    """The last number, as written: sign, thousands, decimals, exponent, fraction, percent."""
    last = None
    for match in _NUMBER.finditer(text):
        last = match[0].strip()
    return last


def extract_choice(text: str) -> str | None:
    """The letter (A to J) of a multiple-choice answer.

    Looked for in the box, behind "answer is", behind "option", then alone: `(B)` or a line `B`.
    """
    for stated in (extract_boxed(text), extract_answer_is(text)):
        if stated is None:
            continue
        found = _CHOICE.match(stated) or _NAMED_CHOICE.search(stated)
        if found:
            return found[1].upper()
    named = _last(_NAMED_CHOICE.finditer(text)) or _last(_LONE_CHOICE.finditer(text))
    return next(letter for letter in named.groups() if letter).upper() if named else None


def extract_code(text: str) -> str | None:
    """Content of the last fenced code block that is closed."""
    last, start = None, None
    for fence in _FENCE.finditer(text):
        if start is None:
            start = fence.end() + 1
        elif not fence[1].strip():
            last, start = text[start : fence.start()], None
    return None if last is None else last.rstrip("\n")


def extract_json(text: str, field: str) -> str | None:
    """`field` of the last JSON object that has it; a dotted field reaches into objects.

    Strings come as they are, other values as JSON; null is no answer.
    """
    last = None
    for found in _json_objects(text):
        value: Any = found
        for name in field.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is not None:
            last = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return last


def extract_object(text: str) -> str | None:
    """The last JSON object, in one spelling for all that are equal."""
    found = _last(_json_objects(text))
    return None if found is None else canonical_json(found)


def extract_auto(text: str) -> str | None:
    """The last box; without one, what is stated as the answer. A bare number is neither."""
    boxed = extract_boxed(text)
    return extract_answer_is(text) if boxed is None else boxed


EXTRACTORS: Mapping[str, Extractor] = {
    "auto": extract_auto,
    "boxed": extract_boxed,
    "answer_is": extract_answer_is,
    "last_number": extract_last_number,
    "choice": extract_choice,
    "code": extract_code,
    "json": extract_object,
}
"""The rules by their name in `SearchConfig.answer`; `json:<field>` is the one with a parameter."""


def make_extractor(rule: str) -> Extractor:
    """The extractor that a checked `SearchConfig.answer` names."""
    if rule.startswith(JSON_FIELD):
        return lambda text: extract_json(text, rule.removeprefix(JSON_FIELD))
    return EXTRACTORS[rule]


_MAX_STATEMENTS = 64
_MAX_STATEMENT_CHARACTERS = 2_000
"""Statements looked at, from the last, and how far each is read: together they bound the work."""


def _paragraph(text: str, start: int) -> str:
    """What follows `start` up to a blank line."""
    return text[start : start + _MAX_STATEMENT_CHARACTERS].lstrip().split("\n\n", 1)[0]


def _first_expression(statement: str) -> str | None:
    """Mathematics between delimiters if the statement begins with it, else its first sentence."""
    boxed = extract_boxed(statement)
    if boxed is not None:
        return boxed
    statement = statement.strip()
    math = _MATH.match(statement)
    if math:
        return next(part for part in math.groups() if part).strip()
    end = _SENTENCE_END.search(statement)
    return (statement[: end.start()] if end else statement).strip(" \t*_`\"'“”:,") or None


Found = TypeVar("Found")


def _last(matches: Iterator[Found]) -> Found | None:
    last = None
    for match in matches:
        last = match
    return last


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_MAX_FAILED_OBJECTS = 256
"""Braces that may turn out not to begin JSON: each costs a look at what follows."""


def _json_objects(text: str) -> Iterator[Mapping[str, Any]]:
    """The outermost JSON objects in a text, in order."""
    decoder = json.JSONDecoder(parse_constant=_no_number)
    position, num_failed = text.find("{"), 0
    while position >= 0 and num_failed < _MAX_FAILED_OBJECTS:
        try:
            found, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            num_failed, end = num_failed + 1, position + 1
        else:
            yield found
        position = text.find("{", end)
