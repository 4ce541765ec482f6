"""Converts results and reply chunks to LlamaIndex responses."""

from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole

from fasttts.chat import (
    ChatRequest,
    Delta,
    Reply,
    ReplyChunk,
    ReplyFormat,
    cost_report,
    token_usage,
)
from fasttts.types import SearchResult
from llama_index.llms.fasttts.messages import reply_blocks, reply_message


def chat_response(result: SearchResult, reply_format: ReplyFormat) -> ChatResponse:
    """Converts the chosen candidate.

    Args:
        result: The result of the search.
        reply_format: Reads the reply from the candidate's text.
    """
    reply = reply_format.read(result.text, result.finish_reason)
    return ChatResponse(message=reply_message(reply), raw=_raw(result, reply))


def streamed_responses(request: ChatRequest) -> Generator[ChatResponse, None, None]:
    """Yields the growing message; deltas add up to the last one, which alone has `raw`."""
    with closing(request.stream()) as growths:
        for chunk in growths:
            yield _streamed_response(chunk)


async def astreamed_responses(request: ChatRequest) -> AsyncGenerator[ChatResponse, None]:
    """Streams as `streamed_responses` does, for event loops."""
    async with aclosing(request.astream()) as growths:
        async for chunk in growths:
            yield _streamed_response(chunk)


def _streamed_response(chunk: ReplyChunk) -> ChatResponse:
    if chunk.end is None:
        blocks = reply_blocks(chunk.shown.reasoning, chunk.shown.content)
        message, raw = ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks), None
    else:
        reply, result = chunk.end
        message, raw = reply_message(reply), _raw(result, reply)
    return ChatResponse(
        message=message,
        delta=chunk.delta.content,
        raw=raw,
        additional_kwargs=_thinking_delta(chunk.delta),
    )


def _thinking_delta(delta: Delta) -> dict[str, Any]:
    return {"thinking_delta": delta.reasoning} if delta.reasoning else {}


def _raw(result: SearchResult, reply: Reply) -> dict[str, Any]:
    return {
        "model": result.generator,
        "finish_reason": reply.finish_reason,
        "usage": token_usage(result),
        "fasttts": cost_report(result),
    }
