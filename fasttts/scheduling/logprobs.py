"""Log-probabilities of a result: of the tokens that its text is made of."""

from collections.abc import Iterator

from fasttts.decoding.tokenizer import Tokenizer
from fasttts.interfaces import TokenLogprobs
from fasttts.tree import Node
from fasttts.types import TokenLogprob

_LOWEST = -9999.0
"""What stands for the logarithm of 0, which JSON lacks; as in OpenAI's."""


def text_logprobs(node: Node, tokenizer: Tokenizer, num_likeliest: int) -> Iterator[TokenLogprob]:
    """Yields the tokens of a node's text with their log-probabilities.

    Neither the end of a turn nor a stop string, from its first token on, is a part of the text.

    Args:
        node: A node whose search asked for them; it has ended.
        tokenizer: The generator's.
        num_likeliest: How many of the likeliest tokens are given beside each.
    """
    num_chars = 0
    for token_id, found in zip(node.token_ids, node.logprobs, strict=True):
        if token_id in tokenizer.eos_token_ids or num_chars >= len(node.text):
            return
        token = _token(found, tokenizer, num_likeliest)
        num_chars += len(token.text)
        yield token


def _token(found: TokenLogprobs, tokenizer: Tokenizer, num_likeliest: int) -> TokenLogprob:
    (token_id, logprob), *likeliest = found
    return TokenLogprob(
        text=tokenizer.decode([token_id]),
        logprob=max(logprob, _LOWEST),
        likeliest=tuple(
            (tokenizer.decode([other]), max(value, _LOWEST))
            for other, value in likeliest[:num_likeliest]
        ),
    )
