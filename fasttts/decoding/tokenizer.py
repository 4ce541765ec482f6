"""The protocol of a tokenizer: text to tokens and back."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from fasttts.types import Message

INCOMPLETE = "\ufffd"
"""What a tokenizer makes of a character whose last bytes are still to come."""


class Tokenizer(Protocol):
    """Converts text to tokens and back, for the generator's model."""

    @property
    def eos_token_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""
        ...

    def encode_chat(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> list[int]:
        """Renders messages with the model's chat template, ready for the assistant's turn.

        The template may write control tokens (ends of turns, markers of roles); what messages and
        tools spell of them is text.

        Args:
            messages: The conversation.
            tools: Tools in OpenAI's form; None where there are none.
            chat_template_kwargs: Switches of the template; left out where there are none.

        Raises:
            ConfigurationError: The model has no chat template, it rejects the messages, or it has
                no such switch.
        """
        ...

    def encode(self, text: str) -> list[int]:
        """Converts plain text to tokens, none of them a control token, without special tokens."""
        ...

    def decode(self, token_ids: Sequence[int]) -> str:
        """Converts tokens to text; special tokens (end of turn, chat markers) are left out."""
        ...


def text_start(tokenizer: Tokenizer) -> tuple[int, ...]:
    """The tokens before every text of a model, from an attribute `text_start_ids`; empty without.

    Prompts that are plain texts begin with them; a chat template writes them itself.
    """
    return tuple(getattr(tokenizer, "text_start_ids", ()))


def text_behind_control(tokenizer: Tokenizer, token_ids: Sequence[int]) -> str:
    """Decodes what stands behind the last control token that decoding leaves out.

    At the end of a prompt this is what the chat template wrote to open the answer: what stands
    before such a token may be content.

    Args:
        tokenizer: The tokenizer.
        token_ids: The end of a prompt; without such a token all of it is decoded.
    """
    for at in range(len(token_ids) - 1, -1, -1):
        # Alone, a space or a part of a character may have no text either.
        if not tokenizer.decode(token_ids[at : at + 1]) and tokenizer.decode(
            token_ids[: at + 1]
        ) == tokenizer.decode(token_ids[:at]):
            return tokenizer.decode(token_ids[at + 1 :])
    return tokenizer.decode(token_ids)
