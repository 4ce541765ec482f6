"""Whoever stops waiting stops the engine's work: calls, streams, tools and agents of both."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage

from fasttts import FastTTS as Engine
from fasttts import SearchConfig
from fasttts_agents.langchain import DeliberateTool
from fasttts_agents.llama_index import deliberate_tool
from langchain_fasttts import ChatFastTTS
from llama_index.llms.fasttts import FastTTS

ASKED = "Why?"
HANDED_ON = "Why, in depth?"
CHAT = [ChatMessage(ASKED, role="user")]
BUSY_PROMPT = f"{ASKED}assistant: "
SEARCH = SearchConfig(n=4, beam_width=2, max_tokens=10_000)
CALL = '<tool_call>\n{"name": "deliberate", "arguments": {"problem": "Why?"}}\n</tool_call>'


@pytest.fixture(autouse=True)
def _endless(generator: Any) -> None:
    """The answer to "Why?" takes longer than any test waits."""
    generator.step_s = 0.002
    generator.answers |= {ASKED: "and so on\n\n" * 1000, HANDED_ON: CALL}


@pytest.fixture
def until_busy(generator: Any) -> Callable[[], Awaitable[None]]:
    """Waits for the generator to work on the endless answer."""

    async def wait() -> None:
        for _ in range(2000):
            if generator.num_unfinished() and generator.prompts[-1].endswith(BUSY_PROMPT):
                return
            await asyncio.sleep(0.005)
        raise AssertionError("waited in vain")

    return wait


def chat(engine: Engine) -> ChatFastTTS:
    return ChatFastTTS(engine=engine, max_tokens=10_000)


def llm(engine: Engine) -> FastTTS:
    return FastTTS(engine=engine, max_tokens=10_000)


def tool(engine: Engine) -> DeliberateTool:
    return DeliberateTool(engine=engine, config=SEARCH)


def agent(engine: Engine) -> Any:
    return create_agent(chat(engine), [tool(engine)])


CALLS: dict[str, Callable[[Engine], Awaitable[object]]] = {
    "LangChain model": lambda engine: chat(engine).ainvoke(ASKED),
    "LangChain tool": lambda engine: tool(engine).ainvoke(ASKED),
    "LangChain agent": lambda engine: agent(engine).ainvoke({"messages": [("user", ASKED)]}),
    "LangChain agent in its tool": lambda engine: agent(engine).ainvoke(
        {"messages": [("user", HANDED_ON)]}
    ),
    "LlamaIndex LLM": lambda engine: llm(engine).achat(CHAT),
    "LlamaIndex completion": lambda engine: llm(engine).acomplete(ASKED),
    "LlamaIndex tool": lambda engine: deliberate_tool(engine, SEARCH).acall(problem=ASKED),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_cancelling_a_call(
    engine: Engine,
    until_busy: Callable[[], Awaitable[None]],
    is_idle: Callable[[], bool],
    call: Callable[[Engine], Awaitable[object]],
) -> None:
    task = asyncio.ensure_future(call(engine))
    await until_busy()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(is_idle)


@pytest.mark.parametrize("question", [ASKED, HANDED_ON], ids=["in its LLM", "in its tool"])
async def test_cancelling_a_llama_index_agent(
    engine: Engine,
    until_busy: Callable[[], Awaitable[None]],
    is_idle: Callable[[], bool],
    question: str,
) -> None:
    handler = FunctionAgent(tools=[deliberate_tool(engine, SEARCH)], llm=llm(engine)).run(question)
    await until_busy()
    await handler.cancel_run()
    assert await asyncio.to_thread(is_idle)


@pytest.mark.parametrize(
    "start",
    [
        lambda engine: chat(engine).stream(ASKED),
        lambda engine: llm(engine).stream_chat(CHAT),
        lambda engine: llm(engine).stream_complete(ASKED),
    ],
    ids=["LangChain", "LlamaIndex chat", "LlamaIndex completion"],
)
def test_leaving_a_stream(
    engine: Engine, is_idle: Callable[[], bool], start: Callable[[Engine], Any]
) -> None:
    stream = start(engine)
    next(stream)
    stream.close()
    assert is_idle()


async def langchain_stream(engine: Engine) -> Any:
    return chat(engine).astream(ASKED)


async def llama_index_stream(engine: Engine) -> Any:
    return await llm(engine).astream_chat(CHAT)


async def llama_index_completion(engine: Engine) -> Any:
    return await llm(engine).astream_complete(ASKED)


@pytest.mark.parametrize("start", [langchain_stream, llama_index_stream, llama_index_completion])
async def test_leaving_an_async_stream(
    engine: Engine, is_idle: Callable[[], bool], start: Callable[[Engine], Awaitable[Any]]
) -> None:
    stream = await start(engine)
    await anext(stream)
    await stream.aclose()
    assert await asyncio.to_thread(is_idle)
