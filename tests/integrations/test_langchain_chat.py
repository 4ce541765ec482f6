"""`ChatFastTTS` on an engine without models: one answer on every path."""

import copy
import json
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler, UsageMetadataCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import ConfigurableField

from fasttts import ConfigurationError, FastTTS, SearchError
from fasttts.config import engine_config
from langchain_fasttts import ChatFastTTS
from tests.engines import OpenWith
from tests.integrations.conversations import SEARCHES, get_weather
from tests.integrations.langchain_paths import on_every_path, stream


def essence(message: BaseMessage) -> dict[str, Any]:
    """All of a message that must not depend on the path: ids, seconds and cache hits do."""
    assert isinstance(message, AIMessage)
    metadata = json.loads(json.dumps(message.response_metadata))
    del metadata["fasttts"]["timings"], metadata["fasttts"]["usage"]["recomputed_tokens"]
    return {
        "content": message.content,
        "reasoning": message.additional_kwargs,
        "calls": [(call["name"], call["args"]) for call in message.tool_calls],
        "usage": message.usage_metadata,
        "metadata": metadata,
    }


@pytest.mark.parametrize("options", SEARCHES, ids=lambda options: options["search"])
@pytest.mark.parametrize(
    "answer",
    [
        None,
        "First.\n\nSo it is \\boxed{4}.",
        "<think>\nhm\n</think>\n\nFirst.\n\n\\boxed{4}",
        "Let me look.\nCALL",
        "CALL\nCALL",
        "Let me look. <tool_call>\n{",
    ],
    ids=["random", "steps", "thinking", "text and call", "calls", "no call"],
)
async def test_one_answer_on_every_path(
    engine: FastTTS,
    generator: Any,
    weather_call: str,
    options: dict[str, Any],
    answer: str | None,
) -> None:
    if answer is not None:
        generator.answers["Why?"] = answer.replace("CALL", weather_call)
    model = ChatFastTTS(engine=engine, max_tokens=300, **options).bind_tools([get_weather])
    first, *others = [essence(message) for message in await on_every_path(model, "Why?")]
    assert others == [first] * len(others)
    assert first["metadata"]["fasttts"]["config"]["search"] == options["search"]
    assert first["metadata"]["model_name"] == "fake-hermes"
    assert len(first["calls"]) == (answer or "").count("CALL")


def test_usage_is_the_returned_path_and_the_rest_is_reported(engine: FastTTS) -> None:
    model = ChatFastTTS(engine=engine, search="beam_search", n=4, beam_width=2)
    message = model.invoke("Why?")
    cost = message.response_metadata["fasttts"]
    num_prompt = model.get_num_tokens_from_messages([HumanMessage("Why?")])
    assert message.usage_metadata == {
        "input_tokens": num_prompt,
        "output_tokens": cost["usage"]["returned_tokens"],
        "total_tokens": num_prompt + cost["usage"]["returned_tokens"],
    }
    assert cost["usage"]["generated_tokens"] > cost["usage"]["returned_tokens"]
    assert cost["usage"]["num_verifications"] > 0
    assert cost["score"] == message.response_metadata["score"] > 0


def test_candidates_are_ranked_generations(engine: FastTTS) -> None:
    model = ChatFastTTS(engine=engine, search="best_of_n", n=4)
    (generations,) = model.generate([[HumanMessage("Why?")]]).generations
    scores = [generation.generation_info["score"] for generation in generations]
    assert scores == sorted(scores, reverse=True)
    assert generations[0].text == model.invoke("Why?").content
    assert len({generation.text for generation in generations}) > 1
    assert all(generation.message.usage_metadata["output_tokens"] for generation in generations)


def test_calls_override_the_model_s_options(engine: FastTTS) -> None:
    model = ChatFastTTS(engine=engine, search="best_of_n", n=2)
    bound = model.bind(search="beam_search", n=4, beam_width=2)
    assert bound.invoke("Why?").response_metadata["fasttts"]["config"]["n"] == 4
    config = model.invoke("Why?", search="none", max_tokens=7).response_metadata["fasttts"]
    assert (config["config"]["search"], config["usage"]["returned_tokens"]) == ("none", 7)


