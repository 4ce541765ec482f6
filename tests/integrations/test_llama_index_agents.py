"""LlamaIndex's agents on `FastTTS`, with a scripted model in place of a capable one."""

import json
from typing import Any

import pytest
from llama_index.core.agent.workflow import (
    AgentOutput,
    AgentStream,
    AgentWorkflow,
    FunctionAgent,
    ReActAgent,
    ToolCallResult,
)
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context

from fasttts import FastTTS as Engine
from llama_index.llms.fasttts import FastTTS
from tests.integrations.conversations import SEARCHES, get_weather

SUNNY = "tool: sunny in Paris"
REACT_ACTION = 'Thought: I need a tool.\nAction: get_weather\nAction Input: {"city": "Paris"}'
REACT_ANSWER = "Thought: I can answer without using any more tools.\nAnswer: It is sunny."


def call_text(name: str, **arguments: Any) -> str:
    body = json.dumps({"name": name, "arguments": arguments})
    return f"<tool_call>\n{body}\n</tool_call>"


def break_down(city: str) -> str:
    """Never works."""
    raise ValueError(f"no station in {city}")


def agent(engine: Engine, *tools: Any, **options: Any) -> FunctionAgent:
    return FunctionAgent(tools=list(tools or [get_weather]), llm=FastTTS(engine=engine), **options)


@pytest.fixture(autouse=True)
def script(generator: Any, weather_call: str) -> dict[str, str]:
    """What the model says: of rain it looks, and then it tells."""
    generator.answers |= {"Rain?": f"Let me look.\n{weather_call}", SUNNY: "It is sunny."}
    return generator.answers


@pytest.mark.parametrize("options", SEARCHES, ids=lambda options: options["search"])
@pytest.mark.parametrize("streaming", [True, False])
async def test_a_function_agent(engine: Engine, options: dict[str, Any], streaming: bool) -> None:
    llm = FastTTS(engine=engine, max_tokens=200, **options)
    agent = FunctionAgent(tools=[get_weather], llm=llm, streaming=streaming)
    handler = agent.run("Rain?")
    events = [event async for event in handler.stream_events()]
    output = await handler
    assert str(output) == "It is sunny."
    (result,) = [event for event in events if isinstance(event, ToolCallResult)]
    assert (result.tool_name, result.tool_kwargs) == ("get_weather", {"city": "Paris"})
    assert str(result.tool_output) == "sunny in Paris"
    deltas = [event.delta for event in events if isinstance(event, AgentStream)]
    assert "".join(deltas) == ("Let me look.It is sunny." if streaming else "")
    outputs = [event for event in events if isinstance(event, AgentOutput)]
    assert [o.raw["fasttts"]["config"]["search"] for o in outputs] == [options["search"]] * 2


# LlamaIndex 0.14.25: its own memories cannot be serialized with a context.
@pytest.mark.filterwarnings("ignore:Skipping serialization of known unserializable key")
async def test_a_function_agent_remembers(engine: Engine, generator: Any) -> None:
    generator.answers["And now?"] = "Still sunny."
    weather = agent(engine)
    memory = ChatMemoryBuffer.from_defaults(
        token_limit=1000, tokenizer_fn=weather.llm.tokenizer.encode
    )
    ctx = Context(weather)
    await weather.run("Rain?", ctx=ctx, memory=memory)
    assert str(await weather.run("And now?", ctx=ctx, memory=memory)) == "Still sunny."
    roles = [message.role.value for message in memory.get_all()]
    assert roles == ["user", "assistant", "tool", "assistant", "user", "assistant"]
    assert "assistant: Let me look." in generator.prompts[-1]
    assert SUNNY in generator.prompts[-1]


async def test_thoughts_reach_the_stream_but_not_the_answer(
    engine: Engine, script: dict[str, str]
) -> None:
    script["Why?"] = "<think>hm</think>Because."
    handler = agent(engine).run("Why?")
    stream = [event async for event in handler.stream_events() if isinstance(event, AgentStream)]
    assert "".join(event.thinking_delta or "" for event in stream) == "hm"
    assert "".join(event.delta for event in stream) == str(await handler) == "Because."


