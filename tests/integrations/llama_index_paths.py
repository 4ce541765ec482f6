"""The ways to call a LlamaIndex LLM."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse

from llama_index.llms.fasttts import FastTTS

Response = ChatResponse | CompletionResponse
Path = Callable[[FastTTS, str], Awaitable[Response]]


def asked(question: str) -> list[ChatMessage]:
    return [ChatMessage(question, role="user")]


async def last(stream: Any) -> Any:
    return [response async for response in stream][-1]


async def astream_chat(llm: FastTTS, question: str) -> Response:
    return await last(await llm.astream_chat(asked(question)))


async def astream_complete(llm: FastTTS, question: str) -> Response:
    return await last(await llm.astream_complete(question))


CALLS: dict[str, Path] = {
    "chat": lambda llm, question: asyncio.to_thread(llm.chat, asked(question)),
    "achat": lambda llm, question: llm.achat(asked(question)),
    "complete": lambda llm, question: asyncio.to_thread(llm.complete, question),
    "acomplete": lambda llm, question: llm.acomplete(question),
}
STREAMS: dict[str, Path] = {
    "stream_chat": lambda llm, question: asyncio.to_thread(
        lambda: list(llm.stream_chat(asked(question)))[-1]
    ),
    "astream_chat": astream_chat,
    "stream_complete": lambda llm, question: asyncio.to_thread(
        lambda: list(llm.stream_complete(question))[-1]
    ),
    "astream_complete": astream_complete,
}
PATHS = CALLS | STREAMS


async def with_tools_on_every_path(
    llm: FastTTS, tools: list[Any], question: str, **options: Any
) -> list[ChatResponse]:
    """What a chat with tools responds, plainly and at the end of a stream."""

    def streamed() -> ChatResponse:
        return list(llm.stream_chat_with_tools(tools, question, **options))[-1]

    return [
        await asyncio.to_thread(lambda: llm.chat_with_tools(tools, question, **options)),
        await llm.achat_with_tools(tools, question, **options),
        await asyncio.to_thread(streamed),
        await last(await llm.astream_chat_with_tools(tools, question, **options)),
    ]


def essence(response: Response) -> dict[str, Any]:
    """All of a response that must not depend on the path: ids, seconds and cache hits do."""
    raw = {key: value for key, value in response.raw.items() if key != "fasttts"}
    report = {k: v for k, v in response.raw["fasttts"].items() if k != "timings"}
    report["usage"] = {**report["usage"], "recomputed_tokens": 0}
    if isinstance(response, CompletionResponse):
        return {"content": response.text, "raw": raw, "fasttts": report}
    return {"content": response.message.content or "", "raw": raw, "fasttts": report}


def spoken(response: ChatResponse) -> dict[str, Any]:
    """`essence` and the blocks of the message, whose calls have ids of their own."""
    without_ids = response.message.model_dump(exclude={"blocks": {"__all__": {"tool_call_id"}}})
    calls = response.message.additional_kwargs.get("tool_calls", [])
    functions = [call["function"] for call in calls]
    return {**essence(response), "blocks": without_ids["blocks"], "calls": functions}
