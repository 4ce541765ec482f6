"""Where a step ends, on token ids; the one definition that generator, verifier and display share.

A step is a stretch of text up to and including a separator (a blank line by default). Blank
stretches are not steps: a separator that follows nothing but white space does not end one. Code
between fences is never cut, and of a model that thinks only the thoughts are.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fasttts.decoding.tokenizer import Tokenizer

_CLOSING_TAG = "</think>"
_TAGS = re.compile("</?think>")
_FENCE = re.compile(r"^ {0,3}(```|~~~)", re.MULTILINE)
_INCOMPLETE = "\ufffd"
"""What a tokenizer makes of a character whose last bytes are still to come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepShape:
    """How much text one node of the tree holds, and how it is drawn.

    Attributes:
        num_steps: Steps of a node; None means all text up to the end of the answer.
        is_greedy: Whether its tokens are the most likely ones, whatever the search's temperature.
    """

    num_steps: int | None = 1
    is_greedy: bool = False


WHOLE_ANSWER = StepShape(num_steps=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRule:
    r"""What ends a step.

    Attributes:
        separator: The text that ends a step.
        pattern: A regular expression instead of the separator: the end of a match is the end of a
            step. It is looked for whenever a token arrives, so it should match the earliest sign
            of an end, such as `[.!?]\s`, and nothing that more text would prolong.
        num_tokens: Tokens of a step instead of both; such steps are cut wherever they reach.
        has_thinking: Whether steps lie between `<think>` and `</think>` alone; what follows is
            the answer, one step. The opening tag may be part of the prompt.
        keeps_code: Whether nothing between two fences (three backticks or tildes at the start of
            a line) ends a step.
    """

    separator: str = "\n\n"
    pattern: str | None = None
    num_tokens: int | None = None
    has_thinking: bool = False
    keeps_code: bool = True

    def ends(self, text: str, before: str = "") -> Iterator[int]:
        """Positions in `text` where steps end; those of `num_tokens` cannot be told from text.

        Args:
            text: What follows the end of a step.
            before: All of the answer before it.
        """
        whole, start = before + text, len(before)
        closing = whole.find(_CLOSING_TAG) if self.has_thinking else -1
        thoughts = whole if closing < 0 else whole[:closing]
        since = start
        for begin, end in self._separators(thoughts, start):
            if self.clean(whole[since:begin]):
                yield end - start
            since = end
        if closing >= start and self.clean(whole[since:closing]):
            yield closing + len(_CLOSING_TAG) - start

    def clean(self, text: str) -> str:
        """A step as verifiers and readers see it: without tags and surrounding white space."""
        return (_TAGS.sub("", text) if self.has_thinking else text).strip()

    def may_end_with(self, text: str) -> bool:
        """Whether a token of this text could complete a step; a cheap necessary condition."""
        if self.pattern is not None or _INCOMPLETE in text:
            return True
        return self.separator[-1] in text or (self.has_thinking and _CLOSING_TAG[-1] in text)

    def _separators(self, text: str, start: int) -> Iterator[tuple[int, int]]:
        """Begin and end of every separator outside code."""
        code = _fenced(text) if self.keeps_code else []
        for match in re.compile(self.pattern or re.escape(self.separator)).finditer(text, start):
            if not any(begin <= match.start() < end for begin, end in code):
                yield match.span()


def _fenced(text: str) -> list[tuple[int, int]]:
    """Begin and end of every block of code; one that was not closed reaches to the end."""
    blocks, opening = [], None
    for fence in _FENCE.finditer(text):
        if opening is None:
            opening = fence
        elif fence[1] == opening[1]:
            blocks.append((opening.start(), fence.end()))
            opening = None
    return blocks if opening is None else [*blocks, (opening.start(), len(text) + 1)]


_CONTEXT_TOKENS = 8
"""Tokens decoded together with a new one: some tokenizers render a token by its neighbours."""


class StepCutter:
    """Tells from token ids whether the newest token completes a step, and which steps there are.

    Text is decoded only when the newest token could complete a step, so that the common token
    costs one dictionary look-up.

    Args:
        tokenizer: The generator's.
        rule: What ends a step.
    """

    def __init__(self, tokenizer: Tokenizer, rule: StepRule) -> None:
        self._tokenizer = tokenizer
        self._rule = rule
        self._can_end: dict[int, bool] = {}

    def is_step_end(
        self, token_ids: Sequence[int], num_steps: int, before: Callable[[], str] = str
    ) -> bool:
        """Whether the last of `token_ids` completes `num_steps` steps.

        Args:
            token_ids: The tokens of one node.
            num_steps: How many steps it holds.
            before: Gives the answer's text before the node, where it is needed.
        """
        if self._rule.num_tokens is not None:
            return len(token_ids) >= num_steps * self._rule.num_tokens
        if not self._can_token_end(token_ids[-1]):
            return False
        ends = self._rule.ends(self._tokenizer.decode(token_ids), before())
        return sum(1 for _ in ends) >= num_steps

    def split(
        self,
        token_ids: Sequence[int],
        text: str,
        num_steps: int | None = None,
        before: Callable[[], str] = str,
    ) -> tuple[str, ...]:
        """The steps of one node, blank ones left out.

        Args:
            token_ids: The node's tokens.
            text: Their text, up to a stop string.
            num_steps: Most steps of the node, None for any number: what its last token brings
                beyond their end belongs to the last.
            before: Gives the answer's text before the node.
        """
        is_counted = self._rule.num_tokens is not None
        ends = self._counted(token_ids) if is_counted else self._rule.ends(text, before())
        inner = itertools.islice(ends, None if num_steps is None else num_steps - 1)
        bounds = [0, *inner, len(text)]
        pieces = [self._rule.clean(text[i:j]) for i, j in itertools.pairwise(bounds)]
        return tuple(piece for piece in pieces if piece)

    def _counted(self, token_ids: Sequence[int]) -> Iterator[int]:
        """Where the text of every `num_tokens` tokens ends."""
        size = self._rule.num_tokens
        assert size is not None
        for count in range(size, len(token_ids), size):
            yield len(self._tokenizer.decode(token_ids[:count]).rstrip(_INCOMPLETE))

    def _can_token_end(self, token_id: int) -> bool:
        known = self._can_end.get(token_id)
        if known is None:
            known = self._rule.may_end_with(self._tokenizer.decode([token_id]))
            self._can_end[token_id] = known
        return known


def find_stop(text: str, stop: Sequence[str]) -> int | None:
    """Where the earliest of the stop strings begins in `text`."""
    found = [position for s in stop if (position := text.find(s)) >= 0]
    return min(found, default=None)


class TextStream:
    """Turns the growing token ids of one answer into text deltas.

    Holds back bytes of an incomplete character and text that may become a stop string, so that
    what was emitted is never taken back.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._stop = stop
        self._window: list[int] = []
        self._window_text = ""
        self._held = ""
        self._num_emitted = 0

    def push(self, token_ids: Sequence[int]) -> str:
        """The text that became certain with these new tokens."""
        self._window += token_ids
        text = self._tokenizer.decode(self._window)
        if text.endswith(_INCOMPLETE):
            return ""
        self._held += text[len(self._window_text) :]
        self._window = self._window[-_CONTEXT_TOKENS:]
        self._window_text = self._tokenizer.decode(self._window)
        return self._release(self._num_certain())

    def finish(self, text: str) -> str:
        """What remains of the answer's final `text` after all that was emitted."""
        return text[self._num_emitted :]

    def _release(self, size: int) -> str:
        certain, self._held = self._held[:size], self._held[size:]
        self._num_emitted += size
        return certain

    def _num_certain(self) -> int:
        """Characters of the held text that neither are nor could begin a stop string."""
        stop_at = find_stop(self._held, self._stop)
        if stop_at is not None:
            return stop_at
        tails = range(len(self._held), 0, -1)
        begun = (n for n in tails if any(s.startswith(self._held[-n:]) for s in self._stop))
        return len(self._held) - next(begun, 0)
