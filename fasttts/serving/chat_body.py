"""Requests of `/v1/chat/completions`."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from fasttts.serving.api_errors import ApiError
from fasttts.serving.bodies import (
    Objects,
    RequestBody,
    check_tool_choice,
    format_schema,
    function_tools,
    refuse,
)
from fasttts.serving.call import Call
from fasttts.serving.model import ServedModel
from fasttts.types import Message

_UNSUPPORTED = (
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "modalities",
    "prediction",
    "presence_penalty",
    "web_search_options",
)
_HARMLESS = {
    "frequency_penalty": 0,
    "function_call": "none",
    "modalities": ["text"],
    "presence_penalty": 0,
}


class ChatBody(RequestBody):
    """The body of a request; OpenAI's reference describes the fields."""

    messages: Objects
    n: int | None = Field(default=None, ge=1, le=128)
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    tools: Objects | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None

    # Of vLLM's server.
    chat_template_kwargs: dict[str, Any] | None = None
    thinking_token_budget: int | None = None

    # Without effect: hints to OpenAI's own service.
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    verbosity: str | None = None

    # Refused where they would change a reply.
    audio: dict[str, Any] | None = None
    frequency_penalty: float | None = None
    function_call: str | dict[str, Any] | None = None
    functions: Objects | None = None
    logit_bias: dict[str, Any] | None = None
    modalities: list[Any] | None = None
    prediction: dict[str, Any] | None = None
    presence_penalty: float | None = None
    web_search_options: dict[str, Any] | None = None

    @property
    def _num_logprobs(self) -> int | None:
        if self.logprobs:
            return self.top_logprobs or 0
        if self.top_logprobs:
            message = f"top_logprobs={self.top_logprobs}: set logprobs as well"
            raise ApiError(message, status=400, param="top_logprobs")
        return None

    def call(self, served: ServedModel) -> Call:
        """Makes the call; takes as long as rendering does.

        Raises:
            ApiError: The model is not served, or a field has no counterpart here.
            ConfigurationError: An option, a message or a tool cannot work.
        """
        refuse(self, _UNSUPPORTED, _HARMLESS)
        check_tool_choice(self.tool_choice, self.tools)
        longest = self.max_tokens
        if self.max_completion_tokens is not None:
            longest = self.max_completion_tokens
        return served.chat(
            self.model,
            [_message(message) for message in self.messages],
            options={
                **self.sampling,
                "max_tokens": longest,
                "num_logprobs": self._num_logprobs,
                "chat_template_kwargs": self.chat_template_kwargs,
                "thinking_token_budget": self.thinking_token_budget,
            },
            effort=self.reasoning_effort,
            own=self.fasttts,
            num_choices=self.n or 1,
            tools=function_tools([_function(tool) for tool in self.tools or ()]),
            tool_choice=self.tool_choice if self.tools else None,
            is_parallel=self.parallel_tool_calls is not False,
            response_schema=format_schema(self.response_format, "response_format"),
        )


def _message(message: Mapping[str, Any]) -> Message:
    """A message as chat templates know it."""
    converted = {name: value for name, value in message.items() if value is not None}
    if "function_call" in converted:
        raise ApiError("function_call is of the past: use tool_calls", status=400, param="messages")
    if converted.get("role") == "developer":
        converted["role"] = "system"  # OpenAI's newer word for it
    if "reasoning" in converted:
        converted.setdefault("reasoning_content", converted.pop("reasoning"))
    if isinstance(converted.get("content"), list):
        converted["content"] = [_part(part) for part in converted["content"]]
    for name in ("refusal", "annotations", "audio"):
        converted.pop(name, None)
    return converted


def _part(part: Any) -> Any:
    if isinstance(part, Mapping) and part.get("type") == "refusal":
        return {"type": "text", "text": part.get("refusal")}
    return part


def _function(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    function = tool.get("function")
    if tool.get("type", "function") != "function" or not isinstance(function, Mapping):
        message = "tools: the models call functions only, as {'type': 'function', 'function': ...}"
        raise ApiError(message, status=400, param="tools")
    return function
