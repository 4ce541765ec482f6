"""Converts LlamaIndex messages to the engine's, and replies to LlamaIndex messages."""

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    ContentBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from pydantic import BaseModel

from fasttts.chat import Reply, ReplyCall, written_call
from fasttts.errors import ConfigurationError, shown, wrong_type
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
_WITHOUT_TEXT = (ThinkingBlock, ToolCallBlock, CachePoint)


def engine_messages(messages: Sequence[ChatMessage]) -> list[Message]:
    """Converts messages to the engine's form, one for one and in their order.

    Texts of several blocks are joined by newlines, as `ChatMessage.content` does.

    Raises:
        ConfigurationError: A message has content other than text.
    """
    if not isinstance(messages, Sequence):
        raise wrong_type("messages", messages, "a list of ChatMessage")
    return [_engine_message(message) for message in messages]


def reply_message(reply: Reply) -> ChatMessage:
    """Converts a finished reply; `engine_messages` restores the same message from it.

    The calls are in blocks and in `additional_kwargs`: parts of LlamaIndex read only one of them.
    """
    calls = [written_call(call.name, call.arguments, call.id) for call in reply.calls]
    return ChatMessage(
        role=MessageRole.ASSISTANT,
        blocks=reply_blocks(reply.reasoning, reply.content, reply.calls),
        additional_kwargs={"tool_calls": calls} if calls else {},
    )


def reply_blocks(
    reasoning: str, content: str, calls: Sequence[ReplyCall] = ()
) -> list[ContentBlock]:
    """Makes the blocks of a message: thoughts, one block of text, calls.

    Args:
        reasoning: Thoughts; no block if empty.
        content: Text; no block if it is empty and there are calls.
        calls: The calls in order.
    """
    blocks: list[ContentBlock] = [ThinkingBlock(content=reasoning)] if reasoning else []
    if content or not calls:
        blocks.append(TextBlock(text=content))
    blocks += [
        ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=call.arguments)
        for call in calls
    ]
    return blocks


def _engine_message(message: ChatMessage) -> Message:
    if not isinstance(message, ChatMessage):
        raise wrong_type("messages", message, "a list of ChatMessage")
    role = _ROLES.get(message.role)
    if role is None:
        raise ConfigurationError(f"a message has the role {shown(message.role)}, which is none")
    texts = [text for block in message.blocks for text in _texts(block, message.role)]
    converted: dict[str, Any] = {"role": role, "content": "\n".join(texts)}
    for key in ("tool_call_id", "name") if role == "tool" else ("name",):
        value = message.additional_kwargs.get(key)
        if not isinstance(value, str | None) or value:
            converted[key] = value
    if thoughts := [b.content for b in message.blocks if isinstance(b, ThinkingBlock)]:
        converted["reasoning_content"] = "\n".join(filter(None, thoughts))
    if calls := _calls(message):
        converted["tool_calls"] = calls
    return converted


def _texts(block: object, role: MessageRole) -> list[str]:
    """The texts of a block that the model reads."""
    match block:
        case TextBlock(text=str(text)):
            return [text]
        case CitableBlock() | CitationBlock():
            return [text for part in block.nested_blocks for text in _texts(part, role)]
        case _ if isinstance(block, _WITHOUT_TEXT):
            return []
    kind = getattr(block, "block_type", type(block).__name__)
    raise ConfigurationError(
        f"a {role.value} message holds {shown(kind)}; the models read text only"
    )


def _calls(message: ChatMessage) -> list[dict[str, Any]]:
    """The calls of the blocks, and further ones that other classes keep in `additional_kwargs`."""
    blocks = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
    found = [written_call(b.tool_name, b.tool_kwargs, b.tool_call_id) for b in blocks]
    kept = message.additional_kwargs.get("tool_calls")
    kept = () if kept is None else kept
    if not isinstance(kept, list | tuple):
        raise ConfigurationError(
            f"additional_kwargs['tool_calls'] is a list of calls, not a {type(kept).__name__}"
        )
    calls = [call.model_dump() if isinstance(call, BaseModel) else call for call in kept]
    known = {call["id"] for call in found}
    return found + [call for call in calls if not found or _id(call) not in {None, *known}]


def _id(call: object) -> object:
    found = call.get("id") if isinstance(call, dict) else None
    return found if isinstance(found, str) else None
