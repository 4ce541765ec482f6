"""Converts LangChain messages to the engine's, and replies to LangChain messages."""

import json
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages import ToolCall as LangChainToolCall
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call

from fasttts.chat import Reply
from fasttts.errors import ConfigurationError
from fasttts.types import Message

_SPOKEN_ELSEWHERE = {
    "tool_call",
    "tool_call_chunk",
    "tool_use",
    "function_call",
    "input_json_delta",
    "invalid_tool_call",
    "reasoning",
    "reasoning_content",
    "thinking",
    "redacted_thinking",
}
"""Content blocks of an assistant that are not text; its calls are in `tool_calls`."""


def engine_messages(messages: Sequence[BaseMessage]) -> list[Message]:
    """Converts messages to the engine's form.

    Raises:
        ConfigurationError: A message has content other than text, or no role in a chat.
    """
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
        case _:
            raise ConfigurationError(f"a message of type {message.type!r} has no role in a chat")


def _plain(role: str, message: BaseMessage) -> dict[str, Any]:
    converted: dict[str, Any] = {"role": role, "content": _text(message)}
    if message.name:
        converted["name"] = message.name
    return converted


def _assistant_message(message: AIMessage) -> dict[str, Any]:
    converted = _plain("assistant", message)
    if message.tool_calls:
        converted["tool_calls"] = [_engine_call(call) for call in message.tool_calls]
    if reasoning := message.additional_kwargs.get("reasoning_content"):
        converted["reasoning_content"] = reasoning
    return converted


def _engine_call(call: LangChainToolCall) -> dict[str, Any]:
    function = {"name": call["name"], "arguments": json.dumps(call["args"], ensure_ascii=False)}
    return {"id": call["id"], "type": "function", "function": function}


def _text(message: BaseMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    return "".join(_block_text(block, message) for block in message.content)


def _block_text(block: str | dict[str, Any], message: BaseMessage) -> str:
    if isinstance(block, str):
        return block
    kind = block.get("type")
    if kind == "text":
        return str(block["text"])
    if isinstance(message, AIMessage) and kind in _SPOKEN_ELSEWHERE:
        return ""
    raise ConfigurationError(f"a {message.type} message holds {kind!r}; the models read text only")
