"""A tokenizer's vocabulary in the form that llguidance expects."""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llguidance import LLTokenizer


class _Words:
    """The argument of llguidance's `TokenizerWrapper`.

    Args:
        tokens: The bytes of every token.
        special_token_ids: Tokens that are no text.
        eos_token_ids: Tokens that end an answer.
        encode: Encodes text.
    """

    def __init__(
        self,
        tokens: Sequence[bytes],
        special_token_ids: set[int],
        eos_token_ids: Collection[int],
        encode: Callable[[str], list[int]],
    ) -> None:
        self.eos_token_id, self.bos_token_id = min(eos_token_ids), None
        self.tokens, self.special_token_ids = tokens, sorted(special_token_ids)
        self._encode = encode

    def __call__(self, text: bytes) -> list[int]:
        return self._encode(text.decode(errors="replace"))


def llguidance_tokenizer(
    tokenizer: Any,
    vocab_size: int,
    eos_token_ids: Collection[int],
    encode: Callable[[str], list[int]],
) -> "LLTokenizer":
    """Converts the tokens for llguidance.

    Args:
        tokenizer: A fast tokenizer of transformers.
        vocab_size: Width of the model's logits.
        eos_token_ids: Tokens that end an answer.
        encode: Encodes text.

    Raises:
        Exception: llguidance cannot read this tokenizer; it raises nothing more special.
    """
    from llguidance import LLTokenizer
    from llguidance._tokenizer import TokenizerWrapper
    from llguidance.hf import from_tokenizer

    read = from_tokenizer(tokenizer, vocab_size, sorted(eos_token_ids))
    # llguidance 1.7 treats every added token that looks like a tag as a special one, so that
    # `<tool_call>` as a text could not be written with the token of that name.
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    tokens = [read.decode_bytes([token_id]) for token_id in range(vocab_size)]
    special |= {i for i, token in enumerate(tokens) if not token}
    words = _Words(tokens, special, eos_token_ids, encode)
    return LLTokenizer(TokenizerWrapper(words), vocab_size, sorted(eos_token_ids))
