"""`FastTTS` for LlamaIndex on an engine without models."""

import copy
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatResponse
from llama_index.core.llms.function_calling import FunctionCallingLLM

from fasttts import ConfigurationError, SearchError
from fasttts import FastTTS as Engine
from llama_index.llms.fasttts import FastTTS
from tests.integrations.conversations import SEARCHES
from tests.integrations.llama_index_paths import PATHS, asked, essence, spoken

WHY = asked("Why?")


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


ANSWERS = {
    "random": None,
    "steps": "First.\n\n\\boxed{4}",
    "thinking": "<think>\nhm\n</think>\n\nFirst.\n\n\\boxed{4}",
    "half-open": "<think>\nhm\n\nand so on",
}


@pytest.mark.parametrize("options", SEARCHES, ids=lambda options: options["search"])
@pytest.mark.parametrize("kind", ANSWERS)
async def test_one_answer_on_eight_paths(
    engine: Engine, generator: Any, options: dict[str, Any], kind: str
) -> None:
    if (answer := ANSWERS[kind]) is not None:
        generator.answers["Why?"] = answer
    llm = FastTTS(engine=engine, max_tokens=150, **options)
    responses = [await path(llm, "Why?") for path in PATHS.values()]
    first, *others = [essence(response) for response in responses]
    assert others == [first] * 7
    assert first["fasttts"]["config"]["search"] == options["search"]
    chats = [spoken(response) for response in responses if isinstance(response, ChatResponse)]
    assert chats == [chats[0]] * 4
    blocks = [block["block_type"] for block in chats[0]["blocks"]]
    assert blocks == (["thinking", "text"] if "<think>" in (answer or "") else ["text"])
    if answer is not None:
        assert first["content"] == ("" if kind == "half-open" else "First.\n\n\\boxed{4}")


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
    cut = {"on_cut": "raise"}
    llm = FastTTS(engine=engine, search="best_of_n", n=2, max_tokens=10, search_args=cut)
    with pytest.raises(SearchError):
        llm.complete("Why?")
    with pytest.raises(SearchError):
        list(llm.stream_complete("Why?"))


@pytest.mark.parametrize("text", ["", " \n", "\ud800"])
def test_what_is_no_question_is_refused(engine: Engine, text: str) -> None:
    with pytest.raises(ConfigurationError):
        FastTTS(engine=engine).complete(text)


@pytest.mark.parametrize("prompt", [b"Why?", 3, None])
async def test_a_prompt_that_is_no_text_is_named(engine: Engine, prompt: Any) -> None:
    llm = FastTTS(engine=engine)
    with pytest.raises(ConfigurationError, match="prompt is a str, not "):
        llm.complete(prompt)
    with pytest.raises(ConfigurationError, match="prompt is a str, not "):
        await llm.acomplete(prompt)


def test_a_model_can_be_copied(engine: Engine) -> None:
    assert copy.deepcopy(FastTTS(engine=engine)).engine is engine


def test_what_was_cut_off_is_a_reply_with_a_warning(engine: Engine, generator: Any) -> None:
    generator.answers["Why?"] = "too long " * 20
    llm = FastTTS(engine=engine, search="best_of_n", n=2, max_tokens=10)
    replies = (llm.complete("Why?"), list(llm.stream_complete("Why?"))[-1])
    for reply in replies:
        assert reply.text == "too long t"
        assert reply.raw["finish_reason"] == "length"
        (warning,) = reply.raw["fasttts"]["warnings"]
        assert warning.startswith("none of 2 candidates finished within max_tokens=10")
