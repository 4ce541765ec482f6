"""Text deltas of a growing answer."""

from collections.abc import Sequence

from fasttts.decoding.reader import IncrementalDecoder, StopScan
from fasttts.decoding.tokenizer import Tokenizer


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
