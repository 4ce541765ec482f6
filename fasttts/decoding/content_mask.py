"""Masks control tokens that contents spell, while a chat template renders the contents.

A template writes control tokens around contents; contents must not write any. Where a content
spells one, one of its characters is masked, so that only the template's own are left to find.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fasttts.decoding.control_tokens import MARKUP
from fasttts.errors import ConfigurationError
from fasttts.types import Message

_MARKUP = re.compile("|".join(sorted(map(re.escape, MARKUP))))
_MASKS = range(0xE000, 0xF900)
"""Characters for private use, of which no template knows."""

_TEXT_KEYS = ("content", "reasoning_content")
"""Fields of a message that templates write without quotes around them."""

Span = tuple[int, int]
"""Start and end of a part of a text, in characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedChat:
    """A conversation in which contents spell no control token.

    Attributes:
        messages: The messages, masked.
        tools: The tools' schemas, masked.
        masks: The character that each mask stands for.
    """

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    masks: Mapping[str, str]

    def unmask(self, text: str) -> str:
        """Puts the characters back, also where a filter has escaped the masks.

        Args:
            text: A part of the rendered conversation.
        """
        for mask, character in self.masks.items():
            text = text.replace(mask, character).replace(_escaped(mask), character)
        return text


class ContentMask:
    """Masks what contents spell of control tokens.

    It covers whole control tokens, and the beginning or the end of one at an edge of a content:
    the template may write two contents side by side. Edges are also those that templates make when
    they trim a content or split it at `MARKUP`.

    Args:
        controls: The texts of the control tokens.
        template: The source of the chat template.
        find: Finds control tokens that the tokenizer sees in a text though it does not spell them
            exactly, because it normalises texts; None where it does not.
    """

    def __init__(
        self,
        controls: Collection[str],
        template: str,
        find: Callable[[str], Iterable[Span]] | None = None,
    ) -> None:
        longest_first = sorted(controls, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._find = find
        self._template = template
        self._folded = sorted({_folded(text) for text in controls})
        self._longest = max(map(len, self._folded), default=0)
        self._heads = {text[:end] for text in self._folded for end in range(1, len(text))}
        self._tails = {text[start:] for text in self._folded for start in range(1, len(text))}

    def mask(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]
    ) -> MaskedChat | None:
        """Masks a conversation; None where there is nothing to mask.

        Args:
            messages: The messages; every field is a content.
            tools: The tools' schemas.

        Raises:
            ConfigurationError: A value that is neither text nor JSON spells a control token.
        """
        masker = _Masker(self, lambda: f"{messages!r}{tools!r}{self._template}")
        masked = [masker.message(message) for message in messages]
        masked_tools = [masker.value(tool) for tool in tools]
        if not masker.masks:
            return None
        masks = {mask: character for character, mask in masker.masks.items()}
        return MaskedChat(messages=masked, tools=masked_tools, masks=masks)

    def whole(self, text: str) -> list[Span]:
        """Returns where a text spells whole control tokens."""
        spans = [match.span() for match in self._pattern.finditer(text)]
        if self._find is not None:
            spans += self._find(text)
        return [span for span in spans if text[slice(*span)].strip()]

    def edges(self, text: str, *, is_inner: bool) -> list[Span]:
        """Returns where the edges of a text spell a part of a control token.

        Args:
            text: A content.
            is_inner: Whether a content that is an inner part of a control token counts too.
        """
        spans = []
        for start, end in _pieces(text):
            core = _folded(text[start : min(end, start + self._longest)])
            if any(core[:length] in self._tails for length in range(1, len(core) + 1)):
                spans.append((start, start + 1))
            core = _folded(text[max(start, end - self._longest) : end])
            if any(core[-length:] in self._heads for length in range(1, len(core) + 1)):
                spans.append((end - 1, end))
            if is_inner and any(core in control for control in self._folded):
                spans.append((start, start + 1))
        return spans


class _Masker:
    """Masks the values of one conversation.

    Args:
        content_mask: What is masked.
        describe: Shows everything in which masks must not occur.

    Attributes:
        masks: The mask of each masked character.
    """

    def __init__(self, content_mask: ContentMask, describe: Callable[[], str]) -> None:
        self._mask = content_mask
        self._describe = describe
        self._described: str | None = None
        self.masks: dict[str, str] = {}

    def message(self, message: Message) -> dict[str, Any]:
        """Masks every field of a message, in `role` whole control tokens only."""
        return {
            name: self._whole(value)
            if name == "role" and isinstance(value, str)
            else self.value(value, is_inner=name in _TEXT_KEYS)
            for name, value in message.items()
        }

    def value(self, value: Any, *, is_inner: bool = False) -> Any:
        """Masks all texts of a JSON value; names of an object keep their edges."""
        if isinstance(value, str):
            text = self._whole(value)
            return self._masked(text, self._mask.edges(text, is_inner=is_inner))
        if isinstance(value, Mapping):
            return {
                self._whole(key) if isinstance(key, str) else key: self.value(inner)
                for key, inner in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.value(inner) for inner in value]
        if not isinstance(value, bool | int | float | None) and self._mask.whole(str(value)):
            raise ConfigurationError(
                f"a message holds a {type(value).__name__} that spells a control token: pass text"
            )
        return value

    def _whole(self, text: str) -> str:
        """Masks whole control tokens, until none is left.

        Raises:
            ConfigurationError: The tokenizer still sees one where each has been masked.
        """
        while spans := self._mask.whole(text):
            before, text = text, self._masked(text, spans)
            if text == before:
                raise ConfigurationError(f"control tokens cannot be kept out of {before!r}")
        return text

    def _masked(self, text: str, spans: Iterable[Span]) -> str:
        characters = list(text)
        for start, end in spans:
            index = next(i for i in range(start, end) if not text[i].isspace())
            if text[index] not in self.masks.values():
                characters[index] = self._mask_of(text[index])
        return "".join(characters)

    def _mask_of(self, character: str) -> str:
        if character not in self.masks:
            if self._described is None:
                self._described = self._describe()
            taken = self._described, "".join(self.masks.values())
            self.masks[character] = next(
                mask
                for mask in map(chr, _MASKS)
                if all(mask not in text and _escaped(mask) not in text for text in taken)
            )
        return self.masks[character]


def _pieces(text: str) -> list[Span]:
    """The parts of a text between `MARKUP`, without the whitespace around them."""
    tags = [match.span() for match in _MARKUP.finditer(text)]
    starts = [0, *(end for _, end in tags)]
    ends = [*(start for start, _ in tags), len(text)]
    pieces = []
    for start, end in zip(starts, ends, strict=True):
        num_leading = end - start - len(text[start:end].lstrip())
        core = text[start:end].strip()
        if core:
            pieces.append((start + num_leading, start + num_leading + len(core)))
    return pieces


def _folded(text: str) -> str:
    """A form that texts share which a tokenizer's normaliser may make equal."""
    return unicodedata.normalize("NFKC", text).casefold()


def _escaped(character: str) -> str:
    """The character as JSON in ASCII and Python's `repr` write it."""
    return f"\\u{ord(character):04x}"
