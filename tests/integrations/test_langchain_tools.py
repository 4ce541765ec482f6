"""Tool calls of `ChatFastTTS` on an engine without models."""

from typing import Any

import pytest

from fasttts import ConfigurationError, FastTTS
from langchain_fasttts import ChatFastTTS
from tests.integrations.conversations import get_weather
from tests.integrations.langchain_paths import on_every_path, stream


def test_text_before_a_call_is_kept_apart(
    engine: FastTTS, generator: Any, weather_call: str
) -> None:
    generator.answers["Rain?"] = f"Let me look.\n{weather_call}"
    message = ChatFastTTS(engine=engine).bind_tools([get_weather]).invoke("Rain?")
    assert message.content == "Let me look."
    (call,) = message.tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Paris"})
    assert message.response_metadata["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("think", ["", "<think>hm</think>"])
async def test_a_call_after_text_survives_standard_content(
    engine: FastTTS, generator: Any, weather_call: str, think: str
) -> None:
    generator.answers["Rain?"] = f"{think}Let me look.\n{weather_call}{weather_call}"
    model = ChatFastTTS(engine=engine, output_version="v1").bind_tools([get_weather])
    for message in await on_every_path(model, "Rain?"):
        kinds = [block["type"] for block in message.content_blocks]
        assert kinds == ["reasoning"] * bool(think) + ["text", "tool_call", "tool_call"]
        assert [block["type"] for block in message.content] == kinds
        assert message.text == "Let me look."


async def test_version_3_events_hold_the_whole_message(
    engine: FastTTS, generator: Any, weather_call: str
) -> None:
    generator.answers["Rain?"] = f"<think>hm</think>Let me look.\n{weather_call}"
    model = ChatFastTTS(engine=engine).bind_tools([get_weather])
    message = model.stream_events("Rain?", version="v3").output
    assert message.text == "Let me look."
    assert [call["args"] for call in message.tool_calls] == [{"city": "Paris"}]
    assert message.usage_metadata["output_tokens"] > 0


@pytest.mark.parametrize("options", [{}, {"search": "beam_search", "n": 4}])
def test_streams_show_text_as_it_comes_but_no_beginning_of_a_call(
    engine: FastTTS, generator: Any, weather_call: str, options: dict[str, Any]
) -> None:
    generator.answers["Rain?"] = f"2 < 3, so look: {weather_call}"
    model = ChatFastTTS(engine=engine, **options).bind_tools([get_weather])
    chunks = list(model.stream("Rain?"))
    texts = [chunk.content for chunk in chunks if chunk.content]
    assert "".join(texts) == "2 < 3, so look:"
    assert len(texts) > 5
    assert not any(chunk.content and chunk.tool_call_chunks for chunk in chunks)
    assert [chunk.usage_metadata is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [
        True
    ]


def test_a_truncated_call_stays_text(engine: FastTTS, generator: Any, weather_call: str) -> None:
    generator.answers["Rain?"] = weather_call
    model = ChatFastTTS(engine=engine, max_tokens=40).bind_tools([get_weather])
    for message in (model.invoke("Rain?"), stream(model, "Rain?")):
        assert message.content == weather_call[:40]
        assert message.tool_calls == message.invalid_tool_calls == []
        assert message.response_metadata["finish_reason"] == "length"


def test_binding_checks_the_choice(engine: FastTTS) -> None:
    model = ChatFastTTS(engine=engine)
    with pytest.raises(ConfigurationError, match="tool_choice"):
        model.bind_tools([get_weather], tool_choice="get_time")
    with pytest.raises(ConfigurationError, match="strict"):
        model.bind_tools([get_weather], strict=True)


def test_tool_choice_none_offers_no_tools(
    engine: FastTTS, generator: Any, weather_call: str
) -> None:
    generator.answers["Rain?"] = weather_call
    model = ChatFastTTS(engine=engine).bind_tools([get_weather], tool_choice="none")
    assert model.invoke("Rain?").content == weather_call
    assert "get_weather" not in generator.prompts[-1]


def test_parallel_calls_can_be_switched_off(
    engine: FastTTS, generator: Any, weather_call: str
) -> None:
    generator.answers["Rain?"] = weather_call * 2
    model = ChatFastTTS(engine=engine).bind_tools([get_weather], parallel_tool_calls=False)
    assert len(model.invoke("Rain?").tool_calls) == 1
