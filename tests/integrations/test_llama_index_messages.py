"""LlamaIndex messages in the engine's form, and replies as LlamaIndex messages."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.base.llms.types import (
    CacheControl,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from pydantic import BaseModel

from fasttts import ConfigurationError, FastTTS
from fasttts.chat import Reply, ReplyCall
from llama_index.llms.fasttts.messages import engine_messages, reply_message

CALL = ToolCallBlock(tool_call_id="call_1", tool_name="add", tool_kwargs={"a": "é"})
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
CALLS = st.builds(ReplyCall, name=TEXT, arguments=st.dictionaries(TEXT, TEXT | st.integers()))


def converted(*messages: ChatMessage) -> list[dict[str, Any]]:
    return [dict(message) for message in engine_messages(messages)]


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
    assert converted(ChatMessage("hi", role=role)) == [{"role": expected, "content": "hi"}]


def test_every_role_is_known() -> None:
    assert len(converted(*(ChatMessage("hi", role=role) for role in MessageRole))) == 8


def test_order_and_repetition_are_kept() -> None:
    roles = ["system", "system", "user", "user", "assistant", "assistant", "system", "user"]
    messages = [ChatMessage(f"text {i}", role=role) for i, role in enumerate(roles)]
    expected = [{"role": role, "content": f"text {i}"} for i, role in enumerate(roles)]
    assert converted(*messages) == expected


def test_blocks_of_text_are_lines() -> None:
    blocks = [TextBlock(text="one"), CachePoint(cache_control=CacheControl(type="x"))]
    message = ChatMessage(role="user", blocks=[*blocks, TextBlock(text="two 🎲 \u202e")])
    assert converted(message) == [{"role": "user", "content": "one\ntwo 🎲 \u202e"}]
    assert message.content == "one\ntwo 🎲 \u202e"


def test_cited_text_is_read() -> None:
    citable = CitableBlock(
        title="t", source="s", content=[TextBlock(text="a"), TextBlock(text="b")]
    )
    cited = CitationBlock(cited_content="c", source="s", title="t", additional_location_info={})
    (message,) = converted(ChatMessage(role="user", blocks=[citable, cited]))
    assert message["content"] == "a\nb\nc"


@pytest.mark.parametrize("content", [None, "", []])
@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool"])
def test_empty_content_is_empty_text(role: str, content: Any) -> None:
    assert converted(ChatMessage(content, role=role)) == [{"role": role, "content": ""}]


def test_names() -> None:
    message = ChatMessage("hi", role="user", additional_kwargs={"name": "Ann", "tool_call_id": "1"})
    assert converted(message) == [{"role": "user", "content": "hi", "name": "Ann"}]


@pytest.mark.parametrize("text", ["3", "", "Error: division by zero"])
def test_a_tool_s_answer_names_its_call(text: str) -> None:
    message = ChatMessage(text, role="tool", additional_kwargs={"tool_call_id": "1", "name": "add"})
    expected = {"role": "tool", "content": text, "tool_call_id": "1", "name": "add"}
    assert converted(message) == [expected]


def test_calls_and_thoughts() -> None:
    blocks = [ThinkingBlock(content="hm"), TextBlock(text="Let me see."), CALL]
    also = {"tool_calls": [{"id": "call_1"}]}
    (message,) = converted(ChatMessage(role="assistant", blocks=blocks, additional_kwargs=also))
    assert (message["content"], message["reasoning_content"]) == ("Let me see.", "hm")
    (call,) = message["tool_calls"]
    assert (call["id"], call["function"]["name"]) == ("call_1", "add")
    assert json.loads(call["function"]["arguments"]) == {"a": "é"}


class OfOpenAI(BaseModel):
    """A call as OpenAI's own package, and so LlamaIndex's class for it, keeps them."""

    id: str
    type: str
    function: dict[str, str]


def test_calls_that_stand_in_additional_kwargs_only() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    for kept in (call, OfOpenAI(**call)):
        also = {"tool_calls": [kept]}
        (message,) = converted(ChatMessage(role="assistant", additional_kwargs=also))
        assert (message["content"], message["tool_calls"]) == ("", [call])


def test_arguments_that_are_text_already() -> None:
    block = ToolCallBlock(tool_name="add", tool_kwargs='{"a": 1}')
    (message,) = converted(ChatMessage(role="assistant", blocks=[block]))
    assert message["tool_calls"][0]["function"]["arguments"] == '{"a": 1}'


@pytest.mark.parametrize(
    ("block", "kind"),
    [
        (ImageBlock(url="http://x/y.png"), "image"),
        (DocumentBlock(url="http://x/y.pdf"), "document"),
        (CitableBlock(title="t", source="s", content=[ImageBlock(url="http://x/y.png")]), "image"),
    ],
)
def test_other_content_is_refused(block: Any, kind: str) -> None:
    with pytest.raises(ConfigurationError, match=f"a tool message holds '{kind}'"):
        converted(ChatMessage(role="tool", blocks=[block]))


@given(reasoning=TEXT, content=TEXT, calls=st.lists(CALLS, max_size=2))
def test_a_reply_comes_back_as_the_turn_it_was(
    reasoning: str, content: str, calls: list[ReplyCall]
) -> None:
    end = "tool_calls" if calls else "stop"
    reply = Reply(reasoning=reasoning, content=content, calls=tuple(calls), finish_reason=end)
    message = ChatMessage.model_validate_json(reply_message(reply).model_dump_json())
    (turn,) = converted(message)
    assert (turn["role"], turn["content"]) == ("assistant", content)
    assert turn.get("reasoning_content", "") == reasoning
    kept = [(call["id"], call["function"]) for call in turn.get("tool_calls", [])]
    assert [(i, f["name"], json.loads(f["arguments"])) for i, f in kept] == [
        (call.id, call.name, call.arguments) for call in calls
    ]


def test_the_turn_of_a_reply_has_one_text() -> None:
    reply = Reply(reasoning="", content="a\n\nb", calls=(), finish_reason="stop")
    message = reply_message(reply)
    assert [block.block_type for block in message.blocks] == ["text"]
    assert (message.content, message.additional_kwargs) == ("a\n\nb", {})


@pytest.mark.vllm
def test_the_bundled_template_takes_every_turn(demo_engine: FastTTS) -> None:
    answer = {"tool_call_id": "call_1", "name": "add"}
    history = [
        ChatMessage("Be brief.", role="system"),
        ChatMessage("And kind.", role="developer"),
        ChatMessage("Add.", role="user", additional_kwargs={"name": "Ann"}),
        ChatMessage("Please, é!", role="user"),
        ChatMessage(role="assistant", blocks=[ThinkingBlock(content="hm"), CALL]),
        ChatMessage("Error: overflow", role="tool", additional_kwargs=answer),
        ChatMessage(None, role="assistant"),
        ChatMessage("Well?", role="user"),
    ]
    prompt = demo_engine.render(engine_messages(history))
    text = demo_engine.tokenizer.decode(prompt.token_ids)
    expected = ["Be brief.", "And kind.", "Add.", "Please, é!", '"add"', "overflow", "Well?"]
    places = [text.index(piece) for piece in expected]
    assert places == sorted(places)
    assert prompt.problem == "Well?"
