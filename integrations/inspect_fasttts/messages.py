"""Conversations and tools of inspect-ai in the engine's form."""

from collections.abc import Sequence
from typing import Any

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageTool,
    Content,
    ContentReasoning,
    ContentText,
)
from inspect_ai.tool import ToolChoice, ToolFunction, ToolInfo

from fasttts.chat import Tool, written_call
from fasttts.errors import ConfigurationError
from fasttts.types import Message


def engine_messages(messages: Sequence[ChatMessage]) -> list[Message]:
    """Converts messages to the engine's form.

    Raises:
        ConfigurationError: A message has content other than text, or a call that cannot be written.
    """
    return [_engine_message(message) for message in messages]


def engine_tools(tools: Sequence[ToolInfo]) -> list[Tool]:
    """Converts tools to OpenAI's form."""
    return [{"type": "function", "function": _function(tool)} for tool in tools]


def engine_tool_choice(choice: ToolChoice) -> str:
    """Converts a choice to a word or a tool's name."""
    return choice.name if isinstance(choice, ToolFunction) else choice


def _function(tool: ToolInfo) -> dict[str, Any]:
    parameters = tool.parameters.model_dump(exclude_none=True)
    return {"name": tool.name, "description": tool.description, "parameters": parameters}


def _engine_message(message: ChatMessage) -> Message:
    converted: dict[str, Any] = {"role": message.role, "content": _text(message)}
    match message:
        case ChatMessageAssistant():
            if message.tool_calls:
                converted["tool_calls"] = [
                    written_call(call.function, call.arguments, call.id)
                    for call in message.tool_calls
                ]
            if thoughts := _thoughts(message.content):
                converted["reasoning_content"] = thoughts
        case ChatMessageTool():
            converted["tool_call_id"] = message.tool_call_id or ""
            if message.error is not None:
                converted["content"] = message.error.message
        case _:
            pass
    return converted


def _text(message: ChatMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    return "\n".join(
        _part_text(part, message.role)
        for part in message.content
        if not isinstance(part, ContentReasoning)
    )


def _part_text(part: Content, role: str) -> str:
    if isinstance(part, ContentText):
        return part.text
    raise ConfigurationError(f"a {role} message holds {part.type!r}; the models read text only")


def _thoughts(content: str | list[Content]) -> str:
    if isinstance(content, str):
        return ""
    return "\n".join(part.reasoning for part in content if isinstance(part, ContentReasoning))
