"""A pretrained model behind both frameworks: replies, the judge, structured outputs, tools."""

import json

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel, Field

from fasttts import FastTTS
from fasttts.routing import Cascade, Router
from fasttts_agents.langchain import DeliberationMiddleware, trace_of
from langchain_fasttts import ChatFastTTS
from llama_index.llms.fasttts import FastTTS as LlamaIndexFastTTS

pytestmark = [pytest.mark.real, pytest.mark.vllm, pytest.mark.usefixtures("unmeasured")]

CAPITAL = "What is the capital of France? Answer with the city alone."
PLAIN = {"search": "none", "temperature": 0.0, "max_tokens": 32}
SEARCH = {"search": "beam_search", "n": 4, "beam_width": 2, "max_tokens": 48, "seed": 1}


class City(BaseModel):
    """A city and its country."""

    city: str = Field(max_length=20)
    country: str = Field(max_length=20)


@tool
def clock() -> str:
    """Tell the time."""
    return "12:00"


def test_a_langchain_chat_model_replies(engine: FastTTS) -> None:
    reply = ChatFastTTS(engine=engine, **PLAIN).invoke([HumanMessage(CAPITAL)])
    assert "Paris" in reply.text
    assert reply.response_metadata["finish_reason"] == "stop"
    assert reply.usage_metadata["output_tokens"] > 0
    streamed = list(ChatFastTTS(engine=engine, **PLAIN).stream([HumanMessage(CAPITAL)]))
    assert "".join(chunk.text for chunk in streamed) == reply.text


async def test_a_llama_index_model_replies(engine: FastTTS) -> None:
    llm = LlamaIndexFastTTS(engine=engine, **PLAIN)
    reply = await llm.achat([ChatMessage(CAPITAL, role="user")])
    assert "Paris" in str(reply.message.content)
    assert reply.raw["fasttts"]["usage"]["generated_tokens"] > 0


def test_the_model_judges_its_own_steps(engine: FastTTS) -> None:
    result = engine.search("What is 2 + 3? Answer in one short sentence.", **SEARCH)
    assert engine.verifier_name.startswith("judge(")
    assert len(result.candidates) == 4
    scores = [step.score for candidate in result.candidates for step in candidate.steps]
    assert scores
    assert all(score is not None and 0.0 < score < 1.0 for score in scores)
    assert len(set(scores)) > 1
    assert result.usage.verifier_computed_tokens > 0
    assert (
        engine.search("What is 2 + 3? Answer in one short sentence.", **SEARCH).text == result.text
    )


def test_the_router_answers_a_greeting_and_drafts_a_problem(engine: FastTTS) -> None:
    router = Router(engine, Cascade(threshold=0.0))
    greeted = router.search("Hi", **SEARCH)
    assert greeted.routing["reason"] == "there is no problem in the turn"
    assert greeted.usage.verifier_computed_tokens == 0
    asked = router.search(CAPITAL, **SEARCH)
    assert asked.routing["signals"]["num_steps"] >= 1
    assert asked.usage.verifier_computed_tokens > 0


@pytest.mark.parametrize("options", [PLAIN, SEARCH], ids=["none", "beam_search"])
def test_structured_outputs_follow_the_schema(engine: FastTTS, options: dict[str, object]) -> None:
    model = ChatFastTTS(engine=engine, **{**options, "max_tokens": 64})
    found = model.with_structured_output(City).invoke("Paris is the capital of France.")
    assert isinstance(found, City)
    result = engine.search(
        CAPITAL,
        structured_outputs={"json": City.model_json_schema()},
        **{**options, "max_tokens": 64},
    )
    assert json.loads(result.text).keys() == {"city", "country"}


async def test_tools_that_the_template_leaves_out_are_said_and_do_no_harm(
    engine: FastTTS, caplog: pytest.LogCaptureFixture
) -> None:
    assert not engine.renders_tools
    with pytest.warns(UserWarning, match="is not told of clock"):
        reply = ChatFastTTS(engine=engine, **PLAIN).bind_tools([clock]).invoke(CAPITAL)
    assert "Paris" in reply.text
    assert reply.tool_calls == []
    assert "has no place for tools, so the model is not told of clock" in caplog.text
    told = len(caplog.records)
    agent = FunctionAgent(
        tools=[FunctionTool.from_defaults(clock.func, name="clock")],
        llm=LlamaIndexFastTTS(engine=engine, **PLAIN),
    )
    with pytest.warns(UserWarning, match="is not told of clock"):
        assert "Paris" in str(await agent.run(CAPITAL))
    assert len(caplog.records) == told, "the log says it once"


def test_an_agent_without_tools_is_routed_and_its_costs_add_up(engine: FastTTS) -> None:
    agent = create_agent(
        ChatFastTTS(engine=engine, **SEARCH),
        [],
        middleware=[DeliberationMiddleware(Cascade(threshold=0.0), budget_tokens=2_000)],
    )
    before = engine.usage.generated_tokens
    messages = agent.invoke({"messages": [HumanMessage(CAPITAL)]})["messages"]
    assert messages[-1].text
    spent = sum(part.usage.generated_tokens for part in trace_of(messages))
    assert spent == engine.usage.generated_tokens - before > 0
