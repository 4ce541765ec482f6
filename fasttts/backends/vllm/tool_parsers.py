"""Parses tool calls in generated text with vLLM's own parsers."""

import json
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from fasttts.errors import ConfigurationError
from fasttts.interfaces import HERMES
from fasttts.types import ParsedOutput, ToolCall

CALL_FORMATS = {"hermes": HERMES}
"""Formats of vLLM's parsers that are JSON between fixed texts."""


def check_tool_call_parser(name: str) -> None:
    """Checks that vLLM has a tool parser of this name; raises as `parse_tool_calls` does."""
    _parser_class(name)


def call_marker(tokenizer: Any, parser_name: str) -> str | None:
    """Text that every call in this format begins with; None where vLLM's parser has none.

    Args:
        tokenizer: The model's transformers tokenizer.
        parser_name: vLLM's name of the format.

    Raises:
        ConfigurationError: The format is unknown, or is not that of this tokenizer's model.
    """
    parser = _parser(parser_name, tokenizer, None)
    for name in ("tool_calls_start_token", "tool_call_start_token"):
        if isinstance(marker := getattr(parser, name, None), str):
            return marker
    return None


def parse_tool_calls(
    text: str, tools: Sequence[Mapping[str, Any]], tokenizer: Any, parser_name: str
) -> ParsedOutput:
    """Separates tool calls from text.

    Nothing is repaired: when a call is cut off, is not JSON, or its arguments are not an object,
    all of `text` stays text.

    Args:
        text: The generated text.
        tools: The tools offered, in OpenAI's form; without any, there are no calls.
        tokenizer: The model's transformers tokenizer.
        parser_name: vLLM's name of the format.

    Raises:
        ConfigurationError: vLLM has no parser of that name, or it rejects the tokenizer.
    """
    if not tools:
        return ParsedOutput(content=text)
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

    request = ChatCompletionRequest(messages=[], tools=[dict(tool) for tool in tools])
    parser = _parser(parser_name, tokenizer, request.tools)
    with _muted(type(parser).__module__):
        found = parser.extract_tool_calls(text, request)
    calls = [(call.function.name, call.function.arguments) for call in found.tool_calls]
    if not calls or not all(_is_object(arguments) for _, arguments in calls):
        return ParsedOutput(content=text)
    return ParsedOutput(
        content=found.content or "",
        tool_calls=tuple(ToolCall(name=name, arguments=arguments) for name, arguments in calls),
    )


def _parser_class(name: str) -> Any:
    from vllm.tool_parsers import ToolParserManager

    try:
        return ToolParserManager.get_tool_parser(name)
    except KeyError as error:
        known = ", ".join(sorted(ToolParserManager.list_registered()))
        raise ConfigurationError(f"tool_call_parser={name!r} is unknown; known: {known}") from error


def _parser(name: str, tokenizer: Any, tools: Any) -> Any:
    parser_class = _parser_class(name)
    try:
        return parser_class(tokenizer, tools)
    except Exception as error:  # parsers look for their tokens, and may raise anything
        raise ConfigurationError(
            f"tool_call_parser={name!r} is not the format of this model: {error}"
        ) from error


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(json.loads(arguments), dict)
    except ValueError:
        return False


@contextmanager
def _muted(logger_name: str) -> Iterator[None]:
    """Drops the traceback that a parser logs, in this thread, for a call it cannot read."""
    logger, muted = logging.getLogger(logger_name), threading.get_ident()

    def is_of_another_thread(record: logging.LogRecord) -> bool:
        return record.thread != muted

    logger.addFilter(is_of_another_thread)
    try:
        yield
    finally:
        logger.removeFilter(is_of_another_thread)
