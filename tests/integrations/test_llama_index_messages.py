"""LlamaIndex messages in the engine's form."""

import json

import pytest
from llama_index.core.base.llms.types import (
    ChatMessage,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from fasttts import ConfigurationError
from llama_index.llms.fasttts.messages import engine_messages

CALL = ToolCallBlock(tool_call_id="call_1", tool_name="add", tool_kwargs={"a": "é"})


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        (MessageRole.SYSTEM, "system"),
        (MessageRole.DEVELOPER, "system"),
        (MessageRole.USER, "user"),
        (MessageRole.CHATBOT, "assistant"),
        (MessageRole.MODEL, "assistant"),
        (MessageRole.FUNCTION, "tool"),
    ],
)
def test_roles(role: MessageRole, expected: str) -> None:
    assert engine_messages([ChatMessage("hi", role=role)]) == [{"role": expected, "content": "hi"}]


def test_every_role_is_known() -> None:
    assert len(engine_messages([ChatMessage("hi", role=role) for role in MessageRole])) == 8


def test_a_tool_s_answer_names_its_call() -> None:
    message = ChatMessage("3", role="tool", additional_kwargs={"tool_call_id": "1", "name": "add"})
    expected = {"role": "tool", "content": "3", "tool_call_id": "1", "name": "add"}
    assert engine_messages([message]) == [expected]


def test_calls_and_thoughts() -> None:
    blocks = [ThinkingBlock(content="hm"), TextBlock(text="Let me see."), CALL]
    also = {"tool_calls": [{"id": "call_1"}]}
    message = ChatMessage(role="assistant", blocks=blocks, additional_kwargs=also)
    (converted,) = engine_messages([message])
    assert (converted["content"], converted["reasoning_content"]) == ("Let me see.", "hm")
    (call,) = converted["tool_calls"]
    assert (call["id"], call["function"]["name"]) == ("call_1", "add")
    assert json.loads(call["function"]["arguments"]) == {"a": "é"}


def test_calls_that_stand_in_additional_kwargs_only() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    message = ChatMessage(role="assistant", additional_kwargs={"tool_calls": [call]})
    (converted,) = engine_messages([message])
    assert (converted["content"], converted["tool_calls"]) == ("", [call])


def test_arguments_that_are_text_already() -> None:
    block = ToolCallBlock(tool_name="add", tool_kwargs='{"a": 1}')
    (converted,) = engine_messages([ChatMessage(role="assistant", blocks=[block])])
    assert converted["tool_calls"][0]["function"]["arguments"] == '{"a": 1}'


def test_other_content_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'image'"):
        engine_messages([ChatMessage(role="user", blocks=[ImageBlock(url="http://x/y.png")])])
