"""The `deliberate` tool in both frameworks' forms, on an engine without models."""

import json
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools.calling import call_tool_with_selection

from fasttts import ConfigurationError, FastTTS, SearchConfig, SearchResult
from fasttts.chat import offered_tools
from fasttts_agents import Deliberation
from fasttts_agents.deliberate import DESCRIPTION
from fasttts_agents.langchain import DeliberateTool
from fasttts_agents.llama_index import DeliberationProgress, deliberate_tool
from llama_index.llms.fasttts import FastTTS as LlamaIndexFastTTS

PROBLEM = "Tom has 2 pens and buys 2 more. How many has he?"
SOLUTION = "Two and two: 2 + 2 = 4.\n\nThe answer is \\boxed{4}."
SMALL = SearchConfig(n=4, beam_width=2)
CALL = {"name": "deliberate", "args": {"problem": PROBLEM}, "id": "call_1", "type": "tool_call"}
EXPECTED_SCHEMA = {
    "type": "function",
    "function": {
        "name": "deliberate",
        "description": "Solve a hard problem by verifier-guided search. "
        "Use it for problems that take several steps and pass the whole problem.",
        "parameters": {
            "properties": {
                "problem": {
                    "description": "The whole problem, word for word.",
                    "type": "string",
                }
            },
            "required": ["problem"],
            "type": "object",
        },
    },
}


@pytest.fixture(autouse=True)
def _solution(generator: Any) -> None:
    generator.answers[PROBLEM] = SOLUTION


def test_both_frameworks_show_the_model_the_same_tool(engine: FastTTS) -> None:
    of_llama_index = deliberate_tool(engine).metadata.to_openai_tool()
    of_langchain = convert_to_openai_tool(DeliberateTool(engine=engine))
    assert offered_tools([of_langchain]) == offered_tools([of_llama_index]) == (EXPECTED_SCHEMA,)


def check_message(message: Any) -> None:
    assert isinstance(message, ToolMessage)
    assert (message.content, message.status) == (SOLUTION, "success")
    assert message.artifact["answer"] == "4"
    assert len(message.artifact["candidates"]) == 4
    assert message.artifact["config"]["search"] == "beam_search"


def test_langchain(engine: FastTTS) -> None:
    check_message(DeliberateTool(engine=engine, config=SMALL).invoke(CALL))


async def test_langchain_async(engine: FastTTS) -> None:
    check_message(await DeliberateTool(engine=engine, config=SMALL).ainvoke(CALL))


async def test_an_error_becomes_a_message_to_the_model(engine: FastTTS) -> None:
    tool = DeliberateTool(engine=engine, config=SearchConfig(n=4, max_tokens=3))
    for message in (tool.invoke(CALL), await tool.ainvoke(CALL)):
        assert message.status == "error"
        assert message.content.startswith("deliberate failed: none of 4 candidates")


def test_a_search_the_engine_cannot_run_is_refused_at_once(generator: Any) -> None:
    with FastTTS(generator) as engine:
        with pytest.raises(ValueError, match="needs a verifier"):
            DeliberateTool(engine=engine)
        with pytest.raises(ConfigurationError, match="needs a verifier"):
            deliberate_tool(engine)
        votes = SearchConfig(search="best_of_n", n=4)
        assert deliberate_tool(engine, votes).call(problem=PROBLEM).content == SOLUTION


async def test_llama_index(engine: FastTTS) -> None:
    tool = deliberate_tool(engine, SMALL)
    assert tool.metadata.description == DESCRIPTION
    selection = ToolSelection(tool_id="1", tool_name="deliberate", tool_kwargs=CALL["args"])
    outputs = [
        tool.call(problem=PROBLEM),
        await tool.acall(problem=PROBLEM),
        call_tool_with_selection(selection, [tool]),
    ]
    for output in outputs:
        assert output.content == SOLUTION
        assert isinstance(output.raw_output, Deliberation)
        assert output.raw_output.trace["answer"] == "4"
        assert not output.is_error