async def test_the_model_reads_a_tool_s_error(engine: Engine, script: dict[str, str]) -> None:
    script["Rain?"] = call_text("break_down", city="Paris")
    script["tool: no station in Paris"] = "I cannot tell."
    output = await agent(engine, break_down).run("Rain?")
    assert str(output) == "I cannot tell."
    assert output.tool_calls[0].tool_output.is_error


async def test_a_tool_that_does_not_exist_is_the_model_s_to_mend(
    engine: Engine, script: dict[str, str]
) -> None:
    script["Rain?"] = call_text("no_such_tool")
    script["Please select a tool that is available."] = "I cannot tell."
    assert str(await agent(engine).run("Rain?")) == "I cannot tell."


async def test_calls_side_by_side(engine: Engine, script: dict[str, str]) -> None:
    both = [call_text("get_weather", city=city) for city in ("Rome", "Oslo")]
    script["Rain?"] = "".join(both)
    script["sunny in Oslo"] = "Sunny in both."
    output = await agent(engine).run("Rain?")
    assert str(output) == "Sunny in both."
    assert {call.tool_kwargs["city"] for call in output.tool_calls} == {"Rome", "Oslo"}


async def test_a_tool_may_answer_itself(engine: Engine, script: dict[str, str]) -> None:
    tool = FunctionTool.from_defaults(get_weather, return_direct=True)
    assert str(await agent(engine, tool).run("Rain?")) == "sunny in Paris"


async def test_agents_hand_over(engine: Engine, script: dict[str, str]) -> None:
    script["Rome?"] = call_text("handoff", to_agent="weather", reason="it knows")
    script["Please continue with the current request."] = call_text("get_weather", city="Paris")
    llm = FastTTS(engine=engine)
    desk = FunctionAgent(name="desk", description="Greets.", llm=llm, can_handoff_to=["weather"])
    weather = FunctionAgent(name="weather", description="Looks.", llm=llm, tools=[get_weather])
    workflow = AgentWorkflow(agents=[desk, weather], root_agent="desk")
    handler = workflow.run("Rome?")
    names = [e.current_agent_name async for e in handler.stream_events() if hasattr(e, "raw")]
    assert str(await handler) == "It is sunny."
    assert (names[0], names[-1]) == ("desk", "weather")


async def test_a_workflow_of_tools(engine: Engine) -> None:
    workflow = AgentWorkflow.from_tools_or_functions([get_weather], llm=FastTTS(engine=engine))
    assert str(await workflow.run("Rain?")) == "It is sunny."


# LlamaIndex 0.14.25: its ReAct agent uses a deprecated property of its own workflows.
@pytest.mark.filterwarnings("ignore:is_running called:DeprecationWarning")
@pytest.mark.parametrize("streaming", [True, False])
async def test_a_react_agent(engine: Engine, script: dict[str, str], streaming: bool) -> None:
    script["Rain?"] = "Thought: I forget the input.\nAction: get_weather"
    script["Answer: <answer>\n```\n"] = REACT_ACTION
    script["Observation: sunny in Paris"] = REACT_ANSWER
    agent = ReActAgent(tools=[get_weather], llm=FastTTS(engine=engine), streaming=streaming)
    output = await agent.run("Rain?")
    assert str(output) == "It is sunny."
    assert [call.tool_name for call in output.tool_calls] == ["get_weather"]


def test_predict_and_call(engine: Engine) -> None:
    llm, tool = FastTTS(engine=engine), FunctionTool.from_defaults(get_weather)
    response = llm.predict_and_call([tool], "Rain?")
    assert str(response) == "sunny in Paris"
    with pytest.raises(ValueError, match="called no tool but said"):
        llm.predict_and_call([tool], "Why?", max_tokens=5)
