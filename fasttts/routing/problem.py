"""Whether a turn of a conversation holds a problem: something that has to be worked out.

In doubt it does. It holds none only where it is short, nothing in it asks for work, and it speaks
of those who talk, or is a courtesy: a greeting, thanks, "who are you?", "I like cats".
"""

from collections.abc import Sequence

from fasttts.routing.problem_words import (
    COURTESY,
    FIRST_PERSON,
    INTERROGATIVE,
    PLEASANTRIES,
    SECOND_PERSON,
    WORKING_OUT,
    Lexicon,
)
from fasttts.routing.turn_text import has_notation, num_words, plain_text, spaced_words
from fasttts.types import Message

MAX_REMARK_WORDS = 8
"""Longer turns hold a problem."""

_MAX_REMARK_CHARACTERS = 120
_MAX_QUESTION_WORDS = 6
"""Most words of a question about the one who is asked."""

_MAX_REST_WORDS = 3
"""Most words around a courtesy."""

_QUESTION_MARKS = ("?", "？", "؟")

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
    plain = plain_text(text)
    if has_notation(plain):
        return False
    words = spaced_words(plain)
    asked = _PLEASANTRIES.removed(words)
    if num_words(asked) > MAX_REMARK_WORDS or _WORKING_OUT.is_in(asked):
        return False
    rest = _COURTESY.removed(asked)
    is_about_you = _SECOND_PERSON.is_in(asked)
    is_asking = _is_question(plain) and (asked == words or num_words(rest) > 1)
    if rest.strip() and (is_asking or _INTERROGATIVE.is_in(asked)):
        return is_about_you and num_words(rest) <= _MAX_QUESTION_WORDS
    is_polite = rest != words and num_words(rest) <= _MAX_REST_WORDS
    return not rest.strip() or is_polite or is_about_you or _FIRST_PERSON.is_in(asked)


def is_courtesy(text: str) -> bool:
    """Whether a remark greets, thanks, or says how something was received, and asks nothing."""
    words = spaced_words(plain_text(text))
    return not _is_question(text) and (not words.strip() or _COURTESY.is_in(words))


def _is_question(text: str) -> bool:
    return any(mark in text for mark in _QUESTION_MARKS)


def _text(message: Message) -> str:
    return str(message.get("content") or "")
