"""`FastTTSLLM` on an engine without models: one answer on every path."""

from typing import Any

import pytest

from fasttts import ConfigurationError, FastTTS
from langchain_fasttts import ChatFastTTS, FastTTSLLM
from tests.integrations.conversations import SEARCHES


@pytest.mark.parametrize("options", SEARCHES, ids=lambda options: options["search"])
async def test_one_answer_on_every_path(engine: FastTTS, options: dict[str, Any]) -> None:
    model = FastTTSLLM(engine=engine, **options)
    expected = ChatFastTTS(engine=engine, **options).invoke("Why?").content
    assert model.invoke("Why?") == await model.ainvoke("Why?") == expected
    assert "".join(model.stream("Why?")) == expected
    assert "".join([text async for text in model.astream("Why?")]) == expected
    assert model.batch(["Why?", "How?"])[0] == expected
    events = [event async for event in model.astream_events("Why?", version="v2")]
    told = [event["data"]["chunk"] for event in events if event["event"] == "on_llm_stream"]
    assert "".join(told) == expected


def test_options_and_identity(engine: FastTTS, generator: Any) -> None:
    generator.answers["Why?"] = "<think>hm</think>Because. END of it"
    model = FastTTSLLM(engine=engine, stop=["END"])
    assert model.invoke("Why?") == "Because. "
    assert model.invoke("Why?", stop=["cause"]) == "Be"
    assert model._llm_type == "fasttts"
    assert model._identifying_params["stop"] == ("END",)
    assert model.get_num_tokens("abc") == 3
    with pytest.raises(ConfigurationError, match="temperature"):
        model.invoke("Why?", temprature=1)
