"""Answers as objects: requests for a schema, and parsers of the replies."""

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from enum import Enum
from operator import itemgetter
from typing import Any, Literal

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import (
    BaseOutputParser,
    JsonOutputKeyToolsParser,
    JsonOutputParser,
    PydanticOutputParser,
    PydanticToolsParser,
)
from langchain_core.runnables import Runnable, RunnableGenerator, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass

from fasttts.decoding.json_checks import check_json
from fasttts.errors import ConfigurationError, shown, wrong_type

Schema = dict[str, Any] | type
Method = Literal["json_schema", "function_calling", "json_mode"]

ANY_OBJECT = {"type": "object", "additionalProperties": True}

_NAME = "answer"
"""The name of a schema without a title."""

_NAMED = {"function", "parameters", "input_schema", "schema", "toolSpec"}
"""Keys of a tool, or of a schema with a name, in the forms of OpenAI, Anthropic and Amazon."""

_JSON_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_VALUES = {"const", "enum"}
_SCHEMA_KEYS = {"type", "properties", "$ref", "anyOf", "oneOf", "allOf", *_VALUES}
"""Keys by which a dictionary is a JSON schema."""


def call_parser(schema: Schema) -> tuple[str, BaseOutputParser[Any]]:
    """Returns the name of a schema's tool, and the parser of its calls.

    Pydantic classes give objects, dictionaries and typed dictionaries give dictionaries.
    """
    name = str(tool_schema(schema)["function"]["name"])
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        return name, PydanticToolsParser(tools=[schema], first_tool_only=True)
    return name, JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)


def text_parser(schema: Schema | None) -> BaseOutputParser[Any]:
    """Returns the parser of a reply that is JSON."""
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        return PydanticOutputParser(pydantic_object=schema)
    return JsonOutputParser()


def response_format(schema: Schema | None) -> dict[str, Any]:
    """Makes the call option that asks for JSON, in OpenAI's form."""
    if schema is None:
        return {"type": "json_object"}
    json_schema = json_schema_of(schema)
    name = json_schema.get("title", _NAME)
    return {"type": "json_schema", "json_schema": {"name": name, "schema": json_schema}}


