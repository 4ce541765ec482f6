"""LangChain messages in the engine's form."""

import json

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.ai import UsageMetadata

from fasttts import ConfigurationError
from fasttts.chat import Reply, ReplyCall
from langchain_fasttts.messages import engine_messages, reply_message

ROLES = {"system": "system", "human": "user", "ai": "assistant"}
CALL = {"name": "add", "args": {"a": 1, "name": "é"}, "id": "call_1", "type": "tool_call"}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (SystemMessage("be"), {"role": "system", "content": "be"}),
        (HumanMessage("hi", name="Tom"), {"role": "user", "content": "hi", "name": "Tom"}),
        (AIMessage("yes"), {"role": "assistant", "content": "yes"}),
        (ChatMessage("hm", role="critic"), {"role": "critic", "content": "hm"}),
        (
            ToolMessage("3", tool_call_id="call_1", name="add"),
            {"role": "tool", "content": "3", "tool_call_id": "call_1", "name": "add"},
        ),
        (
            AIMessage("yes", additional_kwargs={"reasoning_content": "hm"}),
            {"role": "assistant", "content": "yes", "reasoning_content": "hm"},
        ),
    ],
)
def test_roles(message: BaseMessage, expected: dict[str, str]) -> None:
    assert engine_messages([message]) == [expected]


def test_tool_calls() -> None:
    (message,) = engine_messages([AIMessage("", tool_calls=[CALL])])
    (call,) = message["tool_calls"]
    assert (call["id"], call["type"], call["function"]["name"]) == ("call_1", "function", "add")
    assert json.loads(call["function"]["arguments"]) == CALL["args"]
    assert "é" in call["function"]["arguments"]


def test_text_blocks_are_joined() -> None:
    message = HumanMessage([{"type": "text", "text": "a"}, "b", {"type": "text", "text": "c"}])
    assert engine_messages([message])[0]["content"] == "abc"


def test_blocks_that_repeat_calls_and_thoughts_are_left_out() -> None:
    blocks = [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "Let me see."}]
    blocks += [{"type": "tool_use", "id": "call_1", "name": "add", "input": {}}, CALL]
    (message,) = engine_messages([AIMessage(blocks, tool_calls=[CALL])])
    assert message["content"] == "Let me see."
    assert len(message["tool_calls"]) == 1


def test_other_content_is_refused() -> None:
    image = HumanMessage([{"type": "image_url", "image_url": {"url": "data:"}}])
    with pytest.raises(ConfigurationError, match="'image_url'"):
        engine_messages([image])


@pytest.mark.parametrize(
    "message", [FunctionMessage("3", name="add"), RemoveMessage(id="1")], ids=["function", "remove"]
)
def test_messages_without_a_role_are_refused(message: BaseMessage) -> None:
    with pytest.raises(ConfigurationError, match="no role"):
        engine_messages([message])


@pytest.mark.parametrize(
    "messages",
    [
        [SystemMessage("Be brief."), SystemMessage("Be kind."), HumanMessage("Why?")],
        [HumanMessage("Why?"), HumanMessage("How?"), AIMessage("So."), AIMessage("And so.")],
        [HumanMessage("Größe? 你好 🙂"), AIMessage(""), HumanMessage("Why?")],
        [HumanMessage([]), HumanMessage(["a", {"type": "text", "text": "b"}])],
    ],
)
def test_unusual_conversations_keep_their_order(messages: list[BaseMessage]) -> None:
    converted = engine_messages(messages)
    assert [m["role"] for m in converted] == [ROLES[message.type] for message in messages]
    assert [m["content"] for m in converted] == [message.text for message in messages]


def test_a_failed_tool_s_result_reaches_the_model() -> None:
    failed = ToolMessage("Error: no such city", tool_call_id="1", status="error", name="look")
    assert engine_messages([failed]) == [
        {"role": "tool", "content": "Error: no such city", "tool_call_id": "1", "name": "look"}
    ]


@pytest.mark.parametrize("reasoning", ["", "hm"])
@pytest.mark.parametrize("calls", [(), (ReplyCall(name="f", arguments={"ö": [1, None]}),)])
def test_a_reply_comes_back_as_it_was(reasoning: str, calls: tuple[ReplyCall, ...]) -> None:
    reply = Reply(reasoning=reasoning, content="So.", calls=calls, finish_reason="stop")
    usage = UsageMetadata(input_tokens=1, output_tokens=2, total_tokens=3)
    message = reply_message(reply, {"finish_reason": "stop"}, usage)
    (converted,) = engine_messages([message])
    assert converted["content"] == "So."
    assert converted.get("reasoning_content", "") == reasoning
    found = [call["function"] for call in converted.get("tool_calls", ())]
    assert [(f["name"], json.loads(f["arguments"])) for f in found] == [
        (call.name, call.arguments) for call in calls
    ]
