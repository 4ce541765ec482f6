"""The clients that people have, against one server of the demonstration models."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import openai
import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models import Model
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

import agents
from fasttts.answers.extraction import extract_boxed
from fasttts.demo.problems import generate_problems
from fasttts_agents.deliberate import DESCRIPTION
from tests.serving.conftest import KEY, Served, until

pytestmark = pytest.mark.vllm

SHORT = generate_problems("test", 3, 1, min_operations=2, max_operations=2)[0].text
LONG = generate_problems("test", 3, 1, min_operations=5, max_operations=6)[0].text
ASKED: list[Any] = [{"role": "user", "content": SHORT}]
MODELS = ["demo", "demo:beam-8", "demo:auto"]


class Total(BaseModel):
    """What is left at the end."""

    count: int


def deliberate(problem: str) -> str:
    """Solve a hard problem by verifier-guided search."""
    assert problem == LONG
    return "The answer is \\boxed{7}."


deliberate.__doc__ = DESCRIPTION
"""The description that the demonstration model was trained with."""


def expected(served: Served, model: str) -> str:
    search = {"demo": "none", "demo:beam-8": "beam_search"}[model]
    return served.engine.search(SHORT, search=search, n=8, max_tokens=400).text


def check(served: Served, model: str, text: str) -> None:
    """A reply is that of the engine itself; the router decides by itself which it is."""
    assert extract_boxed(text) is not None
    if model != "demo:auto":
        assert text == expected(served, model)


async def cancelled(served: Served, start: Callable[[], Any]) -> None:
    """Starts a call, leaves it in the middle, and waits for the engine to be idle again."""
    before = served.engine.stats().requests
    task = asyncio.ensure_future(start())
    await asyncio.to_thread(until, lambda: served.engine.stats().requests.num_open == 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.to_thread(until, lambda: served.engine.stats().requests.num_open == 0)
    after = served.engine.stats().requests
    assert after.ended["cancelled"] == before.ended["cancelled"] + 1


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """Connections of the test's own event loop; some clients would keep theirs for the next one."""
    async with httpx.AsyncClient(timeout=60) as http:
        yield http


@pytest.fixture
def client(served_demo: Served, http: httpx.AsyncClient) -> openai.AsyncOpenAI:
    url = f"{served_demo.url}/v1"
    return openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0, http_client=http)


@pytest.mark.parametrize("model", MODELS)
async def test_openai(served_demo: Served, client: openai.AsyncOpenAI, model: str) -> None:
    create = client.chat.completions.create
    reply = await create(model=model, messages=ASKED, max_tokens=400)
    text = reply.choices[0].message.content or ""
    check(served_demo, model, text)
    stream = await create(model=model, messages=ASKED, max_tokens=400, stream=True)
    assert text == "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    response = await client.responses.create(model=model, input=SHORT, max_output_tokens=400)
    assert response.output_text == text


@pytest.mark.parametrize("model", MODELS)
async def test_openai_structures(client: openai.AsyncOpenAI, model: str) -> None:
    asked: dict[str, Any] = {"model": model, "max_tokens": 100}
    parsed = await client.chat.completions.parse(messages=ASKED, response_format=Total, **asked)
    assert isinstance(parsed.choices[0].message.parsed, Total)
    response = await client.responses.parse(model=model, input=SHORT, text_format=Total)
    assert isinstance(response.output_parsed, Total)


@pytest.mark.parametrize("stream", [False, True])
async def test_openai_calls_tools(client: openai.AsyncOpenAI, stream: bool) -> None:
    parameters = {"type": "object", "properties": {"problem": {"type": "string"}}}
    function = {"name": "deliberate", "description": DESCRIPTION, "parameters": parameters}
    messages: list[Any] = [{"role": "user", "content": LONG}]
    asked: dict[str, Any] = {"model": "demo", "max_tokens": 400}
    asked["tools"] = [{"type": "function", "function": function}]
    create = client.chat.completions.create
    if stream:
        chunks = [chunk async for chunk in await create(messages=messages, stream=True, **asked)]
        found = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
        assert chunks[-1].choices[0].finish_reason == "tool_calls"
    else:
        choice = (await create(messages=messages, **asked)).choices[0]
        found = choice.message.tool_calls or []
        assert choice.finish_reason == "tool_calls"
    (call,) = found
    assert json.loads(call.function.arguments) == {"problem": LONG}
    called = {"type": "function", "id": call.id}
    called["function"] = {"name": call.function.name, "arguments": call.function.arguments}
    messages += [
        {"role": "assistant", "tool_calls": [called]},
        {"role": "tool", "tool_call_id": call.id, "content": deliberate(LONG)},
    ]
    answer = (await create(messages=messages, **asked)).choices[0]
    assert extract_boxed(answer.message.content or "") == "7"


