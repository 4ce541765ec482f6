"""Text of token ids as they come: decoded piece by piece, in time linear in their number."""

from collections.abc import Iterator, Sequence

from fasttts.decoding.tokenizer import Tokenizer

INCOMPLETE = "\ufffd"
"""What a tokenizer makes of a character whose last bytes are still to come."""

_CONTEXT_TOKENS = 8
"""Tokens decoded together with a new one: some tokenizers render a token by its neighbours."""

_MAX_WINDOW_TOKENS = 64
"""With so many tokens in the window, an incomplete character at its end will not be completed."""


class IncrementalDecoder:
    """The text of a growing sequence of tokens, without decoding it as a whole again.

    Args:
        tokenizer: The generator's.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._window: list[int] = []
        self._num_emitted = 0

    def push(self, token_ids: Sequence[int]) -> str:
        """The text that became certain with these new tokens.

        An incomplete character at the end is held back until its last bytes have come.
        """
        self._window += token_ids
        text = self._tokenizer.decode(self._window)
        certain = text.rstrip(INCOMPLETE)
        if len(certain) < len(text) and len(self._window) <= _MAX_WINDOW_TOKENS:
            new = certain[self._num_emitted :]
            self._num_emitted = max(self._num_emitted, len(certain))
            return new
        new = text[self._num_emitted :]
        self._window = self._window[-_CONTEXT_TOKENS:]
        self._num_emitted = len(self._tokenizer.decode(self._window))
        return new


def find_stop(text: str, stop: Sequence[str]) -> int | None:
    """Where the earliest of the stop strings begins in a text; None where none does.

    Args:
        text: The text to search.
        stop: The stop strings.
    """
    found = [position for s in stop if (position := text.find(s)) >= 0]
    return min(found, default=None)


class StopScan:
    """Finds the first stop string in a text that grows, also where it begins before the text.

    Args:
        stop: The stop strings.
        before: The answer's text before the scanned one.

    Attributes:
        found_at: Where the stop string begins, counted from the scanned text's beginning, so that
            it is negative where it begins before that; None while none is complete.
    """

    def __init__(self, stop: Sequence[str], before: str = "") -> None:
        self.found_at: int | None = None
        self._stop = stop
        self._num_kept = max(map(len, stop), default=1) - 1
        self._tail = before[max(0, len(before) - self._num_kept) :]
        self._size = 0

    def push(self, text: str) -> None:
        """Takes text that was added."""
        if self.found_at is None and self._stop:
            window = self._tail + text
            at = find_stop(window, self._stop)
            if at is not None:
                self.found_at = self._size - len(self._tail) + at
            self._tail = window[max(0, len(window) - self._num_kept) :]
        self._size += len(text)

    def num_certain(self, text: str) -> int:
        """Characters of `text` that neither are a stop string nor could begin one."""
        at = find_stop(text, self._stop)
        if at is not None:
            return at
        return len(text) - next(self._begun(text), 0)

    def _begun(self, text: str) -> Iterator[int]:
        """Lengths of the ends of `text` that a stop string begins with, the longest first."""
        for length in range(min(len(text), self._num_kept), 0, -1):
            if any(s.startswith(text[-length:]) for s in self._stop):
                yield length


class TextStream:
    """Turns the growing token ids of one answer into text deltas that are never taken back.

    Holds back bytes of an incomplete character and text that may become a stop string.

    Args:
        tokenizer: The generator's.
        stop: Strings that end the answer; they are not part of it.
        held: Text before the tokens that was held back, because a stop string may begin in it.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = (), held: str = "") -> None:
        self._decoder = IncrementalDecoder(tokenizer)
        self._scan = StopScan(stop)
        self._held = held
        self._num_emitted = 0

    def push(self, token_ids: Sequence[int]) -> str:
        """The text that became certain with these new tokens."""
        self._held += self._decoder.push(token_ids)
        size = self.num_certain(self._held)
        certain, self._held = self._held[:size], self._held[size:]
        self._num_emitted += size
        return certain

    def num_certain(self, text: str) -> int:
        """Characters of `text` that neither are a stop string nor could begin one."""
        return self._scan.num_certain(text)

    def finish(self, text: str) -> str:
        """What remains of the final text, `held` included, after all that was emitted."""
        return text[self._num_emitted :]
