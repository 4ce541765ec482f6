"""Formats that no answer can follow: refused at every entrance, before anything is searched."""

from typing import Any

import pytest

from tests.serving.conftest import ASKED, Served

NODE = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
FORMATS: list[tuple[dict[str, Any], str]] = [
    (NODE, "at '#' ever ends"),
    ({"$ref": "#"}, "ever ends"),
    ({"$ref": "#/$defs/nowhere"}, "nowhere"),
    ({"$ref": "https://example.org/schema.json"}, "example.org"),
    ({"type": "object", "propertyNames": {"pattern": "^a"}}, "propertyNames"),
    ({"type": "array", "items": {"not": {}}}, "not"),
    ({"type": "string", "pattern": "(a{5000}){5000}"}, "with repetitions written out"),
    ({"type": "string", "pattern": "(?=a)b"}, "look-around"),
    ({"type": "string", "pattern": "x" * 30_000}, "number of characters=30000"),
]


def entrances(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The requests that may hold a schema, with their paths."""
    function = {"name": "f", "parameters": schema}
    chat = {"messages": ASKED}
    named = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    text = {"format": {"type": "json_schema", "name": "n", "schema": schema}}
    outputs = {"fasttts": {"structured_outputs": {"json": schema}}}
    tools = [{"type": "function", **function}]
    return [
        ("/v1/chat/completions", {**chat, "response_format": named}),
        (
            "/v1/chat/completions",
            {
                **chat,
                "tools": [{"type": "function", "function": function}],
                "tool_choice": "required",
            },
        ),
        ("/v1/chat/completions", {**chat, **outputs}),
        ("/v1/completions", {"prompt": "x", **outputs}),
        ("/v1/responses", {"input": "x", "text": text}),
        ("/v1/responses", {"input": "x", "tools": tools, "tool_choice": "required"}),
        ("/v1/responses", {"input": "x", **outputs}),
    ]


@pytest.mark.parametrize(("schema", "message"), FORMATS)
@pytest.mark.parametrize(("model", "stream"), [("demo", True), ("demo:beam-4", False)])
def test_a_schema_is_refused_at_every_entrance(
    served: Served, schema: dict[str, Any], message: str, model: str, stream: bool
) -> None:
    before = served.engine.stats().usage.generated_tokens
    for path, body in entrances(schema):
        answer = served.post(path, json={"model": model, "stream": stream, **body})
        assert answer.status_code == 400, (path, answer.text)
        assert message in answer.json()["error"]["message"], (path, answer.text)
    assert served.engine.stats().usage.generated_tokens == before


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"grammar": "start: <|nobody_s_token|>\n"}, "do not fit this model's vocabulary"),
        ({"grammar": "start: start\n"}, "no answer can begin"),
        ({"regex": "a[^\\s\\S]"}, "no answer can begin"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_grammar_is_refused_before_it_is_followed(
    served: Served, outputs: dict[str, Any], message: str, stream: bool
) -> None:
    own = {"structured_outputs": outputs}
    for path, body in (
        ("/v1/chat/completions", {"messages": ASKED}),
        ("/v1/completions", {"prompt": "x"}),
        ("/v1/responses", {"input": "x"}),
    ):
        body |= {"model": "demo", "stream": stream, "fasttts": own}
        answer = served.post(path, json=body)
        assert answer.status_code == 400, (path, answer.text)
        assert message in answer.json()["error"]["message"]


def test_a_schema_that_refers_to_itself_is_followed(served: Served) -> None:
    schema = {
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
        "required": ["next"],
    }
    for path, body in entrances(schema):
        answer = served.post(path, json={"model": "demo", **body})
        assert answer.status_code == 200, (path, answer.text)
