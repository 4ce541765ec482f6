"""Converts LangChain messages to the engine's, and replies to LangChain messages."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call

from fasttts.chat import Reply, written_call
from fasttts.errors import ConfigurationError, shown, wrong_type
from fasttts.types import Message

_THOUGHTS = ("reasoning", "reasoning_content", "thinking", "redacted_thinking")
"""Content blocks of an assistant that models are not shown again."""

_CALLS = (
    "tool_call",
    "tool_call_chunk",
    "tool_use",
    "function_call",
    "input_json_delta",
    "invalid_tool_call",
)
"""Content blocks of an assistant that repeat its `tool_calls` and `invalid_tool_calls`."""


def engine_messages(messages: Sequence[BaseMessage]) -> list[Message]:
    """Converts messages to the engine's form.

    A call that could not be read is written as its model wrote it, so that its result is not alone.

    Raises:
        ConfigurationError: A message has content other than text, a call that cannot be written,
            or no role in a chat.
    """
    if not isinstance(messages, Sequence):
        raise wrong_type("messages", messages, "a list of LangChain messages")
    return [_engine_message(message) for message in messages]


def reply_message(reply: Reply, metadata: dict[str, Any], usage: UsageMetadata) -> AIMessage:
    """Converts a reply; `engine_messages` restores the model's message from it.

    Args:
        reply: The reply.
        metadata: The message's `response_metadata`.
        usage: Token counts of the call.
    """
    calls = [tool_call(name=call.name, args=call.arguments, id=call.id) for call in reply.calls]
    return AIMessage(
        content=reply.content,
        additional_kwargs=reasoning_kwargs(reply.reasoning),
        tool_calls=calls,
        response_metadata=metadata,
        usage_metadata=usage,
    )


def reasoning_kwargs(text: str) -> dict[str, Any]:
    """Thoughts under the key that LangChain's standard content reads; empty without thoughts."""
    return {"reasoning_content": text} if text else {}


def _engine_message(message: BaseMessage) -> Message:
    match message:
        case AIMessage():
            return _assistant_message(message)
        case ToolMessage():
            converted = _plain("tool", message)
            converted["tool_call_id"] = message.tool_call_id
            return converted
        case SystemMessage():
            return _plain("system", message)
        case HumanMessage():
            return _plain("user", message)
        case ChatMessage():
            return _plain(message.role, message)
        case BaseMessage():
            raise ConfigurationError(f"a message of type {message.type!r} has no role in a chat")
        case _:
            raise wrong_type("messages", message, "a list of LangChain messages")


def _plain(role: str, message: BaseMessage) -> dict[str, Any]:
    converted: dict[str, Any] = {"role": role, "content": _text(message)}
    if message.name:
        converted["name"] = message.name
    return converted


def _assistant_message(message: AIMessage) -> dict[str, Any]:
    converted = _plain("assistant", message)
    if calls := _calls(message):
        converted["tool_calls"] = [
            written_call(call.get("name"), _arguments(call), call.get("id")) for call in calls
        ]
    reasoning = message.additional_kwargs.get("reasoning_content")
    if not isinstance(reasoning, str | None) or reasoning:
        converted["reasoning_content"] = reasoning
    return converted


def _calls(message: AIMessage) -> list[Any]:
    """The calls of a message, and then those that could not be read."""
    calls: list[Any] = [*message.tool_calls, *message.invalid_tool_calls]
    if not all(isinstance(call, Mapping) for call in calls):
        raise ConfigurationError("a tool call of an ai message is no mapping of name, args and id")
    return calls


def _arguments(call: Mapping[str, Any]) -> object:
    """Of a call that could not be read they are a text, which may be missing."""
    arguments = call.get("args")
    return "" if arguments is None else arguments


def _text(message: BaseMessage) -> str:
    content: Any = message.content
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list | tuple):
        raise ConfigurationError(
            f"the content of a {message.type} message is text or blocks, not a "
            f"{type(content).__name__}"
        )
    return "".join(_block_text(block, message) for block in content)


def _block_text(block: object, message: BaseMessage) -> str:
    if isinstance(block, str):
        return block
    if not isinstance(block, Mapping):
        raise ConfigurationError(
            f"a {message.type} message holds a {type(block).__name__} among its blocks"
        )
    kind = block.get("type")
    if kind == "text":
        return _written(block.get("text"), message)
    if isinstance(message, AIMessage) and _is_known(kind, block, message):
        return ""
    raise ConfigurationError(
        f"a {message.type} message holds {shown(kind)}; the models read text only"
    )


def _is_known(kind: object, block: Mapping[str, Any], message: AIMessage) -> bool:
    """Whether a block needs no text: it has thoughts, or repeats a call."""
    if kind in _CALLS:
        return _is_repeated(block, message)
    return kind in _THOUGHTS


def _written(text: object, message: BaseMessage) -> str:
    """The text of a block; a stream may leave blocks behind that have none."""
    if text is not None and not isinstance(text, str):
        raise ConfigurationError(
            f"a block of a {message.type} message has a {type(text).__name__} as its text"
        )
    return text or ""


def _is_repeated(block: Mapping[str, Any], message: AIMessage) -> bool:
    """Whether the call of a block is among those of the message, so that nothing is left out."""
    known = [str(call.get("id")) for call in _calls(message)]
    own = block.get("call_id", block.get("id"))
    return bool(known) if own is None else isinstance(own, str) and own in known