def test_stop_strings_are_not_part_of_the_answer(engine: FastTTS, generator: Any) -> None:
    generator.answers["Why?"] = "Because. END And so on."
    assert ChatFastTTS(engine=engine, stop=["END"]).invoke("Why?").content == "Because. "
    assert ChatFastTTS(engine=engine).invoke("Why?", stop=["so"]).content == "Because. END And "
    streamed = stream(ChatFastTTS(engine=engine, stop=["END"]), "Why?")
    assert streamed.content == "Because. "


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"temprature": 1}, "did you mean 'temperature'"),
        ({"tool_choice": "any", "tools": []}, "tool_choice='any'"),
        ({"model": "other"}, "'other'"),
        ({"n": 0}, "n=0"),
    ],
)
def test_calls_with_options_that_cannot_work(
    engine: FastTTS, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        ChatFastTTS(engine=engine).invoke("Why?", **options)


def test_errors_of_the_engine_come_through(engine: FastTTS, generator: Any) -> None:
    generator.answers["Why?"] = "too long " * 20
    cut = {"on_cut": "raise"}
    model = ChatFastTTS(engine=engine, search="best_of_n", n=2, max_tokens=10, search_args=cut)
    with pytest.raises(SearchError):
        model.invoke("Why?")
    with pytest.raises(SearchError):
        list(model.stream("Why?"))


def test_batches_share_the_engine(engine: FastTTS) -> None:
    model = ChatFastTTS(engine=engine, search="best_of_n", n=2)
    prompts = ["Why?", "How?", "When?"]
    contents = [message.content for message in model.batch(prompts)]
    assert contents == [model.invoke(prompt).content for prompt in prompts]
    assert len(set(contents)) == 3


class Tokens(BaseCallbackHandler):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        self.texts.append(token)


def test_callbacks_see_each_token_once_and_the_usage(engine: FastTTS, generator: Any) -> None:
    generator.answers["Why?"] = "Because of the rain."
    tokens, usage = Tokens(), UsageMetadataCallbackHandler()
    list(ChatFastTTS(engine=engine).stream("Why?", config={"callbacks": [tokens, usage]}))
    assert "".join(tokens.texts) == "Because of the rain."
    assert usage.usage_metadata["fake-hermes"]["output_tokens"] == 21


def test_identity(engine: FastTTS) -> None:
    model = ChatFastTTS(engine=engine, temperature=0.5, stop=["END"], n=8)
    assert model._llm_type == "chat-fasttts"
    assert model._identifying_params["n"] == 8
    params = model._get_ls_params(model="other")
    assert params["ls_provider"] == "fasttts"
    assert (params["ls_model_name"], params["ls_stop"]) == ("other", ["END"])
    assert params["ls_temperature"] == 0.5
    assert model.metadata["lc_versions"]["fasttts"]
    assert model.profile["max_input_tokens"] == engine.max_model_len


def test_token_counts_are_the_generator_s(engine: FastTTS) -> None:
    model = ChatFastTTS(engine=engine)
    assert model.get_num_tokens("abc") == 3
    messages = [HumanMessage("Why?")]
    with_tools = model.get_num_tokens_from_messages(messages, tools=[get_weather])
    assert with_tools > model.get_num_tokens_from_messages(messages)
    assert ChatFastTTS(engine=engine, custom_get_token_ids=lambda _: [1]).get_num_tokens("ab") == 1


def test_configurable_fields_make_models_on_the_same_engine(engine: FastTTS) -> None:
    model = ChatFastTTS(engine=engine).configurable_fields(search=ConfigurableField(id="search"))
    message = model.invoke("Why?", config={"configurable": {"search": "best_of_n"}})
    assert message.response_metadata["fasttts"]["config"]["search"] == "best_of_n"


def test_models_are_loaded_once_and_late(
    engine: FastTTS, generator: Any, open_with: OpenWith
) -> None:
    asked: list[Any] = []

    def load(config: Any) -> FastTTS:
        asked.append(config)
        return engine

    open_with(load)
    model = ChatFastTTS(engine_args={"max_model_len": 512})
    assert asked == []
    generator.answers["Why?"] = "Because."
    assert model.invoke("Why?").content == "Because."
    assert asked == [engine_config(max_model_len=512)]


@pytest.mark.parametrize("text", ["", " \n", "\ud800"])
def test_what_is_no_question_is_refused(engine: FastTTS, text: str) -> None:
    with pytest.raises(ConfigurationError):
        ChatFastTTS(engine=engine).invoke(text)
    with pytest.raises(ConfigurationError, match="the conversation has no message of the user"):
        ChatFastTTS(engine=engine).invoke([("system", "Be brief.")])


def test_a_model_can_be_copied(engine: FastTTS) -> None:
    assert copy.deepcopy(ChatFastTTS(engine=engine)).engine is engine


def test_what_was_cut_off_is_a_reply_with_a_warning(engine: FastTTS, generator: Any) -> None:
    generator.answers["Why?"] = "too long " * 20
    model = ChatFastTTS(engine=engine, search="best_of_n", n=2, max_tokens=10)
    reply = model.invoke("Why?")
    assert reply.text == "too long t"
    assert reply.response_metadata["finish_reason"] == "length"
    (warning,) = reply.response_metadata["fasttts"]["warnings"]
    assert warning.startswith("none of 2 candidates finished within max_tokens=10")
    *_, last = (chunk for chunk in model.stream("Why?") if chunk.response_metadata)
    assert last.response_metadata["fasttts"]["warnings"] == [warning]
