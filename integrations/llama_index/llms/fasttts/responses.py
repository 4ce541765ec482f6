"""The engine's results and growing replies as LlamaIndex responses."""

from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ContentBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from fasttts.chat import Call, Delta, Growth, Reply, ReplyFormat, cost_report, token_usage
from fasttts.types import SearchResult
from llama_index.llms.fasttts.messages import engine_call


def chat_response(result: SearchResult, reply_format: ReplyFormat) -> ChatResponse:
    """The chosen candidate."""
    reply = reply_format.read(result.text, result.finish_reason)
    return ChatResponse(message=_message(reply), raw=_raw(result, reply))


def streamed_response(growth: Growth) -> ChatResponse:
    """The message as far as it has grown; deltas add up to the last one."""
    if growth.end is None:
        blocks = _blocks(growth.shown.reasoning, growth.shown.content, ())
        message, raw = ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks), None
    else:
        reply, result = growth.end
        message, raw = _message(reply), _raw(result, reply)
    return ChatResponse(
        message=message,
        delta=growth.delta.content,
        raw=raw,
        additional_kwargs=_thinking_delta(growth.delta),
    )


def _message(reply: Reply) -> ChatMessage:
    """The calls stand in blocks and in `additional_kwargs`: parts of LlamaIndex read only one."""
    calls = [engine_call(call.name, call.arguments, call.id) for call in reply.calls]
    return ChatMessage(
        role=MessageRole.ASSISTANT,
        blocks=_blocks(reply.reasoning, reply.content, reply.calls),
        additional_kwargs={"tool_calls": calls} if calls else {},
    )


def _blocks(reasoning: str, content: str, calls: tuple[Call, ...]) -> list[ContentBlock]:
    blocks: list[ContentBlock] = [ThinkingBlock(content=reasoning)] if reasoning else []
    if content or not calls:
        blocks.append(TextBlock(text=content))
    blocks += [
        ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=call.arguments)
        for call in calls
    ]
    return blocks


def _thinking_delta(delta: Delta) -> dict[str, Any]:
    return {"thinking_delta": delta.reasoning} if delta.reasoning else {}


def _raw(result: SearchResult, reply: Reply) -> dict[str, Any]:
    return {
        "model": result.generator,
        "finish_reason": reply.finish_reason,
        "usage": token_usage(result),
        "fasttts": cost_report(result),
    }
