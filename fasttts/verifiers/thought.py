"""Bounded thoughts: text that a verifier's model writes before its score is read."""

from collections.abc import Sequence

from fasttts.decoding.tokenizer import Tokenizer

DEFAULT_MAX_THOUGHT_TOKENS = 1024
"""Tokens that a verifier's model may write about each step."""

_TAIL_TOKENS = 32
"""The newest tokens, in which the end of a thought is looked for; it is shorter than these."""


class Thought:
    """A text that the model writes, and the tokens that are put behind it.

    The thought ends at the first `stop`, at the model's own end of the turn, or after `max_tokens`.
    Whatever ended it, the closing follows, so that there is always a position to read a score at.

    Args:
        tokenizer: The model's tokenizer.
        max_tokens: The most tokens of a thought; at least 1.
        stop: The text that ends a thought, and is no part of it.
        stop_id: The token of that text; None where it has several.
        closing_ids: Tokens behind the thought; the score is read at the last one.

    Attributes:
        max_tokens: The most tokens of a thought.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        max_tokens: int,
        stop: str,
        stop_id: int | None = None,
        closing_ids: Sequence[int],
    ) -> None:
        self.max_tokens = max_tokens
        self._tokenizer = tokenizer
        self._stop = stop
        self._ends = tokenizer.eos_token_ids | {stop_id}
        self._closing_ids = tuple(closing_ids)

    @property
    def num_tokens(self) -> int:
        """The most tokens of a thought with its closing."""
        return self.max_tokens + len(self._closing_ids)

    def is_over(self, token_ids: Sequence[int]) -> bool:
        """Whether the newest tokens of a thought end it.

        Args:
            token_ids: Its tokens; asked for again with each new one.
        """
        tail = token_ids[-_TAIL_TOKENS:]
        return not self._ends.isdisjoint(tail) or self._stop in self._tokenizer.decode(tail)

    def closed(self, token_ids: Sequence[int]) -> list[int]:
        """Makes the tokens behind a prompt: the thought without its end, and the closing.

        Args:
            token_ids: The tokens that the model wrote.
        """
        ends = (place for place, token_id in enumerate(token_ids) if token_id in self._ends)
        own = list(token_ids[: next(ends, len(token_ids))])
        kept, stop, _ = self._tokenizer.decode(own).partition(self._stop)
        return [*(self._tokenizer.encode(kept) if stop else own), *self._closing_ids]
