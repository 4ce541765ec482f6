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

from fasttts import ConfigurationError
from langchain_fasttts.messages import engine_messages

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
