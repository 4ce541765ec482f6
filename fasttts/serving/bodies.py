"""Parts that the bodies of requests have in common: parsing, stops, seeds, formats, tools."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fasttts.config.validation import refusal
from fasttts.serving.api_errors import ApiError

Body = TypeVar("Body", bound=BaseModel)
Texts = Annotated[list[str], Field(max_length=16)]

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
    metadata: dict[str, Any] | None = None
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
        return bool((self.stream_options or {}).get("include_usage"))


def parse(kind: type[Body], body: bytes) -> Body:
    """Reads a body.

    Args:
        kind: Its fields.
        body: JSON text.

    Raises:
        ApiError: It is no JSON, or a field is unknown, missing or of a wrong type.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            raise ApiError(f"the body is no JSON: {first['msg']}", status=400) from error
        param = str(first["loc"][0]) if first["loc"] else None
        raise ApiError(str(refusal(kind, error))[:2000], status=400, param=param) from error


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


def format_schema(asked: Mapping[str, Any] | None, param: str) -> Mapping[str, Any] | None:
    """Returns the JSON schema that a `response_format` stands for; None for any text.

    Args:
        asked: The format: text, any JSON object, or a schema; of Chat Completions or of Responses.
        param: The field that holds it.

    Raises:
        ApiError: It is none of these.
    """
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


def function_tool(function: Mapping[str, Any]) -> dict[str, Any]:
    """A tool in OpenAI's form, as all frameworks of this project offer it.

    Calls that are forced follow their schema anyway, so `strict` says nothing and is left out.

    Args:
        function: Name, description and parameters of a function.
    """
    kept = {
        name: value
        for name, value in function.items()
        if name not in ("strict", "type") and value is not None
    }
    return {"type": "function", "function": kept}
