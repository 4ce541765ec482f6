"""What of a tool's schema is shown to models: all but the titles that pydantic generates."""

from typing import Any

import pytest

from fasttts.chat.tools import offered_tools


def shown(parameters: dict[str, Any]) -> Any:
    tool = {"type": "function", "function": {"name": "book", "parameters": parameters}}
    (offered,) = offered_tools([tool], "auto")
    return offered["function"]["parameters"]


@pytest.mark.parametrize(
    "schema",
    [
        {"default": {"title": "Mr", "name": "X"}},
        {"enum": [{"title": "a"}, {"title": "b"}]},
        {"const": {"title": "a"}},
        {"examples": [{"title": "a"}]},
        {"properties": {"title": {"type": "string"}, "default": {"type": "integer"}}},
        {"$defs": {"title": {"type": "string"}}},
    ],
)
def test_values_and_names_are_kept(schema: dict[str, Any]) -> None:
    assert shown(schema) == schema


def test_generated_titles_are_left_out() -> None:
    named = {"title": "Default", "type": "object", "properties": {"a": {"title": "A"}}}
    schema = {"title": "Book", "properties": {"default": named}, "anyOf": [{"title": "X"}]}
    assert shown(schema) == {
        "properties": {"default": {"type": "object", "properties": {"a": {}}}},
        "anyOf": [{}],
    }
