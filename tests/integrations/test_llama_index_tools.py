"""Chats with tools on `FastTTS` for LlamaIndex: free calls, forced calls, calls that failed."""

from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.tools import FunctionTool

from fasttts import ConfigurationError
from fasttts import FastTTS as Engine
from llama_index.llms.fasttts import FastTTS
from tests.integrations.conversations import SEARCHES, get_weather
from tests.integrations.llama_index_paths import asked, spoken, with_tools_on_every_path

WEATHER = FunctionTool.from_defaults(get_weather)
CALL = ("get_weather", {"city": "Paris"})


def rate(score: int, is_final: bool = False) -> str:
    """Rates something."""
    return f"{score} {is_final}"


RATE = FunctionTool.from_defaults(rate)


def selected(llm: FastTTS, response: Any) -> list[tuple[str, dict[str, Any]]]:
    selections = llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)
    return [(selection.tool_name, selection.tool_kwargs) for selection in selections]


@pytest.mark.parametrize("options", SEARCHES, ids=lambda options: options["search"])
async def test_text_and_then_a_call_on_every_path(
    engine: Engine, generator: Any, weather_call: str, options: dict[str, Any]
) -> None:
    generator.answers["Rain?"] = f"<think>hm</think>Let me look.\n{weather_call}"
    llm = FastTTS(engine=engine, **options)
    responses = await with_tools_on_every_path(llm, [WEATHER], "Rain?")
    first, *others = map(spoken, responses)
    assert others == [first] * 3
    kinds = [block["block_type"] for block in first["blocks"]]
    assert kinds == ["thinking", "text", "tool_call"]
    assert first["content"] == "Let me look."
    assert first["raw"]["finish_reason"] == "tool_calls"
    assert [selected(llm, response) for response in responses] == [[CALL]] * 4


def test_streams_show_text_and_no_part_of_a_call(
    engine: Engine, generator: Any, weather_call: str
) -> None:
    generator.answers["Rain?"] = f"Let me look.\n{weather_call}"
    llm = FastTTS(engine=engine)
    *before, end = llm.stream_chat_with_tools([WEATHER], "Rain?")
    assert "".join(response.delta for response in [*before, end]) == "Let me look."
    assert [selected(llm, response) for response in before] == [[]] * len(before)
    assert selected(llm, end) == [CALL]


async def test_parallel_calls_are_kept_or_trimmed(
    engine: Engine, generator: Any, weather_call: str
) -> None:
    generator.answers["Rain?"] = weather_call * 2
    llm = FastTTS(engine=engine)
    for is_parallel, num_calls in ((True, 2), (False, 1)):
        options = {"allow_parallel_tool_calls": is_parallel}
        for response in await with_tools_on_every_path(llm, [WEATHER], "Rain?", **options):
            selections = llm.get_tool_calls_from_response(response)
            assert len({selection.tool_id for selection in selections}) == num_calls
            assert len(response.message.additional_kwargs["tool_calls"]) == num_calls


@pytest.mark.parametrize("size", [15, 40, 75])
async def test_a_truncated_call_stays_text(
    engine: Engine, generator: Any, weather_call: str, size: int
) -> None:
    generator.answers["Rain?"] = weather_call
    llm = FastTTS(engine=engine, max_tokens=size)
    responses = await with_tools_on_every_path(llm, [WEATHER], "Rain?")
    assert [spoken(response) for response in responses] == [spoken(responses[0])] * 4
    assert responses[0].message.content == weather_call[:size]
    assert responses[0].raw["finish_reason"] == "length"
    assert selected(llm, responses[0]) == []
    with pytest.raises(ValueError, match="called no tool"):
        llm.get_tool_calls_from_response(responses[0])


FORCED = [
    {"tool_required": True},
    {"tool_choice": "required"},
    {"tool_choice": "rate"},
    {"tool_choice": {"type": "function", "function": {"name": "rate"}}},
    {"tool_choice": "rate", "tool_required": True},
]


@pytest.mark.parametrize("options", SEARCHES, ids=lambda options: options["search"])
@pytest.mark.parametrize("forced", FORCED, ids=str)
async def test_a_forced_call_fits_its_schema_on_every_path(
    engine: Engine, forced: dict[str, Any], options: dict[str, Any]
) -> None:
    """The model babbles; what it may not say it does not say."""
    llm = FastTTS(engine=engine, max_tokens=200, seed=3, temperature=1.0, **options)
    responses = await with_tools_on_every_path(llm, [RATE], "Well?", **forced)
    assert [spoken(response) for response in responses] == [spoken(responses[0])] * 4
    ((name, arguments),) = selected(llm, responses[0])
    assert name == "rate"
    assert isinstance(arguments.pop("score"), int)
    assert isinstance(arguments.pop("is_final", True), bool)
    assert arguments == {}
    assert responses[0].raw["finish_reason"] == "tool_calls"


def test_what_cannot_be_forced_is_refused(engine: Engine) -> None:
    llm = FastTTS(engine=engine)
    with pytest.raises(ConfigurationError, match="tool_choice='sing' forces a call of none of"):
        llm.chat_with_tools([WEATHER], "Rain?", tool_choice="sing")
    with pytest.raises(ConfigurationError, match="no tool"):
        llm.chat_with_tools([], "Rain?", tool_required=True)


def test_a_forced_call_is_called(engine: Engine) -> None:
    response = FastTTS(engine=engine).predict_and_call([RATE], "Well?", tool_required=True)
    (source,) = response.sources
    assert not source.is_error
    assert isinstance(source.raw_input["kwargs"]["score"], int)


async def test_an_agent_s_first_call_can_be_forced(engine: Engine, generator: Any) -> None:
    generator.answers["True"] = generator.answers["False"] = "Rated."
    agent = FunctionAgent(tools=[RATE], llm=FastTTS(engine=engine), initial_tool_choice="rate")
    output = await agent.run("Well?")
    assert [call.tool_name for call in output.tool_calls] == ["rate"]
    assert str(output) == "Rated."


def test_tool_choice_none_offers_no_tools(
    engine: Engine, generator: Any, weather_call: str
) -> None:
    generator.answers["Rain?"] = weather_call
    response = FastTTS(engine=engine).chat_with_tools([WEATHER], "Rain?", tool_choice="none")
    assert response.message.content == weather_call
    assert "get_weather" not in generator.prompts[-1]


def test_history_and_message_objects(engine: Engine, generator: Any) -> None:
    generator.answers["How?"] = "Like this."
    last = ChatMessage("How?", role="user")
    response = FastTTS(engine=engine).chat_with_tools([WEATHER], last, chat_history=asked("Why?"))
    assert response.message.content == "Like this."
    assert "user: Why?" in generator.prompts[-1]
