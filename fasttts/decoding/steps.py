"""Where a step ends; the one definition that generator, verifier and display share.

A step is a stretch of text up to and including a separator (a blank line by default). Blank
stretches are not steps: a separator that follows nothing but white space does not end one. Code
between fences is never cut. Of a model that thinks only the thoughts are divided into steps
(`has_thinking`), or all but the thoughts (`skips_thoughts`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from fasttts.decoding.patterns import compile_pattern
from fasttts.decoding.thoughts import THINK, ThoughtMask
from fasttts.decoding.tokenizer import INCOMPLETE

_CLOSING_TAG = THINK.end
_TAGS = re.compile("</?think>")
_FENCE = re.compile(" {0,3}(```|~~~)")
_MARKS = ("```", "~~~")
_FENCE_CHARS = 6

MAX_MATCH_CHARS = 512
"""The longest match of a step pattern: what is longer is not found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepShape:
    """How much text one node of the tree holds, and how it is drawn.

    Attributes:
        num_steps: Steps of a node; None means all text up to the end of the answer.
        is_greedy: Whether its tokens are the most likely ones, whatever the search's temperature.
        thought_tokens: Tokens after which it ends where its answer is inside a thought then;
            elsewhere it goes on. None for any number.
        closes_thought: Whether it begins with the end of the thought, which is not sampled.
        probe: Text that it begins with, in order to ask: what follows, `probe_tokens` of it, is
            part of no answer, and no node follows it. None where it is a part of an answer.
        probe_tokens: Most tokens behind the probe's text.
    """

    num_steps: int | None = 1
    is_greedy: bool = False
    thought_tokens: int | None = None
    closes_thought: bool = False
    probe: str | None = None
    probe_tokens: int = 20


