"""The generator's tokenizer: chat templates, encoding and decoding."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fasttts.backends.vllm.plain_text import PlacedToken, PlainTextEncoder
from fasttts.backends.vllm.vocabulary import llguidance_tokenizer
from fasttts.config.template_switches import unknown_switch
from fasttts.decoding.content_mask import ContentMask, MaskedChat
from fasttts.decoding.control_tokens import control_tokens
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


class ChatTokenizer:
    """`decoding.tokenizer.Tokenizer` around a transformers tokenizer.

    Args:
        tokenizer: A fast tokenizer, as vLLM loads it.
        name: The model, for messages.
        eos_token_ids: Ends of an answer beyond the tokenizer's own, from `generation_config.json`.
        allow_control_tokens: Whether control tokens in contents stay control tokens, which is
            unsafe.
    """

    def __init__(
        self,
        tokenizer: Any,
        name: str,
        eos_token_ids: Iterable[int] = (),
        *,
        allow_control_tokens: bool = False,
    ) -> None:
        self._tokenizer = tokenizer
        self._name = name
        self._backend = tokenizer.backend_tokenizer
        self._eos_token_ids = frozenset(eos_token_ids) | self._own_eos_token_ids()
        template = str(getattr(tokenizer, "chat_template", None) or "")
        added = {} if allow_control_tokens else tokenizer.added_tokens_decoder
        self._controls = control_tokens(added, template)
        self._plain = PlainTextEncoder(self._backend, self._controls, name)
        find = self._control_spans if self._normalizes_controls(added) else None
        self._mask = ContentMask(self._controls.values(), template, find)

    def _normalizes_controls(self, added: Mapping[int, Any]) -> bool:
        is_normalized = any(added[token_id].normalized for token_id in self._controls)
        return is_normalized and self._backend.normalizer is not None

    def _control_spans(self, text: str) -> list[tuple[int, int]]:
        placed = self._plain.placed(text, self._encode(text))
        return [(token.start, token.end) for token in placed]

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

    @property
    def text_start_ids(self) -> tuple[int, ...]:
        """The tokens that the model's own tokenizer puts before every text."""
        begun: list[int] = self._backend.encode("", add_special_tokens=True).ids
        return tuple(begun[:1]) if begun[:1] == [self.bos_token_id] else ()

    def vocabulary(self, vocab_size: int) -> "LLTokenizer":
        """Converts the tokens for llguidance.

        Args:
            vocab_size: Width of the model's logits.

        Raises:
            BackendError: llguidance cannot read this tokenizer.
        """
        try:
            return llguidance_tokenizer(
                self._tokenizer, vocab_size, self._eos_token_ids, self.encode
            )
        except Exception as error:  # the library raises nothing more special
            message = (
                f"structured outputs do not work with the tokenizer of {self._name!r}: {error}"
            )
            raise BackendError(message, role="generator") from error

    def encode_chat(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> list[int]:
        """Renders the messages with the model's chat template; see `decoding.tokenizer.Tokenizer`.

        Text is encoded as the template wrote it, without further special tokens; control tokens
        that contents spell become text.
        """
        switches = chat_template_kwargs or {}
        template = str(getattr(self._tokenizer, "chat_template", None) or "")
        if template and (unknown := unknown_switch(switches, template)) is not None:
            raise ConfigurationError(
                f"chat_template_kwargs={dict(switches)}: the chat template of {self._name!r} has "
                f"no {unknown!r}: leave it out"
            )
        return self._encode_chat(messages, tools, switches, opens_turn=True)

    def encode_conversation(self, messages: Sequence[Message]) -> list[int]:
        """Renders a finished conversation with the chat template, without opening another turn.

        Raises:
            ConfigurationError: The model has no chat template, or it rejects the messages.
        """
        return self._encode_chat(messages, None, {}, opens_turn=False)

    def encode_reply(self, messages: Sequence[Message], opening: str) -> list[int]:
        """Renders a conversation and opens the assistant's turn, whose text begins with `opening`.

        Args:
            messages: The conversation.
            opening: Text that is no content: control tokens in it are control tokens.

        Raises:
            ConfigurationError: The model has no chat template, or it rejects the messages.
        """
        return self._encode_chat(messages, None, {}, opens_turn=True, opening=opening)

    def _encode_chat(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None,
        switches: Mapping[str, Any],
        *,
        opens_turn: bool,
        opening: str = "",
    ) -> list[int]:
        if not getattr(self._tokenizer, "chat_template", None):
            raise ConfigurationError(
                f"{self._name!r} has no chat template: use an instruction-tuned model, or add "
                "chat_template.jinja to its directory"
            )
        templated = [_templated(message) for message in messages]
        text = self._rendered(templated, tools, switches, opens_turn) + opening
        encoding = self._encode(text)
        token_ids: list[int] = encoding.ids
        masked = self._mask.mask(templated, tools or ())
        if masked is None:
            return token_ids
        masked_text = self._rendered(masked.messages, masked.tools, switches, opens_turn) + opening
        placed = self._plain.placed(masked_text, self._encode(masked_text))
        written = self._plain.placed(text, encoding)
        if [token.token_id for token in placed] == [token.token_id for token in written]:
            return token_ids
        return self._plain.encode(_parts(masked_text, placed, masked))

    def _rendered(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None,
        switches: Mapping[str, Any],
        opens_turn: bool,
    ) -> str:
        try:
            text: str = self._tokenizer.apply_chat_template(
                list(messages),
                tools=list(tools) if tools else None,
                add_generation_prompt=opens_turn,
                tokenize=False,
                **switches,
            )
        except Exception as error:  # templates may raise anything
            raise ConfigurationError(
                f"the chat template of {self._name!r} rejects the messages: {error}"
            ) from error
        return text

    def encode(self, text: str) -> list[int]:
        """Encodes plain text, without special tokens added; control tokens in it stay text."""
        encoding = self._encode(text)
        ids: list[int] = encoding.ids
        return self._plain.encode([text]) if self._plain.placed(text, encoding) else ids

    def token_id(self, text: str) -> int | None:
        """Returns the id of a token, which may be a control token; None if `text` is not one."""
        ids: list[int] = self._encode(text).ids
        return ids[0] if len(ids) == 1 else None

    def _encode(self, text: str) -> Any:
        return self._backend.encode(text, add_special_tokens=False)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Decodes tokens; special tokens are left out."""
        text: str = self._backend.decode(list(token_ids), skip_special_tokens=True)
        return text


def _parts(text: str, placed: Sequence[PlacedToken], masked: MaskedChat) -> Iterator[str | int]:
    """Cuts a masked text at its control tokens, and takes the masks off."""
    position = 0
    for token in placed:
        yield masked.unmask(text[position : token.start])
        yield token.token_id
        position = token.end
    yield masked.unmask(text[position:])


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
    except (ValueError, RecursionError):  # of a call that could not be read
        return dict(function)
