"""Answers as objects: requests for a schema, and parsers of the replies."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
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
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass

from fasttts.errors import ConfigurationError

Schema = dict[str, Any] | type
Method = Literal["json_schema", "function_calling", "json_mode"]

ANY_OBJECT = {"type": "object", "additionalProperties": True}


def call_parser(schema: Schema) -> tuple[str, BaseOutputParser[Any]]:
    """Returns the name of a schema's tool, and the parser of its calls.

    Pydantic classes give objects, dictionaries and typed dictionaries give dictionaries.
    """
    name = str(convert_to_openai_tool(schema)["function"]["name"])
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
    json_schema = convert_to_json_schema(schema)
    name = json_schema.get("title", "answer")
    return {"type": "json_schema", "json_schema": {"name": name, "schema": json_schema}}


def response_schema(asked: Any) -> Mapping[str, Any] | None:
    """Returns the JSON schema of a call's `response_format`; None where it asks for text.

    Raises:
        ConfigurationError: The format is of another kind.
    """
    if isinstance(asked, type):
        return convert_to_json_schema(asked)
    match asked:
        case {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return ANY_OBJECT
        case {"type": "json_schema", "json_schema": {"schema": Mapping() as schema}}:
            return schema
        case {"type": "object"}:
            return dict(asked)
    raise ConfigurationError(
        f"response_format={asked!r} is not 'text', 'json_object' or 'json_schema' in OpenAI's form"
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