def response_schema(asked: Any) -> Mapping[str, Any] | None:
    """Returns the JSON schema of a call's `response_format`; None where it asks for text.

    Raises:
        ConfigurationError: The format is of another kind.
    """
    if isinstance(asked, type):
        return json_schema_of(asked)
    match asked:
        case {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return ANY_OBJECT
        case {"type": "json_schema", "json_schema": {"schema": Mapping() as schema}}:
            return schema
        case {"type": str(kind)} if kind not in _JSON_TYPES:
            pass
        case Mapping() if not _SCHEMA_KEYS.isdisjoint(asked):
            return json_schema_of(dict(asked))
    raise ConfigurationError(
        f"response_format={shown(asked, 200)} is not 'text', 'json_object' or 'json_schema' in "
        "OpenAI's form, nor a JSON schema"
    )


def traced(schema: Schema | None) -> Schema:
    """The schema as LangChain's traces take it; an empty one where LangChain cannot describe it."""
    try:
        convert_to_json_schema(schema)  # type: ignore[arg-type]  # it refuses None
    except Exception:  # noqa: BLE001, LangChain leaves out of a trace what is a ValueError alone
        return {}
    return schema or {}


def json_schema_of(schema: object) -> dict[str, Any]:
    """Describes a schema as a JSON schema; a JSON schema, with a title or without, as it is.

    Raises:
        ConfigurationError: It is none, or nothing that LangChain can describe.
    """
    if isinstance(schema, dict) and _NAMED.isdisjoint(schema):
        has_fields = "properties" in schema and "type" not in schema
        return {"type": "object", **_checked(schema)} if has_fields else _checked(schema)
    if isinstance(schema, dict) and isinstance(schema.get("schema"), dict):
        return {"title": str(schema.get("name") or _NAME), **_checked(schema["schema"])}
    return _described(schema, convert_to_json_schema)


def tool_schema(tool: object) -> dict[str, Any]:
    """Describes a tool, or a schema whose objects a call has as arguments, in OpenAI's form.

    Raises:
        ConfigurationError: It is none, or a schema of values that are no objects.
    """
    if isinstance(tool, dict) and not (_NAMED - {"schema"}).isdisjoint(tool):
        return _described(_checked(tool), convert_to_openai_tool)
    if not isinstance(tool, dict):
        described = _described(tool, convert_to_openai_tool)
        return _of_objects(described["function"].get("parameters") or {}, described)
    parameters = json_schema_of(tool)
    function = {"name": str(parameters.get("title") or _NAME), "parameters": parameters}
    if isinstance(parameters.get("description"), str):
        function["description"] = parameters["description"]
    return _of_objects(parameters, {"type": "function", "function": function})


def tool_schemas(tools: object) -> list[dict[str, Any]]:
    """Describes tools in OpenAI's form.

    Raises:
        ConfigurationError: They are no list, or one of them is no tool.
    """
    if isinstance(tools, str | bytes) or not isinstance(tools, Sequence):
        raise wrong_type("tools", tools, "a list of tools, functions, classes or schemas")
    try:
        return [tool_schema(tool) for tool in tools]
    except ConfigurationError as error:
        raise ConfigurationError(f"tools: {error}") from error


def _of_objects(parameters: Mapping[str, Any], tool: dict[str, Any]) -> dict[str, Any]:
    if parameters.get("type", "object") != "object" or not _VALUES.isdisjoint(parameters):
        raise ConfigurationError(
            f"the arguments of {tool['function']['name']!r} are no object: a call has an object; "
            "use method='json_schema' for other values"
        )
    return tool


def _checked(schema: dict[str, Any]) -> dict[str, Any]:
    try:
        check_json(schema)
    except ValueError as error:
        raise _refusal(schema, f": {error}") from error
    return schema


def _described(schema: Any, convert: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    is_enum = isinstance(schema, type) and issubclass(schema, Enum)
    if is_enum or not (isinstance(schema, dict | BaseTool) or callable(schema)):
        raise _refusal(schema)
    try:
        return convert(schema)
    except Exception as error:  # LangChain, pydantic and inspect raise what they like
        raise _refusal(schema, f": {error}") from error


def _refusal(schema: object, problem: str = "") -> ConfigurationError:
    return ConfigurationError(
        f"schema={shown(schema, 200)} is no pydantic class, typed dictionary, function, tool or "
        f"JSON schema{problem:.200}"
    )


def parsed(
    model: Runnable[LanguageModelInput, AIMessage],
    parser: BaseOutputParser[Any],
    *,
    include_raw: bool,
) -> Runnable[LanguageModelInput, Any]:
    """Chains a model with the parser of its replies.

    Args:
        model: The model.
        parser: Reads a whole reply; raises where it cannot be read.
        include_raw: Whether to return a dictionary with the message and the parsing error instead
            of raising it.
    """
    if not include_raw:
        return model | RunnableGenerator(_whole, _awhole) | parser
    read = RunnablePassthrough.assign(
        parsed=itemgetter("raw") | RunnableGenerator(_whole, _awhole) | parser,
        parsing_error=lambda _: None,
    )
    unread = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=model) | read.with_fallbacks([unread], exception_key="parsing_error")


def _whole(messages: Iterator[AIMessage]) -> Iterator[AIMessage]:
    """Passes messages on; raises at the end of a cut-off one, which parsers would complete."""
    text = ""
    for message in messages:
        yield message
        text += message.text
        _check_whole(message, text)


async def _awhole(messages: AsyncIterator[AIMessage]) -> AsyncIterator[AIMessage]:
    text = ""
    async for message in messages:
        yield message
        text += message.text
        _check_whole(message, text)


def _check_whole(message: AIMessage, text: str) -> None:
    if message.response_metadata.get("finish_reason") != "length":
        return
    try:
        json.loads(text)
    except ValueError as error:
        raise OutputParserException(
            "the answer was cut off: raise max_tokens", llm_output=text
        ) from error
