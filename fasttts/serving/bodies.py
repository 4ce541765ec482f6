"""Parts that the bodies of requests have in common: parsing, stops, seeds, formats, tools."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from fasttts.config.validation import did_you_mean, refusal
from fasttts.serving.api_errors import ApiError

Body = TypeVar("Body", bound=BaseModel)
Texts = Annotated[list[str], Field(max_length=16)]

Objects = Annotated[list[dict[str, Any]], Field(fail_fast=True)]
"""Of a long list of something else, one item is enough to refuse it."""

_MAX_METADATA = 16
"""Pairs of `metadata`, as OpenAI has it."""

_FUNCTION_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_ANY_OBJECT = {"type": "object"}
_SEED_MASK = (1 << 63) - 1


class RequestBody(BaseModel):
    """Fields of every endpoint that generates.

    Attributes:
        model: The model, with or without a search.
        stream: Whether the reply is streamed.
        stream_options: `include_usage` asks for a chunk with the usage.
        temperature: 0 is greedy.
        top_p: Sample among the most likely tokens that reach this probability.
        top_k: Sample among the k most likely tokens, as vLLM's server takes it; so are the next.
        min_p: Drop tokens below this share of the largest probability.
        repetition_penalty: Makes tokens that occurred less likely.
        seed: The same request with the same seed has the same reply; None is seed 0.
        stop: Strings that end a reply.
        user: Without effect; so are the next ones.
        fasttts: Options of a search; see `SearchConfig`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: str | Texts | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    fasttts: dict[str, Any] | None = None

    @property
    def sampling(self) -> dict[str, Any]:
        """The options of a search that these fields stand for; those that are None say nothing."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop
        return {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k if self.top_k != -1 else 0,  # vLLM's way to turn it off
            "min_p": self.min_p,
            "repetition_penalty": self.repetition_penalty,
            "seed": None if self.seed is None else self.seed & _SEED_MASK,
            "stop": tuple(stop) if stop else None,
        }

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with a chunk that has the usage."""
        return (self.stream_options or {}).get("include_usage") is True


def parse(kind: type[Body], body: bytes) -> Body:
    """Reads a body.

    Args:
        kind: Its fields.
        body: JSON text.

    Raises:
        ApiError: It is no JSON, or a field is unknown, missing or of a wrong type.
    """
    try:
        given = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise ApiError(f"the body is no JSON: {error}", status=400) from error
    if not isinstance(given, dict):
        raise ApiError("the body is no JSON object", status=400)
    check_names(given, kind.model_fields)
    if isinstance(metadata := given.get("metadata"), dict) and len(metadata) > _MAX_METADATA:
        message = f"metadata has {len(metadata)} pairs: {_MAX_METADATA} at most"
        raise ApiError(message, status=400, param="metadata")
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        param = str(first["loc"][0]) if first["loc"] else None
        raise ApiError(str(refusal(kind, error))[:2000], status=400, param=param) from error


def check_names(given: Mapping[str, Any], known: Mapping[str, Any], prefix: str = "") -> None:
    """Refuses the first unknown name, however many there are.

    Args:
        given: Fields or options of a request.
        known: Those that there are, by name.
        prefix: What stands before their names in messages.

    Raises:
        ApiError: A name is unknown.
    """
    for name in given:
        if name not in known:
            shown = f"{prefix}{name[:80]}"
            message = f"unknown option {shown!r}: {did_you_mean(name[:80], known)}"
            raise ApiError(message, status=400, param=shown)


def refuse(body: BaseModel, fields: Sequence[str], harmless: Mapping[str, Any]) -> None:
    """Refuses fields that would change a reply and have no counterpart here.

    Args:
        body: The request.
        fields: The names of these fields.
        harmless: Values of some that change nothing, besides None.

    Raises:
        ApiError: One of them is set.
    """
    for name in fields:
        value = getattr(body, name)
        if value is not None and value != harmless.get(name) and value not in ([], {}):
            message = f"{name} has no counterpart here: leave it out"
            raise ApiError(message, status=400, code="unsupported_parameter", param=name)


def format_schema(asked: Any, param: str) -> Mapping[str, Any] | None:
    """Returns the JSON schema that a `response_format` stands for; None for any text.

    Args:
        asked: The format: text, any JSON object, or a schema; of Chat Completions or of Responses.
        param: The field that holds it.

    Raises:
        ApiError: It is none of these.
    """
    if not isinstance(asked, Mapping | None):
        raise ApiError(f"{param} is an object with a type", status=400, param=param)
    kind = "text" if asked is None else asked.get("type")
    if asked is None or kind == "text":
        return None
    if kind == "json_object":
        return _ANY_OBJECT
    inner = asked.get("json_schema", asked)
    schema = inner.get("schema") if isinstance(inner, Mapping) else None
    if kind != "json_schema" or not isinstance(schema, Mapping):
        message = f"{param}: give type 'text', 'json_object', or 'json_schema' with a schema"
        raise ApiError(message, status=400, param=param)
    return schema


def function_tools(functions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]] | None:
    """Tools in OpenAI's form; None where there are none.

    Args:
        functions: Name, description and parameters of each function.

    Raises:
        ApiError: One of them is none, or two have one name.
    """
    tools = [_function_tool(function) for function in functions]
    names = [tool["function"]["name"] for tool in tools]
    for name in names if len(set(names)) < len(names) else ():
        if names.count(name) > 1:
            raise ApiError(f"tools: two have the name {name!r}", status=400, param="tools")
    return tools or None


def check_tool_choice(choice: Any, tools: Sequence[Any] | None) -> None:
    """Refuses a forced call where there is nothing to call.

    Args:
        choice: The field of the request.
        tools: The tools; None or empty for none.

    Raises:
        ApiError: A call is asked for, and there are no tools; or the choice is none.
    """
    if isinstance(choice, Mapping) and "type" not in choice:
        raise ApiError("tool_choice is an object with a type", status=400, param="tool_choice")
    if not tools and choice not in (None, "none", "auto"):
        message = "tool_choice asks for a call, and there are no tools: give tools, or leave it out"
        raise ApiError(message, status=400, param="tool_choice")


def _function_tool(function: Mapping[str, Any]) -> dict[str, Any]:
    """One tool; calls that are forced follow their schema anyway, so `strict` is left out."""
    name = function.get("name")
    if not isinstance(name, str) or _FUNCTION_NAME.fullmatch(name) is None:
        message = f"a tool's name has 1 to 128 of A-Z a-z 0-9 _ . -, not {str(name)[:80]!r}"
        raise ApiError(message, status=400, param="tools")
    for field, kind in (("description", str), ("strict", bool)):
        if not isinstance(function.get(field), kind | None):
            message = f"tools: {field} of {name!r} is no {kind.__name__}"
            raise ApiError(message, status=400, param="tools")
    kept = {
        name: value
        for name, value in function.items()
        if name not in ("strict", "type") and value is not None
    }
    return {"type": "function", "function": kept}
