"""The generator's tokenizer: chat templates, encoding and decoding."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fasttts.errors import BackendError, ConfigurationError, Role
from fasttts.types import Message

if TYPE_CHECKING:
    from llguidance import LLTokenizer

_END_OF_TURN = "<|im_end|>"


def check_tokenizer_file(role: Role, folder: Path) -> None:
    """Checks a model's `tokenizer.json`, if it has one.

    Args:
        role: The model's role, for messages.
        folder: The model's directory.

    Raises:
        ConfigurationError: The file describes no tokenizer.
    """
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    try:
        if file.is_file():
            Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing more special
        raise ConfigurationError(
            f"{role}='{file}' describes no tokenizer ({error}): copy the file again"
        ) from error


class _Words:
    """A vocabulary in the form that llguidance expects.

    Args:
        tokens: The bytes of every token.
        special_token_ids: Tokens that are no text.
        tokenizer: Encodes text.
    """

    def __init__(
        self, tokens: Sequence[bytes], special_token_ids: set[int], tokenizer: "ChatTokenizer"
    ) -> None:
        self.eos_token_id, self.bos_token_id = min(tokenizer.eos_token_ids), None
        self.tokens, self.special_token_ids = tokens, sorted(special_token_ids)
        self._encode = tokenizer.encode

    def __call__(self, text: bytes) -> list[int]:
        return self._encode(text.decode(errors="replace"))


class ChatTokenizer:
    """`decoding.tokenizer.Tokenizer` around a transformers tokenizer.

    Args:
        tokenizer: A fast tokenizer, as vLLM loads it.
        name: The model, for messages.
        eos_token_ids: Ends of an answer beyond the tokenizer's own, from `generation_config.json`.
    """

    def __init__(self, tokenizer: Any, name: str, eos_token_ids: Iterable[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._name = name
        self._backend = tokenizer.backend_tokenizer
        self._eos_token_ids = frozenset(eos_token_ids) | self._own_eos_token_ids()

    def _own_eos_token_ids(self) -> frozenset[int]:
        own = (self._tokenizer.eos_token_id, self._backend.token_to_id(_END_OF_TURN))
        return frozenset(token_id for token_id in own if token_id is not None)

    @property
    def backend(self) -> Any:
        """The transformers tokenizer itself."""
        return self._tokenizer

    @property
    def eos_token_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""
        return self._eos_token_ids

    @property
    def bos_token_id(self) -> int | None:
        """The token that begins a text; None where the model has none."""
        token_id: int | None = self._tokenizer.bos_token_id
        return token_id

    def vocabulary(self, vocab_size: int) -> "LLTokenizer":
        """Converts the tokens for llguidance.

        Args:
            vocab_size: Width of the model's logits.

        Raises:
            BackendError: llguidance cannot read this tokenizer.
        """
        from llguidance import LLTokenizer
        from llguidance._tokenizer import TokenizerWrapper
        from llguidance.hf import from_tokenizer

        eos_token_ids = sorted(self._eos_token_ids)
        try:
            read = from_tokenizer(self._tokenizer, vocab_size, eos_token_ids)
        except Exception as error:  # the library raises nothing more special
            message = (
                f"structured outputs do not work with the tokenizer of {self._name!r}: {error}"
            )
            raise BackendError(message, role="generator") from error
        # llguidance 1.7 treats every added token that looks like a tag as a special one, so that
        # `<tool_call>` as a text could not be written with the token of that name.
        special = {i for i, token in self._tokenizer.added_tokens_decoder.items() if token.special}
        tokens = [read.decode_bytes([token_id]) for token_id in range(vocab_size)]
        words = _Words(tokens, special | {i for i, token in enumerate(tokens) if not token}, self)
        return LLTokenizer(TokenizerWrapper(words), vocab_size, eos_token_ids)

    def encode_chat(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None
    ) -> list[int]:
        """Renders the messages with the model's chat template; see `decoding.tokenizer.Tokenizer`.

        Text is encoded as the template wrote it, without further special tokens.
        """
        return self._encode_chat(messages, tools, opens_turn=True)

    def encode_conversation(self, messages: Sequence[Message]) -> list[int]:
        """Renders a finished conversation with the chat template, without opening another turn.

        Raises:
            ConfigurationError: The model has no chat template, or it rejects the messages.
        """
        return self._encode_chat(messages, None, opens_turn=False)

    def _encode_chat(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None,
        *,
        opens_turn: bool,
    ) -> list[int]:
        if not getattr(self._tokenizer, "chat_template", None):
            raise ConfigurationError(
                f"{self._name!r} has no chat template: use an instruction-tuned model, or add "
                "chat_template.jinja to its directory"
            )
        try:
            text = self._tokenizer.apply_chat_template(
                [_templated(message) for message in messages],
                tools=list(tools) if tools else None,
                add_generation_prompt=opens_turn,
                tokenize=False,
            )
        except Exception as error:  # templates may raise anything
            raise ConfigurationError(
                f"the chat template of {self._name!r} rejects the messages: {error}"
            ) from error
        return self.encode(text)

    def encode(self, text: str) -> list[int]:
        """Encodes plain text, without special tokens added."""
        ids: list[int] = self._backend.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, token_ids: Sequence[int]) -> str:
        """Decodes tokens; special tokens are left out."""
        text: str = self._backend.decode(list(token_ids), skip_special_tokens=True)
        return text


def _templated(message: Message) -> dict[str, Any]:
    """A message as templates expect it: with a text, and arguments of calls as objects."""
    templated = {**message, "content": message.get("content") or ""}
    if message.get("tool_calls"):
        templated["tool_calls"] = [_templated_call(call) for call in message["tool_calls"]]
    return templated


def _templated_call(call: Mapping[str, Any]) -> dict[str, Any]:
    if "function" not in call:
        return dict(call)
    return {**call, "function": _with_parsed_arguments(call["function"])}


def _with_parsed_arguments(function: Mapping[str, Any]) -> dict[str, Any]:
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        return dict(function)
    try:
        return {**function, "arguments": json.loads(arguments)}
    except ValueError:
        return dict(function)
