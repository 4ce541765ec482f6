"""The ways to call a LangChain model."""

import asyncio
from typing import Any

from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.runnables import Runnable

Model = Runnable[Any, BaseMessage]


def stream(model: Model, prompt: str) -> BaseMessage:
    chunks = list(model.stream(prompt))
    assert all(isinstance(chunk, AIMessageChunk) for chunk in chunks)
    return sum(chunks[1:], chunks[0])


async def astream(model: Model, prompt: str) -> BaseMessage:
    chunks = [chunk async for chunk in model.astream(prompt)]
    return sum(chunks[1:], chunks[0])


async def on_every_path(model: Model, prompt: str) -> list[BaseMessage]:
    return [
        await asyncio.to_thread(model.invoke, prompt),
        await model.ainvoke(prompt),
        await asyncio.to_thread(stream, model, prompt),
        await astream(model, prompt),
        await model.ainvoke(prompt, stream=True),
    ]
