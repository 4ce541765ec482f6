"""The protocol of a tokenizer: text to tokens and back."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from fasttts.types import Message


class Tokenizer(Protocol):
    """Text to tokens and back, for the generator's model."""

    @property
    def eos_token_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""
        ...

    def encode_chat(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None
    ) -> list[int]:
        """The messages through the model's chat template, ready for the assistant's turn.

        Raises:
            ConfigurationError: The model has no chat template, or it rejects the messages.
        """
        ...

    def encode(self, text: str) -> list[int]:
        """Plain text, without special tokens added."""
        ...

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of the tokens; special tokens (end of turn, chat markers) are left out."""
        ...
