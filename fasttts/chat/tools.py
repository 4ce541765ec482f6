"""The tools that a model is offered and must call, from `tools` and `tool_choice`."""

from collections.abc import Mapping, Sequence
from typing import Any

from fasttts.engine.messages import check_tools
from fasttts.errors import ConfigurationError, shown, wrong_type

Tool = Mapping[str, Any]
"""A tool in OpenAI's form: `{"type": "function", "function": {...}}`."""

_COMBINING = frozenset({"$ref", "anyOf", "oneOf", "allOf"})
_ANY = ("any", "required", True)
_FREE = (None, "auto", False)


def offered_tools(tools: Sequence[Tool] | None, choice: object = None) -> tuple[Tool, ...]:
    """Returns the tools of the model's prompt.

    Args:
        tools: The caller's tools; None for none.
        choice: The caller's `tool_choice`; "none" offers none.

    Raises:
        ConfigurationError: They are no list, or a tool has no name or is no JSON of ordinary size
            and depth.
    """
    checked = check_tools(tools)
    return () if _kind(choice) == "none" else tuple(map(_named, checked))


def forced_tools(tools: Sequence[Tool] | None, choice: object = None) -> tuple[Tool, ...]:
    """Returns the tools of which the model must call one; empty where it decides by itself.

    Args:
        tools: The caller's tools; None for none.
        choice: None, "auto" and "none" force nothing; "any", "required" and True a call of some
            tool; a tool's name, alone or as a dictionary of OpenAI's or Anthropic's form, a call of
            that tool.

    Raises:
        ConfigurationError: `choice` is none of these, or names no tool.
    """
    kind, offered = _kind(choice), offered_tools(tools, choice)
    if kind in _FREE or kind == "none":
        return ()
    named = tuple(tool for tool in offered if kind in _ANY or tool_name(tool) == kind)
    if not named:
        known = ", ".join(map(tool_name, offered)) or "no tool"
        raise ConfigurationError(f"tool_choice={shown(choice)} forces a call of none of: {known}")
    return named


def tool_name(tool: Tool) -> str:
    """Returns the name that calls use."""
    return str(tool["function"]["name"])


def tool_parameters(tool: Tool) -> Mapping[str, Any]:
    """Returns the JSON schema of a call's arguments; an empty object where there are none."""
    schema: Mapping[str, Any] = tool["function"].get("parameters") or {}
    if not _COMBINING.isdisjoint(schema):  # with no properties beside them, none would be allowed
        return {"type": "object", **schema}
    return {"type": "object", "properties": {}, **schema}


def _kind(choice: object) -> object:
    """Reduces a choice to a tool's name, or to one of the words."""
    if isinstance(choice, Mapping):
        function = choice.get("function")
        inner = function.get("name") if isinstance(function, Mapping) else choice.get("name")
        kind = inner or choice.get("type")
        if isinstance(kind, str | bool | None) and (inner or kind in (*_ANY, *_FREE, "none")):
            return kind
    elif choice is None or isinstance(choice, str | bool):
        return choice
    raise ConfigurationError(
        f"tool_choice={shown(choice)} is not 'auto', 'none', 'any', 'required' or a tool's name"
    )


_VALUES = ("const", "default", "enum", "examples")
"""Keys of a schema whose values are data, not schemas."""

_BY_NAME = ("$defs", "definitions", "dependentSchemas", "patternProperties", "properties")
"""Keys of a schema whose values are schemas by a name of the user's."""


def _named(tool: Tool) -> Tool:
    function = tool.get("function")
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise wrong_type("tools", tool, "a list of tools with a function and its name")
    parameters = function.get("parameters")
    if not isinstance(parameters, Mapping | None):
        raise wrong_type(f"tools: the parameters of {function['name']}", parameters, "a schema")
    named: Tool = _without_titles(tool)
    return named


def _without_titles(schema: Any) -> Any:
    """The schema without pydantic's generated titles, so that all frameworks' prompts agree."""
    if isinstance(schema, list):
        return [_without_titles(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    kept: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _VALUES:
            kept[key] = value
        elif key in _BY_NAME and isinstance(value, Mapping):
            kept[key] = {name: _without_titles(item) for name, item in value.items()}
        elif key != "title" or not isinstance(value, str):
            kept[key] = _without_titles(value)
    return kept
