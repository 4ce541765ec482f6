"""Tool calls whose tags the model left out, as small models do.

A reply is such calls where it is nothing but JSON objects, each with the name of an offered tool
and then an object of arguments that its schema allows, be it in a code block. Text around them,
another key, another name or other arguments make it text: nothing is repaired. A model that repeats
itself until it is cut off makes each call once, and the one that was cut off not at all.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fasttts.decoding.tool_arguments import follow_schema
from fasttts.types import ParsedOutput, ToolCall

_BLOCK = re.compile(r"\A```(?:json)?\s*(\{.*\})\s*```\Z", re.DOTALL)
_ARGUMENTS = ("arguments", "parameters")
_BEGINNINGS = tuple(f'{block}{{"name":' for block in ("", "```", "```json"))
_NUM_READ = 64
"""Characters that decide whether a text may become such a call."""


def read_untagged_calls(text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedOutput | None:
    """Reads a text that is nothing but calls of offered tools; None for any other.

    Args:
        text: The generated text of one answer.
        tools: The tools offered, in OpenAI's form.
    """
    if not may_become_untagged_call(text):
        return None
    body = text.strip()
    block = _BLOCK.match(body)
    offered = dict(map(_name_and_parameters, tools))
    try:
        calls = [_call(found, offered) for found in _json_values(block[1] if block else body)]
    except (ValueError, RecursionError):
        return None
    return ParsedOutput(content="", tool_calls=tuple(dict.fromkeys(calls)))


def _name_and_parameters(tool: Mapping[str, Any]) -> tuple[object, Mapping[str, Any]]:
    described = tool.get("function", tool)
    name, parameters = described.get("name"), described.get("parameters")
    return (
        name if isinstance(name, str) else None,
        parameters if isinstance(parameters, Mapping) else {},
    )


def _json_values(text: str) -> Iterator[Any]:
    """The JSON values that a text consists of, but for a last one that was cut off."""
    decoder, left = json.JSONDecoder(), text
    while left:
        try:
            value, end = decoder.raw_decode(left)
        except ValueError:
            if left != text and _is_begun(left):
                return
            raise
        yield value
        left = left[end:].lstrip()


def _is_begun(text: str) -> bool:
    """Whether a text is the beginning of a call."""
    begun = "".join(text.split())
    return begun.startswith(_BEGINNINGS[0]) or _BEGINNINGS[0].startswith(begun)


def _call(value: Any, offered: Mapping[object, Mapping[str, Any]]) -> ToolCall:
    """The call that a JSON value is.

    Raises:
        ValueError: It is none.
    """
    match value:
        case {"name": str(name), "arguments": dict(arguments), **more} if name in offered:
            pass
        case {"name": str(name), "parameters": dict(arguments), **more} if name in offered:
            pass
        case _:
            raise ValueError("no call of an offered tool")
    if more:
        raise ValueError(f"a call has two keys, not {more} as well")
    if not follow_schema(arguments, offered[name]):
        raise ValueError("the tool does not take these arguments")
    return ToolCall(name=name, arguments=json.dumps(arguments, ensure_ascii=False))


def may_become_untagged_call(text: str) -> bool:
    """Whether a growing text begins as such a call does, or may yet."""
    begun = "".join(text.lstrip()[:_NUM_READ].split())
    return any(
        begun.startswith(beginning) or beginning.startswith(begun) for beginning in _BEGINNINGS
    )