WHOLE_ANSWER = StepShape(num_steps=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRule:
    r"""What ends a step.

    Attributes:
        separator: The text that ends a step.
        pattern: A regular expression of RE2 instead of the separator: the end of a match is the
            end of a step. It is looked for whenever a token arrives, so it should match the
            earliest sign of an end, such as `[.!?]\s`, and nothing that more text would prolong. A
            match has at most `MAX_MATCH_CHARS` characters.
        num_tokens: Tokens of a step instead of both; such steps are cut wherever they reach.
        has_thinking: Whether steps lie between `<think>` and `</think>` alone; what follows is
            the answer, one step. The opening tag may be part of the prompt.
        keeps_code: Whether nothing between two fences (three backticks or tildes at the start of
            a line) ends a step.
        skips_thoughts: Whether a thought is no part of any step, and nothing in it ends one.
        begins_inside: Whether the prompt ends inside a thought.
    """

    separator: str = "\n\n"
    pattern: str | None = None
    num_tokens: int | None = None
    has_thinking: bool = False
    keeps_code: bool = True
    skips_thoughts: bool = False
    begins_inside: bool = False

    def clean(self, text: str) -> str:
        """A step as verifiers and readers see it: without tags and surrounding white space."""
        return (_TAGS.sub("", text) if self.has_thinking else text).strip()

    def thought_mask(self) -> ThoughtMask | None:
        """What blanks the thought of an answer, from the answer's beginning on; None keeps it."""
        return ThoughtMask(is_inside=self.begins_inside) if self.skips_thoughts else None

    def visible(self, text: str, before: str = "") -> str:
        """A text of which the thought is blanked, character by character.

        Args:
            text: The text.
            before: The answer's text before it.
        """
        mask = self.thought_mask()
        return text if mask is None else mask.push(before + text, is_last=True)[len(before) :]

    def may_end_with(self, text: str) -> bool:
        """Whether a token of this text could complete a step; a cheap necessary condition."""
        if self.pattern is not None or INCOMPLETE in text:
            return True
        if self.has_thinking and _CLOSING_TAG[-1] in text:
            return True
        return may_complete(self.separator, text)

    @property
    def max_separator_chars(self) -> int:
        """The longest text that can end a step."""
        return len(self.separator) if self.pattern is None else MAX_MATCH_CHARS

    def separators(self, context: str, text: str) -> Iterator[tuple[int, int]]:
        """Begin and end of every separator of a text, from left to right, without overlap.

        Args:
            context: The character before the text, or none at the beginning of an answer.
            text: Where they are looked for.
        """
        if self.pattern is not None:
            offset = len(context)
            for match in compile_pattern(self.pattern).finditer(context + text, offset):
                yield match.start() - offset, match.end() - offset
            return
        at = text.find(self.separator)
        while at >= 0:
            end = at + len(self.separator)
            yield at, end
            at = text.find(self.separator, end)


def may_complete(wanted: str, token_text: str) -> bool:
    """Whether a token could complete the text `wanted`, by the token's text without neighbours.

    Some tokenizers leave a token's leading space out where it has no neighbour.

    Args:
        wanted: The text to complete, not empty.
        token_text: The token's text, decoded alone.
    """
    return wanted[-1] in token_text or wanted[-1] == " "


class StepScan:
    """Finds where steps end in a text that grows, in time linear in the text.

    Args:
        rule: What ends a step; ends of `num_tokens` cannot be told from text.
        before: The answer's text before the scanned one, in which code or thoughts may have begun.

    Attributes:
        ends: Positions in the scanned text where steps end.
    """

    def __init__(self, rule: StepRule, before: str = "") -> None:
        self.ends: list[int] = []
        self._rule = rule
        self._size = 0
        self._piece: list[str] = []
        """The text behind the last separator."""
        self._tail = ""
        """The end of the text, in which a separator may have begun."""
        self._mask = rule.thought_mask()
        self._num_held = len(before)
        """Characters of the text before that the mask holds back."""
        if self._mask is not None:
            before = self._mask.push(before)
        self._num_held -= len(before)
        self._context = before[-1:]
        """The character before the tail."""
        self._code = _CodeBlocks(before) if rule.keeps_code else None
        self._tag_tail = before[-len(_CLOSING_TAG) + 1 :]
        self._is_closed = rule.has_thinking and _CLOSING_TAG in before

    def push(self, text: str) -> None:
        """Takes text that was added."""
        if self._mask is not None:
            shown = self._mask.push(text)
            text = shown[self._num_held :]
            self._num_held = max(0, self._num_held - len(shown))
        start = self._size - len(self._tail)
        self._size += len(text)
        if self._is_closed:
            return
        self._piece.append(text)
        if self._code is not None:
            self._code.push(text)
        closing = self._closing(text)
        self._take_separators(self._tail + text, start, closing)
        if closing is not None and closing >= 0 and self._cleaned_piece(closing):
            self.ends.append(closing + len(_CLOSING_TAG))

    def _take_separators(self, window: str, start: int, closing: int | None) -> None:
        """Ends the steps before the separators of a window that begins at `start`."""
        limit = len(window) if closing is None else max(0, closing - start)
        searched = 0
        for begin, end in self._rule.separators(self._context, window[:limit]):
            searched = end
            if self._code is not None and start + begin in self._code:
                continue
            if self._cleaned_piece(start + begin):
                self.ends.append(start + end)
            self._piece = [window[end:]]
        kept_from = max(searched, len(window) - self._rule.max_separator_chars + 1, 0)
        self._context = window[kept_from - 1] if kept_from else self._context
        self._tail = window[kept_from:]
        if self._code is not None:
            self._code.forget(start + kept_from)

    def _cleaned_piece(self, end: int) -> str:
        """The text from the last separator to a position, as readers see it."""
        piece = "".join(self._piece)
        self._piece = [piece]
        return self._rule.clean(piece[: len(piece) - (self._size - end)])

    def _closing(self, text: str) -> int | None:
        """Where the closing tag of the thoughts begins, if it became complete."""
        if not self._rule.has_thinking:
            return None
        window = self._tag_tail + text
        at = window.find(_CLOSING_TAG)
        self._tag_tail = window[-len(_CLOSING_TAG) + 1 :]
        if at < 0:
            return None
        self._is_closed = True
        return self._size - len(window) + at


class _CodeBlocks:
    """Stretches of code between fences; one that was not closed reaches to the end.

    Args:
        before: Text before position 0.
    """

    def __init__(self, before: str) -> None:
        self._blocks: list[tuple[int, int]] = []
        self._opened: tuple[str, int] | None = None
        """The fence of the open block, and where it begins."""
        self._position = -len(before)
        self._line_start = self._position
        self._line: str | None = ""
        """The beginning of the last line; None where it can become no fence any more."""
        self.push(before)

    def push(self, text: str) -> None:
        """Takes text that was added."""
        begun = self._line or ""
        if not any(mark in begun + text for mark in _MARKS):  # only the last line can matter yet
            before, newline, text = text.rpartition("\n")
            self._position += len(before)
            text = newline + text
        for number, part in enumerate(text.split("\n")):
            if number:
                self._position += 1
                self._line_start, self._line = self._position, ""
            if self._line is not None:
                self._look(self._line + part[:_FENCE_CHARS])
            self._position += len(part)

    def _look(self, line: str) -> None:
        fence = _FENCE.match(line)
        self._line = None if fence or len(line) >= _FENCE_CHARS else line
        if fence is None:
            return
        if self._opened is None:
            self._opened = (fence[1], self._line_start)
        elif self._opened[0] == fence[1]:
            self._blocks.append((self._opened[1], self._line_start + fence.end()))
            self._opened = None

    def forget(self, position: int) -> None:
        """Drops blocks before a position, about which nobody will ask any more."""
        while self._blocks and self._blocks[0][1] <= position:
            del self._blocks[0]

    def __contains__(self, position: int) -> bool:
        if self._opened is not None and position >= self._opened[1]:
            return True
        return any(begin <= position < end for begin, end in self._blocks)
