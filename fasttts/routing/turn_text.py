"""The text of a turn, brought into a form in which words are found."""

import re
import unicodedata

_EMOTICON = re.compile(r"(?<!\w)[:;]-?[)(DPpOo/|*]+(?!\w)")
_NOTATION = frozenset("+<=>^*/%$\\`{}[]#_@&°√")
_ONE = "一"
"""A number that most Chinese and Japanese texts hold, as a part of other words."""

_EMOJI_STYLE = "\ufe0f"
"""Follows a sign that is to be shown as an emoji."""

_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
)


def plain_text(text: str) -> str:
    """Returns the text in a compatible form and lower case, without emoticons."""
    return _EMOTICON.sub(" ", unicodedata.normalize("NFKC", text)).lower()


def has_notation(text: str) -> bool:
    """Whether a text holds numbers, or signs of mathematics or code."""
    return any(
        char in _NOTATION
        or (char.isnumeric() and char != _ONE)
        or (ord(char) > 127 and unicodedata.category(char) == "Sm")
        for char in text
    )


def spaced_words(text: str) -> str:
    """Returns the words of a text between single spaces, without its punctuation and emoji."""
    kept = (
        " " if unicodedata.category(char)[0] in "PSZC" or char == _EMOJI_STYLE else char
        for char in text
    )
    return f" {' '.join(''.join(kept).split())} "


def is_unspaced(text: str) -> bool:
    """Whether a text holds a script that writes words without spaces, or joins them."""
    return _UNSPACED.search(text) is not None


def num_words(text: str) -> int:
    """Counts words; of scripts without spaces, two characters count as one."""
    unspaced = len(_UNSPACED.findall(text))
    return len(_UNSPACED.sub(" ", text).split()) + (unspaced + 1) // 2
