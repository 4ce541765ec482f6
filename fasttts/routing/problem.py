"""Whether a turn of a conversation holds a problem: something that has to be worked out.

In doubt it does. It holds none only where it is short, nothing in it asks for work, and it speaks
of those who talk, or is a courtesy: a greeting, thanks, "who are you?", "I like cats".
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from fasttts.routing.problem_words import (
    COURTESY,
    FIRST_PERSON,
    INTERROGATIVE,
    PLEASANTRIES,
    SECOND_PERSON,
    WORKING_OUT,
)
from fasttts.types import Message

MAX_REMARK_WORDS = 8
"""Longer turns hold a problem."""

_MAX_REMARK_CHARACTERS = 120
_MAX_QUESTION_WORDS = 6
"""Most words of a question about the one who is asked."""

_MAX_REST_WORDS = 3
"""Most words around a courtesy."""

_QUESTION_MARKS = ("?", "？", "؟")

_EMOTICON = re.compile(r"(?<!\w)[:;]-?[)(DPpOo/|*]+(?!\w)")
_NOTATION = frozenset("+<=>^*/%$\\`{}[]#_@&°√")
_ONE = "一"
"""A number that most Chinese and Japanese texts hold, as a part of other words."""

_EMOJI_STYLE = "\ufe0f"
"""Follows a sign that is to be shown as an emoji."""

_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
)


def _plain_text(text: str) -> str:
    """Returns the text in a compatible form and lower case, without emoticons."""
    return _EMOTICON.sub(" ", unicodedata.normalize("NFKC", text)).lower()


def _has_notation(text: str) -> bool:
    """Whether a text holds numbers, or signs of mathematics or code."""
    return any(
        char in _NOTATION
        or (char.isnumeric() and char != _ONE)
        or (ord(char) > 127 and unicodedata.category(char) == "Sm")
        for char in text
    )


def _spaced_words(text: str) -> str:
    """Returns the words of a text between single spaces, without its punctuation and emoji."""
    kept = (
        " " if unicodedata.category(char)[0] in "PSZC" or char == _EMOJI_STYLE else char
        for char in text
    )
    return f" {' '.join(''.join(kept).split())} "


def _is_unspaced(text: str) -> bool:
    """Whether a text holds a script that writes words without spaces, or joins them."""
    return _UNSPACED.search(text) is not None


def _num_words(text: str) -> int:
    """Counts words; of scripts without spaces, two characters count as one."""
    unspaced = len(_UNSPACED.findall(text))
    return len(_UNSPACED.sub(" ", text).split()) + (unspaced + 1) // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Lexicon:
    """Entries to find in a text of words between single spaces.

    Attributes:
        words: Found as whole words.
        beginnings: Found where a word begins.
        parts: Found anywhere: phrases between spaces, and entries in scripts without spaces.
    """

    words: frozenset[str]
    beginnings: tuple[str, ...]
    parts: tuple[str, ...]

    @classmethod
    def of(cls, entries: str) -> Self:
        """Reads a list of entries, separated by white space."""
        words: list[str] = []
        beginnings: list[str] = []
        parts: list[str] = []
        for entry in entries.split():
            spaced = entry.replace("_", " ")
            if _is_unspaced(entry[0]):
                parts.append(spaced)
            elif entry.endswith("*"):
                beginnings.append(f" {spaced[:-1]}")
            elif "_" in entry:
                parts.append(f" {spaced} ")
            else:
                words.append(entry)
        return cls(words=frozenset(words), beginnings=tuple(beginnings), parts=tuple(parts))

    def is_in(self, text: str) -> bool:
        """Whether one of the entries is in a text, which begins and ends with a space."""
        if not self.words.isdisjoint(text.split()):
            return True
        return any(entry in text for entry in (*self.beginnings, *self.parts))

    def removed(self, text: str) -> str:
        """The text without the words and phrases of the lexicon."""
        for part in self.parts:
            text = text.replace(part, " ")
        kept = (word for word in text.split() if word not in self.words)
        return f" {' '.join(kept)} "


_WORKING_OUT = Lexicon.of(WORKING_OUT)
_INTERROGATIVE = Lexicon.of(INTERROGATIVE)
_SECOND_PERSON = Lexicon.of(SECOND_PERSON)
_FIRST_PERSON = Lexicon.of(FIRST_PERSON)
_COURTESY = Lexicon.of(COURTESY)
_PLEASANTRIES = Lexicon.of(PLEASANTRIES)


def has_problem(messages: Sequence[Message]) -> bool:
    """Whether the last turn of a conversation holds a problem, or goes on with an earlier one.

    Once there was a problem, a remark is about it, unless it is a courtesy that answers nothing.

    Args:
        messages: The conversation.
    """
    if not messages or messages[-1]["role"] != "user":
        return True
    start = len(messages)
    while start and messages[start - 1]["role"] == "user":
        start -= 1
    turn = "\n".join(_text(message) for message in messages[start:])
    if not is_remark(turn):
        return True
    earlier = messages[:start]
    if not any(m["role"] == "user" and not is_remark(_text(m)) for m in earlier):
        return False
    return not is_courtesy(turn) or _is_question(_text(earlier[-1]))


def is_remark(text: str) -> bool:
    """Whether a text holds no problem for certain."""
    if len(text) > _MAX_REMARK_CHARACTERS:
        return False
    plain = _plain_text(text)
    if _has_notation(plain):
        return False
    words = _spaced_words(plain)
    asked = _PLEASANTRIES.removed(words)
    if _num_words(asked) > MAX_REMARK_WORDS or _WORKING_OUT.is_in(asked):
        return False
    rest = _COURTESY.removed(asked)
    is_about_you = _SECOND_PERSON.is_in(asked)
    is_asking = _is_question(plain) and (asked == words or _num_words(rest) > 1)
    if rest.strip() and (is_asking or _INTERROGATIVE.is_in(asked)):
        return is_about_you and _num_words(rest) <= _MAX_QUESTION_WORDS
    is_polite = rest != words and _num_words(rest) <= _MAX_REST_WORDS
    return not rest.strip() or is_polite or is_about_you or _FIRST_PERSON.is_in(asked)


def is_courtesy(text: str) -> bool:
    """Whether a remark greets, thanks, or says how something was received, and asks nothing."""
    words = _spaced_words(_plain_text(text))
    return not _is_question(text) and (not words.strip() or _COURTESY.is_in(words))


def _is_question(text: str) -> bool:
    return any(mark in text for mark in _QUESTION_MARKS)


def _text(message: Message) -> str:
    return str(message.get("content") or "")