def test_the_trace_is_the_whole_result(engine: FastTTS) -> None:
    trace = deliberate_tool(engine, SMALL).call(problem=PROBLEM).raw_output.trace
    result = SearchResult.from_json(json.dumps(trace))
    assert (result.text, len(result.candidates)) == (SOLUTION, 4)


def test_the_model_chooses_an_effort_within_the_ceiling(engine: FastTTS) -> None:
    tool = DeliberateTool(engine=engine, config=SearchConfig(n=16), max_effort="medium")
    schema = convert_to_openai_tool(tool)["function"]["parameters"]["properties"]["effort"]
    assert schema["enum"] == ["low", "medium"]
    sizes = {
        effort: tool.invoke({**CALL, "args": {"problem": PROBLEM, "effort": effort}})
        for effort in ("low", "medium")
    }
    assert {e: m.artifact["config"]["n"] for e, m in sizes.items()} == {"low": 4, "medium": 8}
    assert tool.invoke(CALL).artifact["config"]["n"] == 8
    other = deliberate_tool(engine, SearchConfig(n=16), max_effort="high")
    assert other.call(problem=PROBLEM).raw_output.trace["config"]["n"] == 16
    trace = other.call(problem=PROBLEM, effort="low").raw_output.trace
    assert trace["config"]["n"] == 4


async def test_problems_that_are_too_long_are_refused_in_words(engine: FastTTS) -> None:
    tool = DeliberateTool(engine=engine, config=SMALL, max_problem_tokens=20)
    for message in (tool.invoke(CALL), await tool.ainvoke(CALL)):
        assert message.status == "error"
        assert "tokens, more than 20: pass the problem alone" in message.content
    with pytest.raises(ConfigurationError, match="more than 20"):
        deliberate_tool(engine, SMALL, max_problem_tokens=20).call(problem=PROBLEM)


@pytest.fixture
def hard(generator: Any) -> str:
    """A question that the model hands to the tool."""
    arguments = json.dumps({"problem": PROBLEM})
    call = f'<tool_call>\n{{"name": "deliberate", "arguments": {arguments}}}\n</tool_call>'
    generator.answers |= {"Hard one.": call, SOLUTION: "He has 4 pens."}
    return "Hard one."


async def test_llama_index_agents_hear_of_progress(engine: FastTTS, hard: str) -> None:
    agent = FunctionAgent(
        tools=[deliberate_tool(engine, SMALL)], llm=LlamaIndexFastTTS(engine=engine)
    )
    handler = agent.run(hard)
    events = [event async for event in handler.stream_events()]
    assert str(await handler) == "He has 4 pens."
    told = [event for event in events if isinstance(event, DeliberationProgress)]
    assert told[-1].num_finished >= 1
    assert told[-1].generated_tokens > 0


@pytest.mark.parametrize(("budget", "policy"), [(0, "BudgetExhausted"), (5000, "Always")])
async def test_llama_index_agents_keep_the_tool_to_a_budget(
    engine: FastTTS, hard: str, budget: int, policy: str
) -> None:
    tool = deliberate_tool(engine, SMALL, budget_tokens=budget)
    agent = FunctionAgent(tools=[tool], llm=LlamaIndexFastTTS(engine=engine))
    handler = agent.run(hard)
    (call,) = (await handler).tool_calls
    trace = call.tool_output.raw_output.trace
    assert trace["routing"]["policy"] == policy
    assert handler.ctx is not None
    spent = await handler.ctx.store.get("deliberation_spent")
    assert spent == trace["usage"]["required_tokens"]
    is_noted = call.tool_output.content.startswith("(The budget of 0 tokens is spent")
    assert is_noted == (budget == 0)
    unlimited = await tool.acall(problem=PROBLEM)
    assert unlimited.raw_output.trace["routing"]["policy"] == "Always"
