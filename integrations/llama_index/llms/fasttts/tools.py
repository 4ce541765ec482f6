"""Function calling: arguments of a chat with tools, and the calls of its response."""

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, ToolCallBlock
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools.types import BaseTool

from fasttts.chat import forced_tools
from fasttts.errors import wrong_type


def tools_arguments(
    tools: Sequence[BaseTool],
    user_msg: str | ChatMessage | None,
    chat_history: Sequence[ChatMessage] | None,
    *,
    is_parallel: bool,
    tool_choice: str | dict[str, Any] | None,
) -> dict[str, Any]:
    """Makes the arguments of `FastTTS.chat` for a chat with tools.

    Args:
        tools: The tools to offer.
        user_msg: The new message; None for none.
        chat_history: Earlier messages; None for none.
        is_parallel: Whether a reply may hold several calls.
        tool_choice: LlamaIndex's or OpenAI's choice; None lets the model decide.

    Raises:
        ConfigurationError: The choice names no tool, or an argument is of the wrong type.
    """
    _check(tools, user_msg, chat_history)
    schemas = [tool.metadata.to_openai_tool(skip_length_check=True) for tool in tools]
    forced_tools(schemas, tool_choice)
    messages = list(chat_history or ())
    if isinstance(user_msg, str):
        user_msg = ChatMessage(role=MessageRole.USER, content=user_msg)
    if user_msg is not None:
        messages.append(user_msg)
    return {
        "messages": messages,
        "tools": schemas,
        "tool_choice": tool_choice,
        "is_parallel": is_parallel,
    }


def _check(tools: object, user_msg: object, chat_history: object) -> None:
    is_list = isinstance(tools, Sequence) and not isinstance(tools, str | bytes)
    if not isinstance(tools, Sequence) or not is_list:
        raise wrong_type("tools", tools, "a list of LlamaIndex tools")
    for tool in tools:
        if not isinstance(tool, BaseTool):
            raise wrong_type("tools", tool, "a list of LlamaIndex tools")
    if not isinstance(user_msg, str | ChatMessage | None):
        raise wrong_type("user_msg", user_msg, "a str, a ChatMessage or None")
    if isinstance(chat_history, str | bytes) or not isinstance(chat_history, Sequence | None):
        raise wrong_type("chat_history", chat_history, "a list of ChatMessage or None")
    for message in chat_history or ():
        if not isinstance(message, ChatMessage):
            raise wrong_type("chat_history", message, "a list of ChatMessage or None")


def selections(response: ChatResponse) -> list[ToolSelection]:
    """Returns the calls of a response, in their order.

    Raises:
        ConfigurationError: It is no response of a chat.
    """
    if not isinstance(response, ChatResponse):
        raise wrong_type("response", response, "a ChatResponse")
    return [
        ToolSelection(
            tool_id=block.tool_call_id or "",
            tool_name=block.tool_name,
            tool_kwargs=block.tool_kwargs,
        )
        for block in response.message.blocks
        if isinstance(block, ToolCallBlock)
    ]
