"""The chat classes, the tool and the examples on the bundled models."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from mcp import Client

from fasttts import FastTTS, SearchConfig
from fasttts.answers.extraction import extract_boxed
from fasttts.demo.problems import Problem, generate_problems
from fasttts.routing import Cascade
from fasttts_agents.langchain import DeliberateTool, DeliberationMiddleware, trace_of
from fasttts_agents.llama_index import deliberate_tool
from fasttts_agents.mcp import (
    BackgroundEngine,
    HttpOptions,
    HttpServer,
    ToolService,
    http_app,
    make_server,
)
from langchain_fasttts import ChatFastTTS
from llama_index.llms.fasttts import FastTTS as LlamaIndexFastTTS

pytestmark = pytest.mark.vllm

EXAMPLES = Path(__file__).parents[2] / "examples"
SEARCH = {"search": "beam_search", "n": 8, "beam_width": 4, "max_tokens": 400}
PLAIN = {"max_tokens": 400}
AUTO = {**SEARCH, "search": "auto"}
SHORT = generate_problems("test", 3, 1, min_operations=2, max_operations=2)[0]
LONG = generate_problems("test", 3, 1, min_operations=5, max_operations=6)[0]


def wants_deliberation(message: Any, problem: Problem) -> bool:
    calls = [(call["name"], call["args"]) for call in message.tool_calls]
    return calls == [("deliberate", {"problem": problem.text})]


@pytest.mark.parametrize("options", [PLAIN, SEARCH, AUTO], ids=["none", "beam_search", "auto"])
async def test_langchain(demo_engine: FastTTS, options: dict[str, Any]) -> None:
    model = ChatFastTTS(engine=demo_engine, **options)
    message = await asyncio.to_thread(model.invoke, SHORT.text)
    assert extract_boxed(message.content) is not None
    assert (await model.ainvoke(SHORT.text)).content == message.content
    chunks = await asyncio.to_thread(lambda: list(model.stream(SHORT.text)))
    assert "".join(chunk.content for chunk in chunks) == message.content
    streamed = sum(chunks[1:], chunks[0])
    assert streamed.usage_metadata == message.usage_metadata
    assert (len(chunks) > 10) == (options is not AUTO)


async def test_the_model_calls_the_tool_for_long_problems_only(demo_engine: FastTTS) -> None:
    tool = DeliberateTool(engine=demo_engine)
    model = ChatFastTTS(engine=demo_engine, max_tokens=400).bind_tools([tool])
    short = generate_problems("test", 3, 10, min_operations=2, max_operations=2)
    long = generate_problems("test", 3, 10, min_operations=5, max_operations=6)
    answers = await model.abatch([problem.text for problem in short])
    assert sum(not message.tool_calls for message in answers) >= 8
    calls = await model.abatch([problem.text for problem in long])
    assert sum(map(wants_deliberation, calls, long)) >= 8


async def test_streamed_calls(demo_engine: FastTTS) -> None:
    tools = [DeliberateTool(engine=demo_engine)]
    model = ChatFastTTS(engine=demo_engine, max_tokens=400).bind_tools(tools)
    whole = await model.ainvoke(LONG.text)
    chunks = [chunk async for chunk in model.astream(LONG.text)]
    streamed = sum(chunks[1:], chunks[0])
    assert [call["name"] for call in whole.tool_calls] == ["deliberate"]
    assert [call["args"] for call in streamed.tool_calls] == [whole.tool_calls[0]["args"]]
    assert not any(chunk.content for chunk in chunks)


def test_token_counts(demo_engine: FastTTS) -> None:
    model = ChatFastTTS(engine=demo_engine, max_tokens=5)
    tools = [DeliberateTool(engine=demo_engine)]
    count = model.get_num_tokens_from_messages([HumanMessage(LONG.text)], tools=tools)
    message = model.bind_tools(tools).invoke(LONG.text)
    assert message.usage_metadata["input_tokens"] == count
    assert message.usage_metadata["output_tokens"] == 5
    assert message.tool_calls == []
    assert message.content.startswith("<tool_call>")
    assert message.response_metadata["finish_reason"] == "length"


@pytest.mark.parametrize("options", [PLAIN, SEARCH, AUTO], ids=["none", "beam_search", "auto"])
async def test_llama_index(demo_engine: FastTTS, options: dict[str, Any]) -> None:
    llm = LlamaIndexFastTTS(engine=demo_engine, **options)
    messages = [ChatMessage(SHORT.text, role="user")]
    text = (await llm.acomplete(SHORT.text)).text
    assert extract_boxed(text) is not None
    assert llm.complete(SHORT.text).text == text
    assert llm.chat(messages).message.content == text
    assert "".join(response.delta for response in llm.stream_chat(messages)) == text
    astream = await llm.astream_complete(SHORT.text)
    assert "".join([response.delta async for response in astream]) == text


async def test_llama_index_agent(demo_engine: FastTTS) -> None:
    config = SearchConfig(n=8, beam_width=4, max_tokens=400)
    llm = LlamaIndexFastTTS(engine=demo_engine, max_tokens=400)
    agent = FunctionAgent(tools=[deliberate_tool(demo_engine, config)], llm=llm)
    handler = agent.run(LONG.text)
    output = await handler
    (call,) = output.tool_calls
    assert call.tool_name == "deliberate"
    found = call.tool_output.raw_output.trace["answer"]
    assert extract_boxed(str(output)) == found


async def test_deliberate(demo_engine: FastTTS) -> None:
    config = SearchConfig(n=8, beam_width=4, max_tokens=400)
    call = {"name": "deliberate", "args": {"problem": LONG.text}, "id": "1", "type": "tool_call"}
    message = await DeliberateTool(engine=demo_engine, config=config).ainvoke(call)
    assert message.status == "success"
    assert extract_boxed(message.content) == message.artifact["answer"] is not None
    output = await deliberate_tool(demo_engine, config).acall(problem=LONG.text)
    assert output.content == message.content


def test_the_parts_of_an_agents_run_add_up_to_the_engines_counters(demo_engine: FastTTS) -> None:
    config = SearchConfig(n=8, beam_width=4, max_tokens=400)
    agent = create_agent(
        ChatFastTTS(engine=demo_engine, n=8, max_tokens=400),
        [DeliberateTool(engine=demo_engine, config=config)],
        middleware=[DeliberationMiddleware(Cascade(), budget_tokens=20_000)],
        checkpointer=InMemorySaver(),
    )
    doubtful = generate_problems("test", 3, 1, min_operations=3, max_operations=3)[0]
    thread = {"configurable": {"thread_id": "1"}}
    before = demo_engine.usage
    agent.invoke({"messages": [HumanMessage(doubtful.text)]}, thread)
    messages = agent.invoke({"messages": [HumanMessage(LONG.text)]}, thread)["messages"]
    parts = trace_of(messages)
    assert [part.kind for part in parts] == ["deliberated", "plain", "tool", "plain"]
    assert extract_boxed(messages[1].text) == str(doubtful.answer)
    for name in ("generated_tokens", "required_tokens", "verifier_computed_tokens"):
        total = sum(getattr(part.usage, name) for part in parts)
        assert total == getattr(demo_engine.usage, name) - getattr(before, name), name


async def test_an_mcp_client_over_http(demo_engine: FastTTS) -> None:
    service = ToolService(BackgroundEngine(lambda: demo_engine), SearchConfig(**SEARCH))
    options = HttpOptions(port=0)
    web = HttpServer(http_app(make_server(service), options), options)
    serving = asyncio.create_task(web.serve())
    async with Client(web.url) as client:
        answered, checked = await asyncio.gather(
            client.call_tool("solve_many", {"problems": [SHORT.text, LONG.text]}),
            client.call_tool("check_answer", {"answer": "0.0", "problem": SHORT.text}),
        )
    web.end()
    await serving
    short, long = answered.structured_content["solutions"]
    assert short["answer"] == str(SHORT.answer)
    assert long["is_complete"]
    assert checked.structured_content["compared_with"] == short["answer"]
    assert checked.structured_content["verdict"] == "differs"
