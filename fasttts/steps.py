"""Where a step ends, on token ids; the one definition that generator, verifier and display share.

A step is a stretch of text up to and including a separator (a blank line by default). Blank
stretches are not steps: a separator that follows nothing but white space does not end one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fasttts.backends.base import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class StepShape:
    """How much text one node of the tree holds.

    `num_separators=None` means all text up to the end of the answer.
    """

    num_separators: int | None = 1


WHOLE_ANSWER = StepShape(num_separators=None)


def split_steps(text: str, separator: str) -> tuple[str, ...]:
    """The steps of `text`, stripped, blank ones left out."""
    return tuple(part.strip() for part in text.split(separator) if part.strip())


_CONTEXT_TOKENS = 8
"""Tokens decoded together with a new one: some tokenizers render a token by its neighbours."""


class StepDetector:
    """Tells from token ids whether the newest token completes a step.

    Text is decoded only when the newest token holds the separator's last character, so that the
    common token costs one dictionary look-up.
    """

    def __init__(self, tokenizer: Tokenizer, separator: str) -> None:
        self._tokenizer = tokenizer
        self._separator = separator
        self._can_end: dict[int, bool] = {}

    def is_step_end(self, token_ids: Sequence[int], num_separators: int) -> bool:
        """Whether the last of `token_ids` (one node's) completes `num_separators` steps."""
        if not self._can_token_end(token_ids[-1]):
            return False
        ended = self._tokenizer.decode(token_ids).split(self._separator)[:-1]
        return sum(1 for part in ended if part.strip()) >= num_separators

    def _can_token_end(self, token_id: int) -> bool:
        known = self._can_end.get(token_id)
        if known is None:
            known = self._separator[-1] in self._tokenizer.decode([token_id])
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
        if text.endswith("\ufffd"):
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