async def test_openai_cancels(served_demo: Served, client: openai.AsyncOpenAI) -> None:
    create = client.chat.completions.create
    await cancelled(served_demo, lambda: create(model="demo:best-256", messages=ASKED))
    await cancelled(served_demo, lambda: create(model="demo:beam-256", messages=ASKED, stream=True))


@pytest.fixture
def chat(served_demo: Served, http: httpx.AsyncClient) -> Callable[..., ChatOpenAI]:
    def make(model: str, **options: Any) -> ChatOpenAI:
        url = f"{served_demo.url}/v1"
        options |= {"base_url": url, "api_key": KEY, "http_async_client": http}
        return ChatOpenAI(model=model, max_retries=0, **options)

    return make


@pytest.mark.parametrize(
    ("model", "uses_responses"), [*((model, False) for model in MODELS), ("demo", True)]
)
async def test_langchain(
    served_demo: Served, chat: Callable[..., ChatOpenAI], model: str, uses_responses: bool
) -> None:
    llm = chat(model, max_tokens=400, use_responses_api=uses_responses, stream_usage=True)
    message = await llm.ainvoke(SHORT)
    check(served_demo, model, message.text)
    chunks = [chunk async for chunk in llm.astream(SHORT)]
    whole = sum(chunks[1:], chunks[0])
    assert whole.text == message.text
    assert whole.usage_metadata is not None
    assert message.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] == message.usage_metadata["output_tokens"] > 10


async def test_langchain_calls_tools(chat: Callable[..., ChatOpenAI]) -> None:
    llm = chat("demo", max_tokens=400).bind_tools([tool(deliberate)])
    message = await llm.ainvoke(LONG)
    (call,) = message.tool_calls
    assert (call["name"], call["args"]) == ("deliberate", {"problem": LONG})
    result = ToolMessage(deliberate(**call["args"]), tool_call_id=call["id"])
    answer = await llm.ainvoke([("user", LONG), message, result])
    assert not answer.tool_calls
    assert answer.text


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
async def test_langchain_structures(chat: Callable[..., ChatOpenAI], method: Any) -> None:
    llm = chat("demo:beam-4", max_tokens=200).with_structured_output(Total, method=method)
    assert isinstance(await llm.ainvoke(SHORT), Total)


async def test_langchain_cancels(served_demo: Served, chat: Callable[..., ChatOpenAI]) -> None:
    await cancelled(served_demo, lambda: chat("demo:best-256").ainvoke(SHORT))


@pytest.fixture
def like(served_demo: Served, http: httpx.AsyncClient) -> Callable[[str], OpenAILike]:
    def make(model: str) -> OpenAILike:
        return OpenAILike(
            model=model,
            api_base=f"{served_demo.url}/v1",
            api_key=KEY,
            is_chat_model=True,
            is_function_calling_model=True,
            should_use_structured_outputs=True,
            max_tokens=400,
            temperature=0.0 if model == "demo" else 0.8,
            max_retries=0,
            async_http_client=http,
        )

    return make


@pytest.mark.parametrize("model", MODELS)
async def test_llama_index(
    served_demo: Served, like: Callable[[str], OpenAILike], model: str
) -> None:
    messages = [ChatMessage(SHORT, role="user")]
    reply = await like(model).achat(messages)
    text = reply.message.content or ""
    check(served_demo, model, text)
    stream = await like(model).astream_chat(messages)
    assert "".join([chunk.delta or "" async for chunk in stream]) == text


async def test_llama_index_agent(like: Callable[[str], OpenAILike]) -> None:
    called = FunctionTool.from_defaults(deliberate, description=DESCRIPTION)
    agent = FunctionAgent(tools=[called], llm=like("demo"))
    output = await agent.run(LONG)
    assert [call.tool_name for call in output.tool_calls] == ["deliberate"]
    assert str(output)


