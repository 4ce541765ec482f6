r"""The rules for where in a candidate's text its answer stands, by their names.

They follow what published evaluations look for: the last `\boxed{}` (MATH, Hendrycks et al. 2021,
arXiv 2103.03874), "the answer is" (chain of thought, Wei et al. 2022, arXiv 2201.11903), `####`
(GSM8K, Cobbe et al. 2021, arXiv 2110.14168), else the last number. All of them read what a text
says, without the thoughts before it, and read it once, so that a model that repeats itself for
pages costs no more than its length.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from fasttts.answers.announcements import announcements
from fasttts.answers.boxes import boxed, last_box
from fasttts.answers.choices import choice
from fasttts.answers.json_objects import json_field, json_object
from fasttts.answers.last_number import ends_in_year, last_number
from fasttts.answers.thoughts import without_thoughts
from fasttts.config import JSON_FIELD

Extractor = Callable[[str], str | None]
"""A candidate's text to its answer; None where it has none.

It may raise `MalformedAnswer`. It is given what the text says, without thoughts, unless it has an
attribute `reads_thoughts` that is true. Where it has a method `look_ahead`, that is given the texts
of all candidates of a search before the function is given each, so that it can do slow work on all
of them at once.
"""

Function = TypeVar("Function", bound=Callable[..., object])

_FENCE = re.compile(r"^[ \t]*```([^`\n]*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer found in one text.

    Attributes:
        text: The answer, as it is written there.
        is_announced: Whether the text presents it as its answer. False for the last number of a
            text that presents none; it has a vote only where no candidate announces an answer.
    """

    text: str
    is_announced: bool = True


@dataclass(frozen=True, slots=True)
class AnswerReader:
    """Finds the answer in a text, thoughts aside; an `Extractor` itself.

    Attributes:
        name: What messages call it.
        find: What finds it.
        reads_thoughts: Whether `find` is given thoughts too.
        is_open: Whether every text begins inside thoughts, which its prompt opened.
        is_function: Whether `find` calls a user's function, which may take any time.
        ahead: Is given all texts before `find` is given each; None for nothing.
    """

    name: str
    find: Callable[[str], Answer | None]
    reads_thoughts: bool = False
    is_open: bool = False
    is_function: bool = False
    ahead: Callable[[Sequence[str]], object] | None = None

    def __call__(self, text: str) -> str | None:
        """The answer alone."""
        found = self.read(text)
        return None if found is None else found.text

    def read(self, text: str) -> Answer | None:
        """The answer in a text, and whether it is announced as one."""
        return self.find(self._said(text))

    def look_ahead(self, texts: Sequence[str]) -> None:
        """Tells the function behind it of texts that are going to be read.

        Args:
            texts: The texts.
        """
        if self.ahead is not None:
            self.ahead([self._said(text) for text in texts])

    def _said(self, text: str) -> str:
        return text if self.reads_thoughts else without_thoughts(text, is_open=self.is_open)


def reads_thoughts(function: Function) -> Function:
    """Marks an extractor that is to be given the raw text, thoughts and their markers included."""
    function.reads_thoughts = True  # type: ignore[attr-defined]  # functions take any
    return function


def as_reader(extract: Extractor) -> AnswerReader:
    """Makes a reader of an extractor, whose answers count as announced."""
    if isinstance(extract, AnswerReader):
        return extract
    return AnswerReader(
        name=getattr(extract, "__qualname__", repr(extract)),
        find=functools.partial(_find, extract),
        reads_thoughts=bool(getattr(extract, "reads_thoughts", False)),
        is_function=True,
        ahead=getattr(extract, "look_ahead", None),
    )


def _find(extract: Extractor, text: str) -> Answer | None:
    found = extract(text)
    return None if found is None else Answer(found)


def _find_announced(text: str) -> str | None:
    """The value announced last in words."""
    return next((value for each in announcements(text) if (value := each.value)), None)


def _find_any(text: str) -> Answer | None:
    """The value announced last, in a box or in words; without either, the last number.

    A box holds against words behind it unless these name a value: "the answer is correct, since"
    says nothing new. A box left empty is an answer left out, which words do not fill in.
    """
    box = last_box(text)
    if box is not None and not text[box.start : box.end].strip():
        return Answer("")
    for each in announcements(text):
        if box is not None and (each.start < box.start or not each.is_certain):
            break
        if value := each.value:
            return Answer(value)
    if box is not None:
        return Answer(text[box.start : box.end].strip())
    number = None if ends_in_year(text) else last_number(text)
    return None if number is None else Answer(number, is_announced=False)


def _find_code(text: str) -> str | None:
    """Content of the last fenced code block that is closed."""
    last, start = None, None
    for fence in _FENCE.finditer(text):
        if start is None:
            start = fence.end() + 1
        elif not fence[1].strip():
            last, start = text[start : fence.start()], None
    return None if last is None else last.rstrip("\n")


def _whole(text: str) -> str | None:
    return text.strip() or None


def _reader(name: str, find: Callable[[str], str | None]) -> AnswerReader:
    reader = as_reader(find)
    return AnswerReader(name, reader.find)


EXTRACTORS: Mapping[str, AnswerReader] = {
    "auto": AnswerReader("auto", _find_any),
    "boxed": _reader("boxed", boxed),
    "answer_is": _reader("answer_is", _find_announced),
    "last_number": _reader("last_number", last_number),
    "choice": _reader("choice", choice),
    "code": _reader("code", _find_code),
    "json": _reader("json", json_object),
    "text": _reader("text", _whole),
}
"""The rules by their name in `SearchConfig.answer`; `json:<field>` is the one with a parameter."""

extract_boxed = EXTRACTORS["boxed"]


def make_extractor(rule: str) -> AnswerReader:
    """The extractor that a checked `SearchConfig.answer` names."""
    if rule.startswith(JSON_FIELD):
        field = rule.removeprefix(JSON_FIELD)
        return _reader(rule, functools.partial(json_field, field=field))
    return EXTRACTORS[rule]


def resolve_extractor(
    extract: Extractor | None, rule: str, *, is_open: bool = False
) -> AnswerReader:
    """What finds the answers of a search: the one way to get a reader for its texts.

    Args:
        extract: A user's function, or a reader; None goes by `rule`.
        rule: A checked `SearchConfig.answer`.
        is_open: Whether the prompt opened thoughts, so that every text begins inside them.
    """
    reader = make_extractor(rule) if extract is None else as_reader(extract)
    return dataclasses.replace(reader, is_open=is_open)
