"""Forced calls and structured output of `ChatFastTTS`, on an engine without models."""

import json
from enum import Enum
from typing import Any, Literal, TypedDict

import pytest
from jsonschema import Draft202012Validator
from langchain.agents import create_agent
from langchain_core.exceptions import OutputParserException
from langchain_core.utils.function_calling import convert_to_json_schema
from pydantic import BaseModel
from pydantic.v1 import BaseModel as OldBaseModel

from fasttts import ConfigurationError, FastTTS
from fasttts.decoding.tool_arguments import follow_schema
from fasttts.routing import Cascade
from langchain_fasttts import ChatFastTTS
from tests.integrations.conversations import get_weather
from tests.integrations.langchain_paths import on_every_path

SEARCHES: list[dict[str, Any]] = [
    {"temperature": 1.0},
    {"search": "best_of_n", "n": 3},
    {"search": "beam_search", "n": 4, "beam_width": 2, "search_args": {"step_tokens": 6}},
    {"search": "auto", "n": 4, "policy": Cascade(threshold=1.0), "temperature": 1.0},
]


class Report(BaseModel):
    """How something is."""

    mood: Literal["good", "bad"]
    is_sure: bool
    note: str | None = None


class OldReport(OldBaseModel):
    """How something is."""

    mood: Literal["good", "bad"]
    is_sure: bool


class Mood(Enum):
    GOOD = "good"


class TypedReport(TypedDict):
    """How something is."""

    mood: Literal["good", "bad"]
    is_sure: bool


SCHEMAS = [Report, OldReport, TypedReport, Report.model_json_schema()]


@pytest.mark.parametrize("choice", ["any", "required", True, "get_weather", {"type": "any"}])
@pytest.mark.parametrize("search", SEARCHES, ids=str)
async def test_a_forced_call_on_every_path(
    engine: FastTTS, choice: Any, search: dict[str, Any]
) -> None:
    model = ChatFastTTS(engine=engine, max_tokens=500, **search)
    tools = model.bind_tools([get_weather], tool_choice=choice, parallel_tool_calls=False)
    messages = await on_every_path(tools, "Rain?")
    found = [(m.content, [(c["name"], c["args"]) for c in m.tool_calls]) for m in messages]
    assert found == [found[0]] * len(found)
    content, ((name, arguments),) = found[0]
    assert (content, name, set(arguments)) == ("", "get_weather", {"city"})
    assert {m.response_metadata["finish_reason"] for m in messages} == {"tool_calls"}
    assert [m.usage_metadata for m in messages] == [messages[0].usage_metadata] * len(messages)


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
@pytest.mark.parametrize("schema", SCHEMAS, ids=["pydantic", "old", "typed", "dict"])
@pytest.mark.parametrize("strict", [None, True, False])
def test_every_method_and_schema(
    engine: FastTTS, method: Any, schema: Any, strict: bool | None
) -> None:
    model = ChatFastTTS(engine=engine, max_tokens=900, search="best_of_n", n=4)
    found = model.with_structured_output(schema, method=method, strict=strict).invoke("Well?")
    values = found.dict() if isinstance(found, OldReport) else found
    report = Report.model_validate(values, from_attributes=True)
    assert report.mood in ("good", "bad")
    if isinstance(schema, type) and schema is not TypedReport:
        assert isinstance(found, schema)


INTEGER: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": 9}
FIELDS: dict[str, Any] = {"properties": {"a": INTEGER}, "required": ["a"]}
OBJECT: dict[str, Any] = {"type": "object", **FIELDS}


class Inner(TypedDict):
    a: int


class Outer(TypedDict):
    inner: Inner
    more: list[Inner]


UNTITLED: dict[str, Any] = {
    "an object": OBJECT,
    "a description": {"description": "A digit.", **OBJECT},
    "fields alone": FIELDS,
    "definitions": {
        "$defs": {"P": OBJECT}, "type": "object", "properties": {"p": {"$ref": "#/$defs/P"}},
        "required": ["p"],
    },
    "a reference": {"$defs": {"P": OBJECT}, "$ref": "#/$defs/P"},
    "a choice of objects": {"anyOf": [OBJECT, {**OBJECT, "properties": {"b": INTEGER}}]},
    "OpenAI's schema": {"name": "digit", "strict": True, "schema": OBJECT},
    "OpenAI's function": {"name": "digit", "parameters": OBJECT},
    "nested": Outer,
}  # fmt: skip
VALUES: dict[str, Any] = {
    "an array": {"type": "array", "items": INTEGER, "minItems": 1, "maxItems": 2},
    "a titled array": {"title": "Digits", "type": "array", "items": INTEGER, "maxItems": 2},
    "an enum": {"enum": ["a", "b"]},
    "a titled enum": {"title": "Letter", "enum": ["a", "b"]},
    "a choice": {"anyOf": [INTEGER, {"const": "none"}]},
    "several types": {"type": ["integer", "null"], "minimum": 0},
}


