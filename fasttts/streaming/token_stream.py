"""Text deltas of a growing answer with the log-probabilities of their tokens."""

from collections.abc import Sequence

from fasttts.decoding.tokenizer import Tokenizer
from fasttts.scheduling.logprobs import TokenReader
from fasttts.streaming.text_stream import TextStream
from fasttts.types import TextDelta, TokenLogprob, TokenLogprobs


class TokenStream:
    """Turns new tokens into text deltas that end where tokens do.

    Holds back what `TextStream` does, and the rest of the token that it begins in.

    Args:
        tokenizer: The generator's.
        stop: Strings that end the answer.
        num_likeliest: How many of the likeliest tokens are given beside each.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str], num_likeliest: int) -> None:
        self._reader = TokenReader(tokenizer, num_likeliest)
        self._text = TextStream(tokenizer, stop)
        self._num_certain = 0
        self._num_read = 0
        self._waiting: list[tuple[TokenLogprob, int]] = []
        """Tokens that are not published, each with the end of its text in the answer."""

    def push(
        self, token_ids: Sequence[int], logprobs: Sequence[TokenLogprobs | None]
    ) -> TextDelta | None:
        """The text that became certain with these new tokens, with its tokens; None for none.

        Args:
            token_ids: The new tokens.
            logprobs: For each of them, as the generator reports it; None where it was not sampled.
        """
        self._num_certain += len(self._text.push(token_ids))
        for token_id, found in zip(token_ids, logprobs, strict=True):
            token = self._reader.read(token_id, found)
            self._num_read += len(token.text)
            self._waiting.append((token, self._num_read))
        num_ready = sum(end <= self._num_certain for _, end in self._waiting)
        while num_ready and not self._waiting[num_ready - 1][0].text:
            num_ready -= 1  # it may be a part of the character that comes
        ready = tuple(token for token, _ in self._waiting[:num_ready])
        del self._waiting[:num_ready]
        if not ready:
            return None
        return TextDelta(text="".join(token.text for token in ready), logprobs=ready)
