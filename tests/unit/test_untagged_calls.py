"""Calls whose tags a model left out: what counts as one, and what a stream holds back for it."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttts.chat.tool_calls import call_checker
from fasttts.decoding.tool_arguments import follow_schema
from fasttts.engine.untagged_calls import may_become_untagged_call, read_untagged_calls
from fasttts.types import ParsedOutput

ADD = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "string", "pattern": "^.$"}},
    "required": ["a"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": "add", "parameters": ADD}},
    {"type": "function", "function": {"name": "clock"}},
]
CALL = '{"name": "add", "arguments": {"a": 1, "b": "é"}}'


def calls(text: str) -> list[tuple[str, object]]:
    parsed = read_untagged_calls(text, TOOLS) or ParsedOutput(content=text)
    return [(call.name, json.loads(call.arguments)) for call in parsed.tool_calls]


@pytest.mark.parametrize(
    "text",
    [
        CALL,
        f"\n {CALL}\n",
        f"```json\n{CALL}\n```",
        f"```\n{CALL}```",
        CALL.replace("arguments", "parameters"),
        CALL.replace(": ", " :\n"),
    ],
)
def test_the_json_of_a_call_alone_is_a_call(text: str) -> None:
    assert calls(text) == [("add", {"a": 1, "b": "é"})]
    parsed = read_untagged_calls(text, TOOLS)
    assert parsed is not None
    assert parsed.content == ""


def test_calls_that_follow_each_other_are_several() -> None:
    text = f'{CALL}\n{{"name": "clock", "arguments": {{}}}}'
    assert calls(text) == [("add", {"a": 1, "b": "é"}), ("clock", {})]


@pytest.mark.parametrize("length", [0, 1, 9, 20, len(CALL) - 1, len(CALL)])
def test_a_model_that_repeats_a_call_until_it_is_cut_off_makes_it_once(length: int) -> None:
    assert calls(f"{CALL}\n{CALL}\n{CALL[:length]}") == [("add", {"a": 1, "b": "é"})]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hello",
        f"Use this: {CALL}",
        f"{CALL} Done.",
        f"{CALL}\n{CALL} Done.",
        CALL[:-1],
        CALL.replace("add", "rm"),
        '{"arguments": {"a": 1, "b": "é"}, "name": "add"}',
        r'{"n\u0061me": "add", "arguments": {}}',
        '{"name": "add"}',
        '{"name": "add", "arguments": "a"}',
        '{"name": "add", "arguments": {}, "why": "so"}',
        '{"name": ["add"], "arguments": {}}',
        CALL.replace("1", '"1"'),
        CALL.replace("1", "1.5"),
        CALL.replace("1", "NaN"),
        CALL.replace("é", "two"),
        CALL.replace("é", r"\ud800"),
        CALL.replace('"b"', '"c"'),
        '{"name": "add", "arguments": {}}',
        f'{CALL}\n{{"name": "add", "arguments": {{}}}}',
        f"[{CALL}]",
        f"```python\n{CALL}\n```",
        "[" * 100_000,
    ],
    ids=lambda text: text[:40],
)
def test_anything_else_is_text(text: str) -> None:
    assert calls(text) == []


@given(st.integers(0, len(CALL)), st.sampled_from(["", "  ", "```", "```json\n"]))
def test_a_stream_holds_back_what_may_become_a_call(length: int, before: str) -> None:
    assert may_become_untagged_call(before + CALL[:length])


@pytest.mark.parametrize("text", ["Hello", '{"city": "Paris', "```python", "{}", "1", "[{"])
def test_a_stream_shows_other_text_at_once(text: str) -> None:
    assert not may_become_untagged_call(text)


@pytest.mark.parametrize(
    "parameters",
    [
        {"$ref": "http://127.0.0.1:9/schema"},
        {"$ref": "#/$defs/missing"},
        {"$ref": "#"},
        {"type": "objekt"},
        {"type": 3},
        {"properties": 3},
        {"properties": {"a": {"pattern": "("}, "b": {"pattern": r"(.)\1"}}},
        {"patternProperties": {"(a+)+$": {}}},
        {"properties": {"a": {"enum": [float("nan")]}}},
    ],
    ids=str,
)
def test_a_schema_that_nobody_can_follow_makes_no_calls(parameters: dict[str, object]) -> None:
    tools = [{"type": "function", "function": {"name": "add", "parameters": parameters}}]
    text = CALL.replace("1", '"aaa"')
    assert read_untagged_calls(text, tools) is None
    assert call_checker(tools)("add", {"a": "aaa", "b": "é"}), "a forced call is not refused by it"


def test_a_pattern_takes_no_time() -> None:
    schema = {"properties": {"a": {"pattern": "^(a+)+$"}}}
    started = time.perf_counter()
    assert not follow_schema({"a": "a" * 40 + "b"}, schema)
    assert time.perf_counter() - started < 1
