"""Support of system messages and tools in a chat template, found by rendering."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fasttts.engine.request import Prompt, is_thinking
from fasttts.errors import ConfigurationError
from fasttts.interfaces import Generator
from fasttts.types import Message

Support = Literal["rendered", "ignored", "refused"]
"""Whether a template writes a part of the conversation, leaves it out, or raises."""

_USER: Message = {"role": "user", "content": "How much is 2 + 2?"}
_SYSTEM: Message = {"role": "system", "content": "Write seven short sentences."}
_CALL: Message = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {
            "id": "call00001",
            "type": "function",
            "function": {"name": "add", "arguments": '{"a": 2, "b": 2}'},
        }
    ],
}
_REPLY: Message = {"role": "tool", "name": "add", "tool_call_id": "call00001", "content": "4711"}
_TOOL: Mapping[str, Any] = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds two numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
            "required": ["a", "b"],
        },
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateFacts:
    """Parts of a conversation that a chat template writes.

    Attributes:
        system: Whether a system message reaches the model.
        tools: Whether the descriptions of tools do.
        tool_replies: Whether the result of a tool does.
        opens_thoughts: Whether the prompt ends inside `<think>`.
    """

    system: Support
    tools: Support
    tool_replies: Support
    opens_thoughts: bool


def examine_template(generator: Generator) -> TemplateFacts:
    """Renders small conversations with and without each part, and compares their tokens.

    Raises:
        ConfigurationError: The model has no chat template, or it rejects a question.
    """
    plain = list(generator.tokenizer.encode_chat([_USER]))
    call = [_USER, _CALL]
    reply = {**_REPLY, "content": "a"}
    return TemplateFacts(
        system=_support(_try_render(generator, [_SYSTEM, _USER]), plain),
        tools=_support(_try_render(generator, [_USER], [_TOOL]), plain),
        tool_replies=_support(
            _try_render(generator, [*call, _REPLY], [_TOOL]),
            _try_render(generator, [*call, reply], [_TOOL]),
        ),
        opens_thoughts=is_thinking(Prompt(token_ids=tuple(plain), problem=""), generator.tokenizer),
    )


def _support(found: Sequence[int] | None, without: Sequence[int] | None) -> Support:
    if found is None:
        return "refused"
    return "ignored" if found == without else "rendered"


def _try_render(
    generator: Generator, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()
) -> list[int] | None:
    try:
        return list(generator.tokenizer.encode_chat(messages, tools or None))
    except ConfigurationError:
        return None