def has_form(value: Any, schema: Any) -> bool:
    if schema is Outer:
        schema = convert_to_json_schema(Outer)
    return follow_schema(value, schema.get("schema") or schema.get("parameters") or schema)


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
@pytest.mark.parametrize("name", UNTITLED)
async def test_schemas_need_no_title(engine: FastTTS, method: Any, name: str) -> None:
    model = ChatFastTTS(engine=engine, max_tokens=900, temperature=1.0)
    objects = model.with_structured_output(UNTITLED[name], method=method)
    found = [objects.invoke("Well?"), await objects.ainvoke("Well?")]
    found += [list(objects.stream("Well?"))[-1], [o async for o in objects.astream("Well?")][-1]]
    assert found == [found[0]] * 4
    assert has_form(found[0], UNTITLED[name])


@pytest.mark.parametrize("name", VALUES)
def test_values_that_are_no_objects_follow_their_schema(engine: FastTTS, name: str) -> None:
    model = ChatFastTTS(engine=engine, max_tokens=900, temperature=1.0)
    found = model.with_structured_output(VALUES[name]).invoke("Well?")
    assert Draft202012Validator(VALUES[name]).is_valid(found)
    if name != "a choice":
        with pytest.raises(ConfigurationError, match=r"are no object: .* method='json_schema'"):
            model.with_structured_output(VALUES[name], method="function_calling")


CIRCULAR: dict[str, Any] = {"type": "object"}
CIRCULAR["properties"] = {"a": CIRCULAR}


@pytest.mark.parametrize(
    "schema", [3, "Report", int, Mood, Report(mood="good", is_sure=True), {1: 2}, CIRCULAR, True]
)
@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_what_is_no_schema_is_refused(engine: FastTTS, method: Any, schema: Any) -> None:
    with pytest.raises(ConfigurationError, match="is no pydantic class, typed dictionary"):
        ChatFastTTS(engine=engine).with_structured_output(schema, method=method)


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
async def test_objects_are_the_same_on_every_path(engine: FastTTS, method: Any) -> None:
    model = ChatFastTTS(engine=engine, max_tokens=900, temperature=1.0)
    objects = model.with_structured_output(TypedReport, method=method)
    found = [objects.invoke("Well?"), await objects.ainvoke("Well?")]
    found += [list(objects.stream("Well?"))[-1], [o async for o in objects.astream("Well?")][-1]]
    assert found == [found[0]] * 4


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_a_cut_off_object_is_an_error(engine: FastTTS, method: Any) -> None:
    model = ChatFastTTS(engine=engine, max_tokens=12)
    objects = model.with_structured_output(TypedReport, method=method)
    with pytest.raises(OutputParserException, match="max_tokens"):
        objects.invoke("Well?")
    with pytest.raises(OutputParserException, match="max_tokens"):
        list(objects.stream("Well?"))
    both = model.with_structured_output(TypedReport, method=method, include_raw=True)
    found = both.invoke("Well?")
    assert found["parsed"] is None
    assert isinstance(found["parsing_error"], OutputParserException)
    assert found["raw"].response_metadata["finish_reason"] == "length"


def test_raw_and_parsed_together(engine: FastTTS) -> None:
    model = ChatFastTTS(engine=engine, max_tokens=900, temperature=1.0)
    found = model.with_structured_output(Report, include_raw=True).invoke("Well?")
    assert found["parsing_error"] is None
    assert found["parsed"] == Report.model_validate_json(found["raw"].content)


def test_json_without_a_schema(engine: FastTTS, generator: Any) -> None:
    generator.answers["Well?"] = '{"a": [1, 2]}'
    model = ChatFastTTS(engine=engine)
    assert model.with_structured_output(method="json_mode").invoke("Well?") == {"a": [1, 2]}
    with pytest.raises(ConfigurationError, match="needs a schema"):
        model.with_structured_output()
    with pytest.raises(ConfigurationError, match="method='guess'"):
        model.with_structured_output(Report, method="guess")


@pytest.mark.parametrize(
    "asked",
    [
        {"type": "json_schema", "json_schema": {"name": "r", "schema": Report.model_json_schema()}},
        Report.model_json_schema(),
        Report,
    ],
)
def test_response_formats(engine: FastTTS, asked: Any) -> None:
    model = ChatFastTTS(engine=engine, max_tokens=900, temperature=1.0)
    text = model.invoke("Well?", response_format=asked).content
    assert Report.model_validate_json(str(text))
    assert model.invoke("Well?", response_format={"type": "text"}).content
    with pytest.raises(ConfigurationError, match="response_format"):
        model.invoke("Well?", response_format={"type": "xml"})


def test_an_agent_answers_in_a_schema(engine: FastTTS, generator: Any, weather_call: str) -> None:
    generator.answers["Rain?"] = weather_call
    generator.answers["sunny in Paris"] = '{"mood": "good", "is_sure": true}'
    agent = create_agent(ChatFastTTS(engine=engine), [get_weather], response_format=Report)
    found = agent.invoke({"messages": [("user", "Rain?")]})
    assert found["structured_response"] == Report(mood="good", is_sure=True)
    kinds = [message.type for message in found["messages"]]
    assert kinds == ["human", "ai", "tool", "ai"]


def test_candidates_vote_for_objects(engine: FastTTS) -> None:
    model = ChatFastTTS(engine=engine, max_tokens=900, search_args={"selection": "majority"})
    asked = {"response_format": Report, "search": "best_of_n", "n": 9}
    message = model.invoke("Well?", **asked)
    report = message.response_metadata["fasttts"]
    assert json.loads(report["answer"]) == json.loads(str(message.content))
    assert report["config"]["answer"] == "json"
