"""`FastTTS` for LlamaIndex on an engine without models."""

import asyncio
import copy
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.tools import FunctionTool

from fasttts import ConfigurationError, SearchError
from fasttts import FastTTS as Engine
from llama_index.llms.fasttts import FastTTS
from tests.integrations.conversations import SEARCHES, get_weather

WHY = [ChatMessage("Why?", role="user")]

WEATHER = FunctionTool.from_defaults(get_weather)


def essence(response: ChatResponse | CompletionResponse) -> dict[str, Any]:
    """All of a response that must not depend on the path: ids, seconds and cache hits do."""
    raw = {key: value for key, value in response.raw.items() if key != "fasttts"}
    cost = {**response.raw["fasttts"]["usage"], "recomputed_tokens": 0}
    if isinstance(response, CompletionResponse):
        return {"content": response.text, "raw": raw, "cost": cost}
    return {"content": response.message.content or "", "raw": raw, "cost": cost}


async def chats(llm: FastTTS) -> list[ChatResponse]:
    streamed = await asyncio.to_thread(lambda: list(llm.stream_chat(WHY)))
    astreamed = [response async for response in await llm.astream_chat(WHY)]
    return [llm.chat(WHY), await llm.achat(WHY), streamed[-1], astreamed[-1]]


async def completions(llm: FastTTS) -> list[CompletionResponse]:
    streamed = await asyncio.to_thread(lambda: list(llm.stream_complete("Why?")))
    astreamed = [response async for response in await llm.astream_complete("Why?")]
    return [llm.complete("Why?"), await llm.acomplete("Why?"), streamed[-1], astreamed[-1]]


def test_class() -> None:
    assert FastTTS.class_name() == "FastTTS"
    assert FunctionCallingLLM in FastTTS.__mro__


def test_metadata_is_the_engine_s(engine: Engine) -> None:
    metadata = FastTTS(engine=engine, max_tokens=77).metadata
    assert metadata.context_window == engine.max_model_len
    assert (metadata.num_output, metadata.model_name) == (77, "fake-hermes")
    assert metadata.is_chat_model
    assert metadata.is_function_calling_model


def test_traces_load_no_models() -> None:
    payload = FastTTS(model="some/model", seed=3).to_payload()
    assert (payload["model_name"], payload["seed"]) == ("some/model", 3)


@pytest.mark.parametrize("options", SEARCHES, ids=lambda options: options["search"])
@pytest.mark.parametrize(
    "answer",
    [None, "First.\n\n\\boxed{4}", "<think>\nhm\n</think>\n\nFirst.\n\n\\boxed{4}"],
    ids=["random", "steps", "thinking"],
)
async def test_one_answer_on_eight_paths(
    engine: Engine, generator: Any, options: dict[str, Any], answer: str | None
) -> None:
    if answer is not None:
        generator.answers["Why?"] = answer
    llm = FastTTS(engine=engine, max_tokens=150, **options)
    responses = [*await chats(llm), *await completions(llm)]
    first, *others = [essence(response) for response in responses]
    assert others == [first] * 7
    config = responses[0].raw["fasttts"]["config"]
    assert config["search"] == options["search"]
    if answer is not None:
        assert first["content"] == "First.\n\n\\boxed{4}"


@pytest.mark.parametrize("options", [{}, {"search": "beam_search", "n": 4}])
async def test_streamed_messages_grow_by_their_deltas(
    engine: Engine, generator: Any, options: dict[str, Any]
) -> None:
    generator.answers["Why?"] = "<think>hm</think>Because of the rain."
    responses = list(FastTTS(engine=engine, **options).stream_chat(WHY))
    assert len(responses) > 10
    content = thoughts = ""
    for response in responses:
        content += response.delta
        thoughts += response.additional_kwargs.get("thinking_delta", "")
        assert (response.message.content or "") == content
    assert (content, thoughts) == ("Because of the rain.", "hm")
    assert [block.block_type for block in responses[-1].message.blocks] == ["thinking", "text"]


