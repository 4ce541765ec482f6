"""Log-probabilities of the tokens that a text is made of."""

from collections.abc import Iterator
from dataclasses import replace

from fasttts.decoding.reader import IncrementalDecoder
from fasttts.decoding.tokenizer import Tokenizer
from fasttts.tree import Node
from fasttts.types import TokenLogprob, TokenLogprobs

_LOWEST = -9999.0
"""What stands for the logarithm of 0, which JSON lacks; as in OpenAI's."""


class TokenReader:
    """Reads the tokens of a growing text, so that their texts joined are that text.

    A token that ends inside a character has no text; the character is that of its last token.

    Args:
        tokenizer: The generator's.
        num_likeliest: How many of the likeliest tokens are given beside each.
    """

    def __init__(self, tokenizer: Tokenizer, num_likeliest: int) -> None:
        self._decoder = IncrementalDecoder(tokenizer)
        self._num_likeliest = num_likeliest

    def read(self, token_id: int, found: TokenLogprobs | None) -> TokenLogprob:
        """Reads the next token; one that was not sampled is certain.

        Args:
            token_id: The token.
            found: It and the likeliest tokens there, as the generator reports them; None where it
                was not sampled.
        """
        found = found or TokenLogprobs(token_id, 0.0)
        others = tuple(
            (self._decoder.peek(other), max(value, _LOWEST))
            for other, value in found.likeliest[: self._num_likeliest]
        )
        return TokenLogprob(
            text=self._decoder.push([token_id]),
            logprob=max(found.logprob, _LOWEST),
            likeliest=others,
            distribution=found.distribution,
        )


def text_logprobs(node: Node, tokenizer: Tokenizer, num_likeliest: int) -> Iterator[TokenLogprob]:
    """Yields the tokens of a node's text with their log-probabilities; joined they are the text.

    Neither the end of a turn nor a stop string is a part of the text. Of a token in which a stop
    string begins, the text before that is given.

    Args:
        node: A node whose search asked for them; it has ended.
        tokenizer: The generator's.
        num_likeliest: How many of the likeliest tokens are given beside each.
    """
    reader, num_left = TokenReader(tokenizer, num_likeliest), len(node.text)
    last: TokenLogprob | None = None
    for token_id, found in zip(node.token_ids, node.logprobs, strict=True):
        if token_id in tokenizer.eos_token_ids or num_left <= 0:
            break
        if last is not None:
            yield last
        last = reader.read(token_id, found)
        num_left -= len(last.text)
    if last is not None:
        # The end of the text may be in a stop string, or in a character that is never completed.
        rest = node.text[len(node.text) - num_left - len(last.text) :]
        yield replace(last, text=rest)
