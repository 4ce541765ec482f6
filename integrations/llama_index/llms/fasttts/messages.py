"""LlamaIndex messages to the engine's."""

import json
from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    CachePoint,
    ChatMessage,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from fasttts.errors import ConfigurationError
from fasttts.types import Message

_ROLES = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.TOOL: "tool",
    MessageRole.FUNCTION: "tool",
}
_READABLE = (TextBlock, ThinkingBlock, ToolCallBlock, CachePoint)


def engine_messages(messages: Sequence[ChatMessage]) -> list[Message]:
    """The messages in the form the engine takes.

    Raises:
        ConfigurationError: A message has content other than text.
    """
    return [_engine_message(message) for message in messages]


def _engine_message(message: ChatMessage) -> Message:
    unreadable = [b.block_type for b in message.blocks if not isinstance(b, _READABLE)]
    if unreadable:
        raise ConfigurationError(
            f"a {message.role.value} message holds {unreadable}; the models read text only"
        )
    converted: dict[str, Any] = {"role": _ROLES[message.role], "content": message.content or ""}
    for key in ("tool_call_id", "name"):
        if value := message.additional_kwargs.get(key):
            converted[key] = value
    if thoughts := [b.content for b in message.blocks if isinstance(b, ThinkingBlock)]:
        converted["reasoning_content"] = "\n".join(filter(None, thoughts))
    if calls := _calls(message):
        converted["tool_calls"] = calls
    return converted


def _calls(message: ChatMessage) -> list[dict[str, Any]]:
    """The calls from the blocks, or where there are none, as older code keeps them."""
    blocks = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
    if not blocks:
        return list(message.additional_kwargs.get("tool_calls") or ())
    return [engine_call(block.tool_name, block.tool_kwargs, block.tool_call_id) for block in blocks]


def engine_call(name: str, arguments: dict[str, Any] | str, call_id: str | None) -> dict[str, Any]:
    """A call in OpenAI's form."""
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}