def test_chat_with_tools(engine: Engine, generator: Any, weather_call: str) -> None:
    generator.answers["Rain?"] = f"Let me look.\n{weather_call}{weather_call}"
    llm = FastTTS(engine=engine)
    response = llm.chat_with_tools([WEATHER], "Rain?", allow_parallel_tool_calls=True)
    selections = llm.get_tool_calls_from_response(response)
    assert [(s.tool_name, s.tool_kwargs) for s in selections] == [
        ("get_weather", {"city": "Paris"})
    ] * 2
    assert len({selection.tool_id for selection in selections}) == 2
    assert response.message.content == "Let me look."
    assert len(response.message.additional_kwargs["tool_calls"]) == 2
    assert response.raw["finish_reason"] == "tool_calls"


async def test_parallel_calls_are_trimmed_on_every_path(
    engine: Engine, generator: Any, weather_call: str
) -> None:
    generator.answers["Rain?"] = weather_call * 2
    llm = FastTTS(engine=engine)
    streamed = list(llm.stream_chat_with_tools([WEATHER], "Rain?"))
    agen = await llm.astream_chat_with_tools([WEATHER], "Rain?")
    astreamed = [response async for response in agen]
    responses = [
        llm.chat_with_tools([WEATHER], "Rain?"),
        await llm.achat_with_tools([WEATHER], "Rain?"),
    ]
    for response in (*responses, streamed[-1], astreamed[-1]):
        assert len(llm.get_tool_calls_from_response(response)) == 1
        assert len(response.message.additional_kwargs["tool_calls"]) == 1
    assert "".join(response.delta for response in streamed) == ""


def test_a_truncated_call_stays_text(engine: Engine, generator: Any, weather_call: str) -> None:
    generator.answers["Rain?"] = weather_call
    llm = FastTTS(engine=engine, max_tokens=40)
    response = llm.chat_with_tools([WEATHER], "Rain?")
    assert response.message.content == weather_call[:40]
    assert response.raw["finish_reason"] == "length"
    assert llm.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []
    with pytest.raises(ValueError, match="called no tool"):
        llm.get_tool_calls_from_response(response)


@pytest.mark.parametrize("options", [{"tool_required": True}, {"tool_choice": "get_weather"}])
def test_calls_can_be_forced(engine: Engine, options: dict[str, Any]) -> None:
    llm = FastTTS(engine=engine)
    response = llm.chat_with_tools([WEATHER], "Rain?", **options)
    (call,) = llm.get_tool_calls_from_response(response)
    assert call.tool_name == "get_weather"
    assert set(call.tool_kwargs) == {"city"}


def test_a_choice_that_names_no_tool_is_refused(engine: Engine) -> None:
    with pytest.raises(ConfigurationError, match="tool_choice"):
        FastTTS(engine=engine).chat_with_tools([WEATHER], "Rain?", tool_choice="get_time")


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
    response = FastTTS(engine=engine).chat_with_tools([WEATHER], last, chat_history=WHY)
    assert response.message.content == "Like this."
    assert "user: Why?" in generator.prompts[-1]


def test_calls_override_the_llm_s_options(engine: Engine) -> None:
    llm = FastTTS(engine=engine, search="best_of_n", n=2)
    response = llm.complete("Why?", search="none", max_tokens=7)
    assert response.raw["usage"]["output_tokens"] == 7
    with pytest.raises(ConfigurationError, match="did you mean 'temperature'"):
        llm.complete("Why?", temprature=1)


def test_prompts_are_converted_once(engine: Engine, generator: Any) -> None:
    generator.answers["why?"] = "Because."
    llm = FastTTS(engine=engine, completion_to_prompt=str.lower)
    assert llm.complete("Why?").text == "Because."
    llm.complete("Why?", formatted=True, max_tokens=3)
    assert "user: Why?" in generator.prompts[-1]


def test_errors_of_the_engine_come_through(engine: Engine, generator: Any) -> None:
    generator.answers["Why?"] = "too long " * 20
    llm = FastTTS(engine=engine, search="best_of_n", n=2, max_tokens=10)
    with pytest.raises(SearchError):
        llm.complete("Why?")
    with pytest.raises(SearchError):
        list(llm.stream_complete("Why?"))


@pytest.mark.parametrize("text", ["", " \n", "\ud800"])
def test_what_is_no_question_is_refused(engine: Engine, text: str) -> None:
    with pytest.raises(ConfigurationError):
        FastTTS(engine=engine).complete(text)


def test_a_model_can_be_copied(engine: Engine) -> None:
    assert copy.deepcopy(FastTTS(engine=engine)).engine is engine
