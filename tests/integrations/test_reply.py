"""How generated text is read: reasoning, content and calls, finished and while it grows."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttts import ParsedOutput, ToolCall
from fasttts.chat import ReplyFormat, ReplyStream

CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
PLAIN = ReplyFormat()
PLAIN_TEXT = ParsedOutput(content="No call.")


def parse(text: str) -> ParsedOutput:
    before, start, rest = text.partition("<tool_call>")
    try:
        body = json.loads(rest.partition("</tool_call>")[0])
    except ValueError:
        return ParsedOutput(content=text)
    call = ToolCall(name=body["name"], arguments=json.dumps(body["arguments"]))
    return ParsedOutput(content=before if start else text, tool_calls=(call,))


WITH_TOOLS = ReplyFormat(parse=parse, call_marker="<tool_call>")


def test_plain_text_is_left_as_it_is() -> None:
    reply = PLAIN.read("\n Hello </think> <tool_call> \n", "stop")
    assert (reply.reasoning, reply.content, reply.calls) == (
        "",
        "\n Hello </think> <tool_call> \n",
        (),
    )
    assert reply.finish_reason == "stop"


def test_text_and_a_call() -> None:
    reply = WITH_TOOLS.read(f"Let me see.\n{CALL}", "stop")
    assert reply.content == "Let me see."
    assert [(call.name, call.arguments) for call in reply.calls] == [("add", {"a": 1})]
    assert reply.finish_reason == "tool_calls"


def test_calls_have_ids_of_their_own() -> None:
    first, second = (WITH_TOOLS.read(CALL, "stop").calls[0] for _ in range(2))
    assert first.id.startswith("call_")
    assert first.id != second.id


@pytest.mark.parametrize("size", range(1, len(CALL) - len("</tool_call>") - 2))
def test_a_truncated_call_stays_text(size: int) -> None:
    reply = WITH_TOOLS.read(CALL[:size], "length")
    assert (reply.content, reply.calls, reply.finish_reason) == (CALL[:size], (), "length")


@pytest.mark.parametrize("arguments", ['"a"', "[1]", "3", "not JSON"])
def test_a_call_whose_arguments_are_no_object_stays_text(arguments: str) -> None:
    broken = ToolCall(name="add", arguments=arguments)
    good = ToolCall(name="add", arguments="{}")
    reading = ReplyFormat(parse=lambda _: ParsedOutput(content="", tool_calls=(good, broken)))
    reply = reading.read("text", "stop")
    assert (reply.content, reply.calls, reply.finish_reason) == ("text", (), "stop")


def test_only_the_first_of_parallel_calls_is_kept_on_demand() -> None:
    calls = tuple(ToolCall(name=name, arguments="{}") for name in "ab")
    reading = ReplyFormat(
        parse=lambda _: ParsedOutput(content="", tool_calls=calls), is_parallel=False
    )
    assert [call.name for call in reading.read("", "stop").calls] == ["a"]


@pytest.mark.parametrize(
    ("text", "is_thinking", "reasoning", "content"),
    [
        ("<think>\nhm\n</think>\n\nYes.", False, "hm", "Yes."),
        ("\n<think>hm</think>Yes.\n", False, "hm", "Yes.\n"),
        ("<think></think>Yes.", False, "", "Yes."),
        ("<think>\nnever closed", False, "never closed", ""),
        ("hm\n</think>\n\nYes.", True, "hm", "Yes."),
        ("<think>hm</think>Yes.", True, "hm", "Yes."),
        ("never closed", True, "never closed", ""),
        ("Yes, a </think> in the text.", False, "", "Yes, a </think> in the text."),
    ],
)
def test_reasoning(text: str, is_thinking: bool, reasoning: str, content: str) -> None:
    reply = ReplyFormat(is_thinking=is_thinking).read(text, "length")
    assert (reply.reasoning, reply.content) == (reasoning, content)


def test_a_call_in_thoughts_is_not_a_call() -> None:
    reply = WITH_TOOLS.read(f"<think>{CALL}</think>Done.", "stop")
    assert (reply.reasoning, reply.content, reply.calls) == (CALL, "Done.", ())


def test_what_may_begin_a_call_is_held_back() -> None:
    stream = ReplyStream(WITH_TOOLS)
    shown = [stream.add(text).content for text in ("Look:\n", "<", "tool", "s>", " <tool_call>")]
    assert shown == ["Look:", "", "", "\n<tools>", ""]


def test_where_calls_have_no_marker_a_text_is_shown_at_its_end() -> None:
    def parse_json(text: str) -> ParsedOutput:
        call = ToolCall(name="add", arguments="{}")
        return ParsedOutput(content="", tool_calls=(call,)) if text[0] == "[" else PLAIN_TEXT

    reading = ReplyFormat(parse=parse_json)
    for text, shown in (("[add()]", ""), (PLAIN_TEXT.content, PLAIN_TEXT.content)):
        stream = ReplyStream(reading)
        assert [stream.add(letter).content for letter in text] == [""] * len(text)
        assert stream.finish(reading.read(text, "stop")).content == shown


def test_without_tools_nothing_is_held_back() -> None:
    stream = ReplyStream(PLAIN)
    assert [stream.add(text).content for text in ("a ", "<tool_call>")] == ["a ", "<tool_call>"]


MARKERS = ["<think>", "</think>", "<tool_call>", "</tool_call>", CALL]
BEGUN = ["<", "<th", "</thi", "<tool", "<tool_call>{"]
PIECES = st.sampled_from([*MARKERS, *BEGUN, "\n", " ", "word"])


@given(
    pieces=st.lists(PIECES, max_size=8),
    cuts=st.lists(st.integers(0, 200)),
    has_tools=st.booleans(),
    marker=st.sampled_from(["<tool_call>", None]),
    is_thinking=st.booleans(),
)
def test_deltas_add_up_to_the_reply(
    pieces: list[str], cuts: list[int], has_tools: bool, marker: str | None, is_thinking: bool
) -> None:
    text = "".join(pieces)
    reading = ReplyFormat(
        parse=parse if has_tools else None, call_marker=marker, is_thinking=is_thinking
    )
    reply = reading.read(text, "stop")
    stream = ReplyStream(reading)
    ends = sorted({min(cut, len(text)) for cut in cuts} | {len(text)})
    deltas = [stream.add(text[start:end]) for start, end in zip([0, *ends], ends, strict=False)]
    for name in ("reasoning", "content"):
        assert getattr(reply, name).startswith("".join(getattr(d, name) for d in deltas))
    deltas.append(stream.finish(reply))
    assert "".join(delta.reasoning for delta in deltas) == reply.reasoning
    assert "".join(delta.content for delta in deltas) == reply.content
