"""Which tools a model is offered, from the frameworks' `tools` and `tool_choice`."""

from collections.abc import Mapping, Sequence
from typing import Any

from fasttts.errors import ConfigurationError

Tool = Mapping[str, Any]
"""A tool in OpenAI's form: `{"type": "function", "function": {...}}`."""


def offered_tools(tools: Sequence[Tool] | None, choice: object = None) -> tuple[Tool, ...]:
    """The tools the model may call; with a choice of "none" it sees none of them.

    Raises:
        ConfigurationError: `choice` wants to force a call.
    """
    if choice not in (None, "auto", "none"):
        raise ConfigurationError(
            f"tool_choice={choice!r} would force a call, which this version cannot: the model "
            "decides by itself (None or 'auto'), or is offered no tools ('none')"
        )
    return () if choice == "none" or not tools else tuple(map(_without_titles, tools))


def _without_titles(schema: Any) -> Any:
    """The schema without pydantic's generated titles, so that all frameworks' prompts agree."""
    if isinstance(schema, Mapping):
        return {
            key: _without_titles(value)
            for key, value in schema.items()
            if not (key == "title" and isinstance(value, str))
        }
    return [_without_titles(item) for item in schema] if isinstance(schema, list) else schema
