"""Control tokens: tokens that chat templates and prompt formats write, and that are no text."""

import re
from collections.abc import Mapping
from typing import Protocol

STEP_TAGS = frozenset({"<extra_0>"})
"""Tokens at which verifiers are read, whether or not their tokenizers call them special."""

MARKUP = frozenset({"<think>", "</think>", "<tool_call>", "</tool_call>"})
"""Tokens in which assistants write, where a tokenizer does not call them special: they change
neither who speaks nor where a turn ends."""

_LOOKS_LIKE_CONTROL = re.compile(r"<\|.*\|>|<\uff5c.*\uff5c>", re.DOTALL)


class AddedToken(Protocol):
    """A token that a tokenizer finds before it splits a text into words."""

    @property
    def content(self) -> str:
        """The text of the token."""
        ...

    @property
    def special(self) -> bool:
        """Whether decoding leaves it out."""
        ...


def control_tokens(added: Mapping[int, AddedToken], template: str) -> dict[int, str]:
    """Returns the control tokens of a model, by their ids.

    These are the special tokens, the step tags of verifiers, and of the other added tokens those
    that the chat template writes or that are spelled like control tokens. `MARKUP` is left out, and
    so are words and bare punctuation, which are text.

    Args:
        added: All added tokens of the tokenizer, by their ids.
        template: The source of the chat template; empty where there is none.
    """
    return {
        token_id: token.content
        for token_id, token in added.items()
        if token.content and (token.special or _is_control(token.content, template))
    }


def _is_control(text: str, template: str) -> bool:
    if text in MARKUP:
        return False
    if text in STEP_TAGS or _LOOKS_LIKE_CONTROL.fullmatch(text):
        return True
    has_letter = any(character.isalnum() for character in text)
    has_mark = any(not character.isalnum() and not character.isspace() for character in text)
    return has_letter and has_mark and text in template
