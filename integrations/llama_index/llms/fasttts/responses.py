"""The engine's results and events as LlamaIndex responses."""

from collections.abc import Iterator
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

from fasttts.chat import Call, Delta, Reply, ReplyFormat, ReplyStream, cost_report, token_usage
from fasttts.types import Event, Finished, SearchResult, TextDelta
from llama_index.llms.fasttts.messages import engine_call


def chat_response(result: SearchResult, reply_format: ReplyFormat) -> ChatResponse:
    """The chosen candidate."""
    reply = reply_format.read(result.text, result.finish_reason)
    return ChatResponse(message=_message(reply), raw=_raw(result, reply))


class ResponseStream:
    """Makes the responses of one streamed reply: messages grow, deltas add up to the last one.

    Only plain decoding has text to show early: a search decides at its end which path it returns,
    and then shows all of it.
    """

    def __init__(self, reply_format: ReplyFormat) -> None:
        self._format = reply_format
        self._reply = ReplyStream(reply_format)
        self._reasoning = ""
        self._content = ""

    def responses(self, event: Event) -> Iterator[ChatResponse]:
        """The responses that an event gives rise to."""
        match event:
            case TextDelta(text=text):
                delta = self._reply.add(text)
                if delta.reasoning or delta.content:
                    yield self._growing(delta)
            case Finished(result=result):
                reply = self._format.read(result.text, result.finish_reason)
                delta = self._reply.finish(reply)
                yield ChatResponse(
                    message=_message(reply),
                    delta=delta.content,
                    raw=_raw(result, reply),
                    additional_kwargs=_thinking_delta(delta),
                )

    def _growing(self, delta: Delta) -> ChatResponse:
        self._reasoning += delta.reasoning
        self._content += delta.content
        blocks = _blocks(self._reasoning, self._content, ())
        message = ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks)
        return ChatResponse(
            message=message, delta=delta.content, additional_kwargs=_thinking_delta(delta)
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
