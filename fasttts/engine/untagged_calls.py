"""Tool calls whose tags the model left out, as small models do.

A reply is such a call where it is nothing but one JSON object with the name of an offered tool and
then an object of arguments, be it in a code block. Text around it, another key or another name make
it text: nothing is repaired.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fasttts.types import ParsedOutput, ToolCall

_BLOCK = re.compile(r"\A```(?:json)?\s*(\{.*\})\s*```\Z", re.DOTALL)
_ARGUMENTS = ("arguments", "parameters")
_BEGINNINGS = tuple(f'{block}{{"name":' for block in ("", "```", "```json"))
_NUM_READ = 64
"""Characters that decide whether a text may become such a call."""


def read_untagged_call(text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedOutput | None:
    """Reads a text that is nothing but a call of an offered tool; None for any other.

    Args:
        text: The generated text of one answer.
        tools: The tools offered, in OpenAI's form.
    """
    if not may_become_untagged_call(text):
        return None
    body = text.strip()
    block = _BLOCK.match(body)
    try:
        call = json.loads(block[1] if block else body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(call, dict) or len(call) != 2:
        return None
    name = call.get("name")
    arguments = next((call[key] for key in _ARGUMENTS if key in call), None)
    offered = [tool.get("function", tool).get("name") for tool in tools]
    if not isinstance(name, str) or name not in offered or not isinstance(arguments, dict):
        return None
    found = ToolCall(name=name, arguments=json.dumps(arguments, ensure_ascii=False))
    return ParsedOutput(content="", tool_calls=(found,))


def may_become_untagged_call(text: str) -> bool:
    """Whether a growing text begins as such a call does, or may yet."""
    begun = "".join(text.lstrip()[:_NUM_READ].split())
    return any(
        begun.startswith(beginning) or beginning.startswith(begun) for beginning in _BEGINNINGS
    )
