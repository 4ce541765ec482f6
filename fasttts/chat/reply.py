"""Reads generated text: reasoning, content and tool calls.

The same rules read a finished text and a growing one, so that a stream never shows anything that a
finished reply does not contain.
"""

import functools
import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from fasttts import FastTTS
from fasttts.answers.canonical_json import MalformedAnswer
from fasttts.answers.extraction import (
    Answer,
    AnswerReader,
    Extractor,
    as_reader,
)
from fasttts.chat.tool_calls import call_checker, canonical_calls, parse_json_calls
from fasttts.chat.tools import Tool
from fasttts.decoding.json_checks import check_json
from fasttts.decoding.structured_outputs import THINK_END, THINK_START
from fasttts.engine.request import Prompt, is_thinking
from fasttts.engine.untagged_calls import may_become_untagged_call
from fasttts.types import FinishReason, ParsedOutput, TokenLogprob, ToolCall

ReplyEnd = Literal["stop", "length", "tool_calls"]
Parser = Callable[[str], ParsedOutput]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyCall:
    """A complete tool call.

    Attributes:
        name: The tool's name.
        arguments: The parsed arguments.
        id: A new one each time a text is read.
    """

    name: str
    arguments: dict[str, Any]
    id: str = field(default_factory=lambda: f"call_{uuid.uuid4().hex[:24]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One finished reply.

    Attributes:
        reasoning: The model's thoughts; empty for most models.
        content: The text without thoughts and calls.
        calls: The tool calls, in order.
        finish_reason: "tool_calls" when there are calls; "length" when a cap cut it off.
    """

    reasoning: str
    content: str
    calls: tuple[ReplyCall, ...]
    finish_reason: ReplyEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """New text of a growing reply.

    Attributes:
        reasoning: New text of its thoughts.
        content: New text of its content.
    """

    reasoning: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyFormat:
    """How the text of one reply is read.

    Attributes:
        parse: Separates tool calls from text; None where no tools were offered.
        call_marker: Text that every call begins with; None where it is unknown, and a growing text
            may turn out to be a call until it ends.
        has_untagged_calls: Whether a text that is the JSON of a call, without a marker, is one.
        is_parallel: Whether more than one call may be kept.
        is_thinking: Whether the prompt ends inside `<think>`, as in some chat templates.
        is_forced: Whether a reply without a call is malformed.
        is_raw: Whether all of the text is content, thoughts included.
    """

    parse: Parser | None = None
    call_marker: str | None = None
    has_untagged_calls: bool = False
    is_parallel: bool = True
    is_thinking: bool = False
    is_forced: bool = False
    is_raw: bool = False

    @classmethod
    def of_call(
        cls,
        engine: FastTTS,
        prompt: Prompt,
        tools: Sequence[Tool],
        *,
        is_parallel: bool = True,
        is_constrained: bool = False,
        is_forced: bool = False,
        untagged_calls: bool = True,
    ) -> Self:
        """Makes the format of an engine's reply to a prompt.

        Args:
            engine: The engine whose model replies.
            prompt: The rendered conversation.
            tools: The tools that the model is offered.
            is_parallel: Whether more than one call may be kept.
            is_constrained: Whether calls follow a grammar, in the model's own format if a
                `CallFormat` describes it.
            is_forced: Whether there must be a call.
            untagged_calls: Whether a text that is the JSON of a call, without a marker, may be one.
        """
        generator = engine.generator
        parse: Parser | None = functools.partial(
            engine.parse_tool_calls, tools=tools, untagged_calls=untagged_calls
        )
        call_marker = generator.call_marker
        if is_constrained:
            parse = functools.partial(generator.parse_tool_calls, tools=tools)
        if is_constrained and generator.call_format is None:
            parse, call_marker = parse_json_calls, None
        return cls(
            parse=parse if tools else None,
            call_marker=call_marker,
            has_untagged_calls=untagged_calls and not is_constrained,
            is_parallel=is_parallel,
            is_thinking=is_thinking(prompt, engine.tokenizer),
            is_forced=is_forced,
        )

    def extractor(self, tools: Sequence[Tool], extract: Extractor) -> Extractor:
        """Makes the extractor of the candidates' votes: their calls, or answers in their content.

        It raises `MalformedAnswer` for a call that cannot be read, or whose arguments no tool
        accepts.

        Args:
            tools: The tools that the model is offered.
            extract: Extracts the answer from a reply without calls.
        """
        is_taken = call_checker(tools)
        said = as_reader(extract)

        def answer(text: str) -> Answer | None:
            reply = self.read(text, "stop")
            if not reply.calls:
                if self.is_forced or (self.call_marker and self.call_marker in reply.content):
                    raise MalformedAnswer("a call cannot be read")
                return said.read(reply.content)
            calls = [(call.name, call.arguments) for call in reply.calls]
            if not all(is_taken(name, arguments) for name, arguments in calls):
                raise MalformedAnswer("no tool takes these arguments")
            return Answer(canonical_calls(calls))

        # `read` separates the thoughts itself: it knows whether the prompt opened them.
        return AnswerReader(name="the tool calls", find=answer, reads_thoughts=True)

    def read(self, text: str, finish_reason: FinishReason) -> Reply:
        """Reads a finished text.

        A call that is cut off or malformed is never repaired: the text stays text.

        Args:
            text: The generated text.
            finish_reason: Why it ended.
        """
        reasoning, content = self._split_thoughts(text)
        calls: tuple[ReplyCall, ...] = ()
        if self.parse is not None:
            parsed = self.parse(content)
            if calls := _complete_calls(parsed.tool_calls):
                content = parsed.content.rstrip()
        return Reply(
            reasoning=reasoning.strip(),
            content=content,
            calls=calls if self.is_parallel else calls[:1],
            finish_reason="tool_calls" if calls else _reply_end(finish_reason),
        )

    def settled(self, text: str) -> Delta:
        """The part of a growing text that no further text can change or turn into a call."""
        if self.is_raw:
            return Delta(reasoning="", content=text)
        body = text.lstrip()
        if not body or (len(body) < len(THINK_START) and THINK_START.startswith(body)):
            return Delta(reasoning="", content="")
        if self.parse is None and not self.is_thinking and not body.startswith(THINK_START):
            return Delta(reasoning="", content=text)  # the usual case, once a token: no more work
        reasoning, content = self._split_thoughts(text)
        if THINK_END not in text:
            reasoning = _without_begun(reasoning, THINK_END)
        return Delta(reasoning=reasoning.strip(), content=self._without_calls(content))

    def _without_calls(self, content: str) -> str:
        """The prefix of a growing text that is not, and cannot become, part of a call."""
        if self.parse is None:
            return content
        if self.call_marker is None:
            return ""
        if self.has_untagged_calls and may_become_untagged_call(content):
            return ""
        before, start, _ = content.partition(self.call_marker)
        return (before if start else _without_begun(before, self.call_marker)).rstrip()

    def _split_thoughts(self, text: str) -> tuple[str, str]:
        """Splits text into thoughts and the rest, which is empty if the thoughts do not end."""
        body = text.lstrip()
        if self.is_raw:
            return "", text
        if not self.is_thinking and not body.startswith(THINK_START):
            return "", text
        thoughts, end, content = body.removeprefix(THINK_START).partition(THINK_END)
        return thoughts, content.lstrip() if end else ""


class ReplyStream:
    """Turns growing text into deltas that add up to the finished reply.

    Args:
        reply_format: How the text is read.

    Attributes:
        shown: The sum of the deltas so far.
    """

    def __init__(self, reply_format: ReplyFormat) -> None:
        self.shown = Delta(reasoning="", content="")
        self._format = reply_format
        self._text = ""
        self._tokens: list[TokenLogprob] = []
        self._num_taken = 0
        """Characters of the tokens that were taken."""

    def add(self, text: str, tokens: Sequence[TokenLogprob] = ()) -> Delta:
        """Adds generated text and returns the part that may be shown.

        Args:
            text: The text.
            tokens: Its tokens, where their log-probabilities are asked for.
        """
        self._text += text
        self._tokens += tokens
        return self._advance(self._format.settled(self._text))

    def take_shown(self) -> tuple[TokenLogprob, ...]:
        """The tokens of the shown text that were not taken before."""
        if not self._tokens:
            return ()
        num_chars = len(self.shown.content)
        if self.shown.reasoning or not self._text.startswith(self.shown.content):
            num_chars = len(self._text)  # thoughts are shown without their tags and margins
        taken: list[TokenLogprob] = []
        for token in self._tokens:
            if self._num_taken + len(token.text) > num_chars:
                break
            taken.append(token)
            self._num_taken += len(token.text)
        del self._tokens[: len(taken)]
        return tuple(taken)

    def take_rest(self) -> tuple[TokenLogprob, ...]:
        """All tokens that were not taken before."""
        taken = tuple(self._tokens)
        self._tokens.clear()
        return taken

    def finish(self, reply: Reply) -> Delta:
        """Returns the rest of the finished reply."""
        return self._advance(Delta(reasoning=reply.reasoning, content=reply.content))

    def _advance(self, now: Delta) -> Delta:
        shown, self.shown = self.shown, now
        return Delta(
            reasoning=now.reasoning[len(shown.reasoning) :],
            content=now.content[len(shown.content) :],
        )


def _complete_calls(found: Sequence[ToolCall]) -> tuple[ReplyCall, ...]:
    """All calls, or none if one has no text as its name or no JSON object as its arguments."""
    arguments = [_try_arguments(call) for call in found]
    return tuple(
        ReplyCall(name=call.name, arguments=values)
        for call, values in zip(found, arguments, strict=True)
        if values is not None and None not in arguments
    )


def _try_arguments(call: ToolCall) -> dict[str, Any] | None:
    try:
        value = json.loads(call.arguments)
        # Neither NaN nor half of a surrogate pair: nobody could send them back.
        check_json([call.name, value], max_chars=None)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _reply_end(finish_reason: FinishReason) -> ReplyEnd:
    return "length" if finish_reason == "length" else "stop"


def _without_begun(text: str, marker: str) -> str:
    """The text without an ending that may turn out to be the beginning of `marker`."""
    longest = min(len(marker) - 1, len(text))
    sizes = (size for size in range(longest, 0, -1) if text.endswith(marker[:size]))
    return text[: len(text) - next(sizes, 0)]