async def test_llama_index_structures(like: Callable[[str], OpenAILike]) -> None:
    found = await like("demo:beam-4").as_structured_llm(Total).acomplete(SHORT)
    assert isinstance(found.raw, Total)


async def test_llama_index_cancels(served_demo: Served, like: Callable[[str], OpenAILike]) -> None:
    messages = [ChatMessage(SHORT, role="user")]
    await cancelled(served_demo, lambda: like("demo:best-256").achat(messages))


@pytest.fixture(params=[OpenAIChatModel, OpenAIResponsesModel])
def model_of(request: pytest.FixtureRequest, client: openai.AsyncOpenAI) -> Callable[[str], Model]:
    return lambda name: request.param(name, provider=OpenAIProvider(openai_client=client))


@pytest.mark.parametrize(
    ("model_of", "name"),
    [*((OpenAIChatModel, name) for name in MODELS), (OpenAIResponsesModel, "demo")],
    indirect=["model_of"],
)
async def test_pydantic_ai(
    served_demo: Served, model_of: Callable[[str], Model], name: str
) -> None:
    agent = Agent(model_of(name), model_settings={"max_tokens": 400})
    text = (await agent.run(SHORT)).output
    check(served_demo, name, text)
    async with agent.run_stream(SHORT) as run:
        assert [part async for part in run.stream_text()][-1] == text


async def test_pydantic_ai_calls_tools_and_structures(model_of: Callable[[str], Model]) -> None:
    agent = Agent(model_of("demo"), model_settings={"max_tokens": 400})
    agent.tool_plain(deliberate)
    run = await agent.run(LONG)
    kinds = [part.part_kind for message in run.all_messages() for part in message.parts]
    assert kinds == ["user-prompt", "tool-call", "tool-return", "text"]
    for output_type in (Total, NativeOutput(Total)):
        structured = Agent(model_of("demo:beam-4"), output_type=output_type)
        assert isinstance((await structured.run(SHORT)).output, Total)


async def test_pydantic_ai_cancels(served_demo: Served, model_of: Callable[[str], Model]) -> None:
    await cancelled(served_demo, lambda: Agent(model_of("demo:best-256")).run(SHORT))


@pytest.fixture(params=[agents.OpenAIChatCompletionsModel, agents.OpenAIResponsesModel])
def agent_of(
    request: pytest.FixtureRequest, client: openai.AsyncOpenAI
) -> Iterator[Callable[..., agents.Agent[Any]]]:
    agents.set_tracing_disabled(True)  # it reports to OpenAI

    def make(name: str, **options: Any) -> agents.Agent[Any]:
        model = request.param(model=name, openai_client=client)
        settings = agents.ModelSettings(max_tokens=400)
        return agents.Agent(name="solver", model=model, model_settings=settings, **options)

    yield make
    agents.set_tracing_disabled(False)


@pytest.mark.parametrize(
    ("agent_of", "name"),
    [
        *((agents.OpenAIChatCompletionsModel, name) for name in MODELS),
        (agents.OpenAIResponsesModel, "demo"),
    ],
    indirect=["agent_of"],
)
async def test_agents_sdk(
    served_demo: Served, agent_of: Callable[..., agents.Agent[Any]], name: str
) -> None:
    text = (await agents.Runner.run(agent_of(name), SHORT)).final_output
    check(served_demo, name, text)
    run = agents.Runner.run_streamed(agent_of(name), SHORT)
    kinds = [event.type async for event in run.stream_events()]
    assert run.final_output == text
    assert "raw_response_event" in kinds


async def test_agents_sdk_calls_tools_and_structures(
    agent_of: Callable[..., agents.Agent[Any]],
) -> None:
    called = agents.function_tool(deliberate, description_override=DESCRIPTION)
    run = await agents.Runner.run(agent_of("demo", tools=[called]), LONG)
    kinds = [item.type for item in run.new_items]
    assert kinds == ["tool_call_item", "tool_call_output_item", "message_output_item"]
    run = await agents.Runner.run(agent_of("demo:beam-4", output_type=Total), SHORT)
    assert isinstance(run.final_output, Total)


async def test_agents_sdk_cancels(
    served_demo: Served, agent_of: Callable[..., agents.Agent[Any]]
) -> None:
    await cancelled(served_demo, lambda: agents.Runner.run(agent_of("demo:best-256"), SHORT))
