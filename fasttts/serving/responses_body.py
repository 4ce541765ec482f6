"""Requests of `/v1/responses`: input items become the messages of a conversation."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

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
    "background",
    "context_management",
    "conversation",
    "previous_response_id",
    "prompt",
    "top_logprobs",
)
_HARMLESS = {"background": False, "top_logprobs": 0}
_TEXT_PARTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")


class ResponsesBody(RequestBody):
    """The body of a request; OpenAI's reference describes the fields."""

    input: str | Objects
    instructions: str | None = None
    max_output_tokens: int | None = None
    tools: Objects | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None

    # Without effect: nothing is stored here, and the rest are hints to OpenAI's own service.
    include: list[Any] | None = None
    max_tool_calls: int | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    truncation: str | None = None

    # Refused where they would change a reply: the server keeps no state.
    background: bool | None = None
    context_management: Objects | None = None
    conversation: str | dict[str, Any] | None = None
    previous_response_id: str | None = None
    prompt: dict[str, Any] | None = None
    top_logprobs: int | None = None

    def call(self, served: ServedModel) -> Call:
        """Makes the call; takes as long as rendering does.

        Raises:
            ApiError: The model is not served, or a field has no counterpart here.
            ConfigurationError: An option, a message or a tool cannot work.
        """
        refuse(self, _UNSUPPORTED, _HARMLESS)
        check_tool_choice(self.tool_choice, self.tools)
        return served.chat(
            self.model,
            messages(self.input, self.instructions),
            options={**self.sampling, "max_tokens": self.max_output_tokens},
            effort=_effort(self.reasoning),
            own=self.fasttts,
            tools=function_tools([_function(tool) for tool in self.tools or ()]),
            tool_choice=self.tool_choice if self.tools else None,
            is_parallel=self.parallel_tool_calls is not False,
            response_schema=format_schema((self.text or {}).get("format"), "text.format"),
            prefix="resp_",
        )


def messages(given: str | Sequence[Mapping[str, Any]], instructions: str | None) -> list[Message]:
    """Converts input items to messages.

    Calls and thoughts are items of their own there; here they belong to the assistant's message.

    Args:
        given: A text of the user, or items.
        instructions: A system message before them; None for none.

    Raises:
        ApiError: An item is of a kind that the models cannot read.
    """
    found: list[dict[str, Any]] = []
    if instructions:
        found.append({"role": "system", "content": instructions})
    if isinstance(given, str):
        return [*found, {"role": "user", "content": given}]
    thoughts = ""
    for item in given:
        kind = item.get("type", "message")
        if kind == "reasoning":
            thoughts = _text(item.get("content") or item.get("summary") or [])
            continue
        message = _message(kind, item)
        if message["role"] == "assistant" and thoughts:
            message["reasoning_content"], thoughts = thoughts, ""
        if kind == "function_call" and found and found[-1]["role"] == "assistant":
            found[-1].setdefault("tool_calls", []).extend(message["tool_calls"])
        else:
            found.append(message)
    return list(found)


def _message(kind: object, item: Mapping[str, Any]) -> dict[str, Any]:
    match kind:
        case "message":
            role = item.get("role")
            role = "system" if role == "developer" else role
            return {"role": role, "content": _text(item.get("content"))}
        case "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            call = {"id": item.get("call_id"), "type": "function", "function": function}
            return {"role": "assistant", "content": None, "tool_calls": [call]}
        case "function_call_output":
            output = item.get("output")
            text = output if isinstance(output, str | list) else json.dumps(output)
            return {"role": "tool", "tool_call_id": item.get("call_id"), "content": _text(text)}
    raise _unreadable(kind)


def _text(content: object) -> str:
    """The text of a content, or of its parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise ApiError(
            "the content of an input item is a text or a list", status=400, param="input"
        )
    return "".join(_part_text(part) for part in content)


def _part_text(part: object) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else None
    text = part.get("refusal" if kind == "refusal" else "text") if isinstance(part, Mapping) else 0
    if kind not in (*_TEXT_PARTS, "refusal") or not isinstance(text, str):
        raise _unreadable(kind)
    return text


def _unreadable(kind: object) -> ApiError:
    message = f"the input holds {str(kind)[:80]!r}; the models read text and calls of functions"
    return ApiError(message, status=400, param="input")


def _effort(reasoning: Mapping[str, Any] | None) -> str | None:
    effort = (reasoning or {}).get("effort")
    if not isinstance(effort, str | None):
        raise ApiError("reasoning.effort is a word", status=400, param="reasoning.effort")
    return effort


def _function(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    if tool.get("type") != "function" or not isinstance(tool.get("name"), str):
        message = "tools: the models call functions only, as {'type': 'function', 'name': ...}"
        raise ApiError(message, status=400, param="tools")
    return tool
