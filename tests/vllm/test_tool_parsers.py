"""Tool calls in text, through vLLM's parsers."""

from collections.abc import Callable
from typing import Any

import pytest

from fasttts.errors import ConfigurationError
from fasttts.types import ParsedOutput, ToolCall

pytestmark = pytest.mark.vllm

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "calculator",
            "description": "Computes.",
            "parameters": {"type": "object", "properties": {"expression": {"type": "string"}}},
        },
    }
]
CALL = '<tool_call>\n{"name": "calculator", "arguments": {"expression": "1 + 2"}}\n</tool_call>'
FOUND = ToolCall(name="calculator", arguments='{"expression": "1 + 2"}')


@pytest.fixture
def parse(make_tokenizer: Callable[..., Any]) -> Callable[..., ParsedOutput]:
    from fasttts.backends.vllm.tool_parsers import parse_tool_calls

    tokenizer = make_tokenizer()

    def run(text: str, tools: Any = TOOLS, name: str = "hermes") -> ParsedOutput:
        return parse_tool_calls(text, tools, tokenizer, name)

    return run


def test_text_and_call(parse: Callable[..., ParsedOutput]) -> None:
    assert parse(f"Let me see. {CALL}") == ParsedOutput(content="Let me see. ", tool_calls=(FOUND,))


def test_several_calls(parse: Callable[..., ParsedOutput]) -> None:
    assert parse(f"{CALL}\n{CALL}") == ParsedOutput(content="", tool_calls=(FOUND, FOUND))


@pytest.mark.parametrize(
    "text",
    [
        "No call at all.",
        CALL[: CALL.index("2")],
        CALL.replace("}}", "}"),
        CALL.replace('{"expression": "1 + 2"}', '"1 + 2"'),
        CALL.replace('"name"', '"nam"'),
        CALL.replace('"name": "calculator", ', ""),
        f"{CALL}\n<tool_call>\n{{broken\n</tool_call>",
        "<tool_call></tool_call>",
        CALL.replace('"1 + 2"', "[" * 5000 + "]" * 5000),
        CALL.replace('"1 + 2"', "9" * 5000),
        "",
    ],
)
def test_what_is_no_call_stays_text(
    parse: Callable[..., ParsedOutput], text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert parse(text) == ParsedOutput(content=text)
    assert capfd.readouterr() == ("", "")


def test_without_tools_there_are_no_calls(parse: Callable[..., ParsedOutput]) -> None:
    assert parse(CALL, ()) == ParsedOutput(content=CALL)


def test_unicode_arguments_stay_readable(parse: Callable[..., ParsedOutput]) -> None:
    (call,) = parse(CALL.replace("1 + 2", "größer")).tool_calls
    assert call.arguments == '{"expression": "größer"}'


def test_the_marker_of_a_format(make_tokenizer: Callable[..., Any]) -> None:
    from fasttts.backends.vllm.tool_parsers import call_marker

    tokenizer = make_tokenizer()
    assert call_marker(tokenizer, "hermes") == "<tool_call>"
    assert call_marker(tokenizer, "pythonic") is None


def test_a_parser_of_another_model_is_refused(make_tokenizer: Callable[..., Any]) -> None:
    from fasttts.backends.vllm.tool_parsers import call_marker

    message = "tool_call_parser='deepseek_v3' is not the format of this model"
    with pytest.raises(ConfigurationError, match=message):
        call_marker(make_tokenizer(), "deepseek_v3")


def test_an_unknown_parser_is_refused(parse: Callable[..., ParsedOutput]) -> None:
    with pytest.raises(ConfigurationError, match=r"tool_call_parser='nonsense'.*hermes"):
        parse(CALL, TOOLS, "nonsense")
