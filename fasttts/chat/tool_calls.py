"""Tool calls: grammars that force them, their text, and their canonical form for votes."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from fasttts.answers.canonical_json import canonical_json
from fasttts.chat.tools import Tool, tool_name, tool_parameters
from fasttts.decoding.json_checks import check_json
from fasttts.decoding.schema_checks import check_schemas
from fasttts.decoding.structured_outputs import StructuredOutputs, inline_json
from fasttts.decoding.tool_arguments import follow_schema
from fasttts.errors import ConfigurationError, shown
from fasttts.interfaces import CallFormat
from fasttts.types import ParsedOutput, ToolCall

JSON_CALLS = CallFormat(prefix="[", arguments_key="parameters", separator=", ", suffix="]")
"""A JSON list, which vLLM's server forces on models whose own format it cannot force."""


def constraint(
    offered: Sequence[Tool],
    forced: Sequence[Tool],
    *,
    call_format: CallFormat | None,
    is_parallel: bool,
    schema: Mapping[str, Any] | None,
) -> StructuredOutputs:
    """The form of an answer where a call is forced or a schema is given.

    Args:
        offered: Tools that may be called.
        forced: Tools of which one must be called; if empty, any of `offered` may be.
        call_format: How the model writes calls; None where no `CallFormat` describes it.
        is_parallel: Whether there may be more than one call.
        schema: JSON schema of an answer that is no call; None allows any text.

    Raises:
        ConfigurationError: No grammar can follow a schema, or one is beyond a limit.
    """
    calls = forced or offered
    for tool in calls:
        with _refused_schemas(tool_name(tool)):
            check_schemas(tool_parameters(tool))
    with _refused_schemas("the answer"):
        if not calls:
            return StructuredOutputs(json=schema)  # type: ignore[arg-type]  # it reads both
        if schema is not None:
            check_schemas(schema)
    rules = _rules(calls, call_format or JSON_CALLS, is_parallel, None if forced else schema)
    with _refused_schemas(", ".join(map(tool_name, calls))):
        return StructuredOutputs(grammar="\n".join(rules) + "\n")


@contextmanager
def _refused_schemas(names: str) -> Iterator[None]:
    """Names the tools, or the answer, whose schema an error is about."""
    try:
        yield
    except ValueError as error:
        if isinstance(error, ValidationError):
            problem = error.errors()[0]["msg"].removeprefix("Value error, ")
        else:
            problem = str(error)
        message = f"the schema of {names} cannot be followed: {problem}"
        raise ConfigurationError(message) from error


def _rules(
    tools: Sequence[Tool],
    call_format: CallFormat,
    is_parallel: bool,
    schema: Mapping[str, Any] | None,
) -> list[str]:
    more = f"({_quoted(call_format.separator)} call)*" if is_parallel else ""
    calls = _sequence(_quoted(call_format.prefix), "call", more, _quoted(call_format.suffix))
    start = calls if schema is None else f"({calls}) | {inline_json(schema)}"
    names = " | ".join(f"tool_{index}" for index in range(len(tools)))
    call = _sequence(_quoted(call_format.begin), f"({names})", _quoted(call_format.end))
    rules = [f"start: {start}", f"call: {call}"]
    for index, tool in enumerate(tools):
        head = f'{{"name": {json.dumps(tool_name(tool))}, "{call_format.arguments_key}": '
        body = _sequence(_quoted(head), inline_json(tool_parameters(tool)), _quoted("}"))
        rules.append(f"tool_{index}: {body}")
    return rules


def parse_json_calls(text: str) -> ParsedOutput:
    """Parses the calls of a text in the format `JSON_CALLS`; any other text has none."""
    try:
        found = json.loads(text)
        calls = tuple(
            ToolCall(name=str(call["name"]), arguments=json.dumps(call["parameters"]))
            for call in found
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        return ParsedOutput(content=text)
    return ParsedOutput(content="", tool_calls=calls)


def written_call(name: object, arguments: object, call_id: object) -> dict[str, Any]:
    """Writes a call of a conversation in OpenAI's form.

    Args:
        name: The tool's name.
        arguments: The arguments; a text, such as that of a call that could not be read, is written
            as it is.
        call_id: The id that the call's result repeats; None for none.

    Raises:
        ConfigurationError: There is no name, or the arguments are no JSON.
    """
    if not isinstance(name, str):  # an empty one may be the model's own
        raise ConfigurationError(
            f"a tool call of the conversation has no name (id {shown(call_id)})"
        )
    if not isinstance(arguments, str):
        try:
            check_json(arguments, max_chars=None)
            arguments = json.dumps(arguments, ensure_ascii=False)
        except ValueError as error:
            raise ConfigurationError(
                f"the arguments of the conversation's call of {shown(name)} are no JSON: {error}"
            ) from error
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def canonical_calls(calls: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """One spelling for all calls with these names and equal arguments."""
    return canonical_json({"tool_calls": [{"name": n, "arguments": a} for n, a in calls]})


def call_checker(tools: Sequence[Tool]) -> Callable[[str, Mapping[str, Any]], bool]:
    """Makes a predicate: whether one of the tools accepts a name and arguments."""
    schemas = {tool_name(tool): tool_parameters(tool) for tool in tools}

    def is_taken(name: str, arguments: Mapping[str, Any]) -> bool:
        schema = schemas.get(name)
        if schema is None:
            return False
        try:
            return follow_schema(arguments, schema)
        except ValueError:  # a schema that says nothing forbids nothing
            return True

    return is_taken


def _quoted(text: str) -> str:
    """A text as a Lark literal; empty for an empty text."""
    return json.dumps(text) if text else ""


def _sequence(*parts: str) -> str:
    return " ".join(filter(None, parts))
