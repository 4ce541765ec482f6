"""Structured prediction of `FastTTS` for LlamaIndex: constrained, voted on, streamed."""

import asyncio
import json
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.prompts import ChatPromptTemplate, PromptTemplate
from llama_index.core.types import PydanticProgramMode
from pydantic import BaseModel, Field, field_validator

from fasttts import FastTTS as Engine
from llama_index.llms.fasttts import FastTTS
from tests.integrations.conversations import SEARCHES
from tests.integrations.llama_index_paths import asked, last


class Kind(StrEnum):
    SUN = "sun"
    RAIN = "rain"


class Hour(BaseModel):
    hour: int = Field(ge=0, le=23)
    kind: Kind


class Forecast(BaseModel):
    """What the weather will be."""

    city: str = Field(max_length=12, description="Where.")
    is_sure: bool
    hours: list[Hour] = Field(max_length=2)
    note: str | None = Field(default=None, max_length=6)


class Even(BaseModel):
    number: int = Field(ge=0, le=9)

    @field_validator("number")
    @classmethod
    def _is_even(cls, number: int) -> int:
        if number % 2:
            raise ValueError("odd")
        return number


PROMPT = PromptTemplate("The weather in {city}?")
SAID = '{"city": "Zürich", "is_sure": true, "hours": [{"hour": 7, "kind": "rain"}]}'
EXPECTED = Forecast(city="Zürich", is_sure=True, hours=[Hour(hour=7, kind=Kind.RAIN)])


async def predictions(llm: FastTTS, output_cls: Any, **options: Any) -> list[Any]:
    """What every form of structured prediction comes to."""
    arguments = {"llm_kwargs": options, "city": "Zürich"}

    def streamed() -> Any:
        return list(llm.stream_structured_predict(output_cls, PROMPT, **arguments))[-1]

    return [
        await asyncio.to_thread(llm.structured_predict, output_cls, PROMPT, **arguments),
        await llm.astructured_predict(output_cls, PROMPT, **arguments),
        await asyncio.to_thread(streamed),
        await last(await llm.astream_structured_predict(output_cls, PROMPT, **arguments)),
    ]


@pytest.fixture
def llm(engine: Engine, generator: Any) -> FastTTS:
    """Says the forecast to every prompt."""
    generator.answers[""] = SAID
    return FastTTS(engine=engine, max_tokens=200, system_prompt="You know the weather.")


@pytest.mark.parametrize("options", SEARCHES, ids=lambda options: options["search"])
async def test_one_object_in_every_form(llm: FastTTS, options: dict[str, Any]) -> None:
    assert await predictions(llm, Forecast, **options) == [EXPECTED] * 4


@pytest.mark.parametrize("options", SEARCHES, ids=lambda options: options["search"])
async def test_a_model_that_babbles_is_held_to_the_schema(
    engine: Engine, options: dict[str, Any]
) -> None:
    for seed in range(2):
        llm = FastTTS(engine=engine, max_tokens=400, temperature=1.0, seed=seed)
        first, *others = await predictions(llm, Forecast, **options)
        assert isinstance(first, Forecast)
        assert others == [first] * 3


async def test_the_prompt_tells_the_schema_in_every_form(llm: FastTTS, generator: Any) -> None:
    await predictions(llm, Forecast)
    assert len(set(generator.prompts)) == 1
    prompt = generator.prompts[0]
    assert prompt.startswith("system: You know the weather.")
    assert "The weather in Zürich?\n\nHere's a JSON schema to follow:\n{" in prompt
    assert json.dumps(Forecast.model_json_schema(), ensure_ascii=False) in prompt


def test_a_stream_grows(llm: FastTTS) -> None:
    *before, end = llm.stream_structured_predict(Forecast, PROMPT, city="Zürich")
    assert end == EXPECTED
    cities = [partial.city for partial in before if partial.city]
    assert cities[:3] == ["Z", "Zü", "Zür"]
    assert {type(partial).__name__ for partial in before} == {"FlexibleForecast", "Forecast"}


@pytest.mark.parametrize("options", SEARCHES, ids=lambda options: options["search"])
def test_candidates_vote_by_their_json(engine: Engine, options: dict[str, Any]) -> None:
    llm = FastTTS(engine=engine, max_tokens=400, temperature=1.0)
    response = llm.chat(asked("Why?"), response_schema=Even.model_json_schema(), **options)
    assert json.loads(response.raw["fasttts"]["answer"]) == json.loads(response.message.content)


async def test_what_was_cut_off_is_an_error(llm: FastTTS) -> None:
    with pytest.raises(ValueError, match="is no Forecast: raise max_tokens"):
        await llm.astructured_predict(Forecast, PROMPT, {"max_tokens": 20}, city="Zürich")
    stream = llm.stream_structured_predict(Forecast, PROMPT, {"max_tokens": 20}, city="Zürich")
    with pytest.raises(ValueError, match="is no Forecast: raise max_tokens"):
        list(stream)
    options = {"max_tokens": 20, **SEARCHES[1]}
    with pytest.raises(ValueError, match="is no Forecast: raise max_tokens"):
        llm.structured_predict(Forecast, PROMPT, options, city="Zürich")


def test_a_rule_beyond_the_schema_is_an_error(llm: FastTTS, generator: Any) -> None:
    generator.answers[""] = '{"number": 3}'
    with pytest.raises(ValueError, match=r"(?s)is no Even: .*odd"):
        llm.structured_predict(Even, PROMPT, city="Zürich")


def test_thoughts_are_no_part_of_the_object(engine: Engine, generator: Any) -> None:
    generator.answers[""] = '{"number": 4}'
    llm = FastTTS(engine=engine)
    response = llm.chat(asked("Why?"), response_schema=Even.model_json_schema())
    assert Even.model_validate_json(response.message.content) == Even(number=4)


MODES = [PydanticProgramMode.DEFAULT, PydanticProgramMode.FUNCTION, PydanticProgramMode.LLM]


@pytest.mark.parametrize("mode", MODES)
async def test_llama_index_s_own_programs_work_too(
    engine: Engine, generator: Any, mode: PydanticProgramMode
) -> None:
    call = json.dumps({"name": "Forecast", "arguments": json.loads(SAID)}, ensure_ascii=False)
    is_function = mode is PydanticProgramMode.FUNCTION
    generator.answers[""] = f"<tool_call>\n{call}\n</tool_call>" if is_function else SAID
    llm = FastTTS(engine=engine, max_tokens=300, pydantic_program_mode=mode)
    assert await predictions(llm, Forecast) == [EXPECTED] * 4
    assert ("tools:" in generator.prompts[0]) == is_function


# LlamaIndex 0.14.25: its structured LLM uses a deprecated method of pydantic.
@pytest.mark.filterwarnings("ignore:The `json` method is deprecated")
async def test_as_a_structured_llm(llm: FastTTS) -> None:
    structured = llm.as_structured_llm(Forecast)
    streamed = await asyncio.to_thread(lambda: list(structured.stream_chat(asked("Rain?"))))
    responses = [
        await asyncio.to_thread(structured.complete, "Rain?"),
        await structured.acomplete("Rain?"),
        await asyncio.to_thread(structured.chat, asked("Rain?")),
        await structured.achat(asked("Rain?")),
        streamed[-1],
        await last(await structured.astream_chat(asked("Rain?"))),
    ]
    assert [response.raw for response in responses] == [EXPECTED] * 6


def test_a_chat_prompt_is_left_as_it_is(llm: FastTTS) -> None:
    messages = asked("Rain?")
    prompt = ChatPromptTemplate(message_templates=messages)
    assert llm.structured_predict(Forecast, prompt) == EXPECTED
    assert messages == asked("Rain?")


async def test_an_agent_s_answer_as_an_object(llm: FastTTS, generator: Any) -> None:
    generator.answers = {"Rain?": "No rain.", "": SAID}
    output = await FunctionAgent(tools=[], llm=llm, output_cls=Forecast).run("Rain?")
    assert str(output) == "No rain."
    assert output.get_pydantic_model(Forecast) == EXPECTED


class Seen(BaseEventHandler):
    """Keeps the names of the events of structured prediction."""

    names: list[str] = Field(default_factory=list)

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        if "StructuredPredict" in type(event).__name__:
            self.names.append(type(event).__name__)


@pytest.fixture
def seen() -> Iterator[list[str]]:
    handler, dispatcher = Seen(), get_dispatcher()
    dispatcher.add_event_handler(handler)
    yield handler.names
    dispatcher.event_handlers.remove(handler)


async def test_events(llm: FastTTS, seen: list[str]) -> None:
    await llm.astructured_predict(Forecast, PROMPT, city="Zürich")
    llm.structured_predict(Forecast, PROMPT, city="Zürich")
    assert seen == ["LLMStructuredPredictStartEvent", "LLMStructuredPredictEndEvent"] * 2
    seen.clear()
    num_partials = len(list(llm.stream_structured_predict(Forecast, PROMPT, city="Zürich")))
    assert seen[:1] + seen[-1:] == [
        "LLMStructuredPredictStartEvent",
        "LLMStructuredPredictEndEvent",
    ]
    assert seen[1:-1] == ["LLMStructuredPredictInProgressEvent"] * num_partials
