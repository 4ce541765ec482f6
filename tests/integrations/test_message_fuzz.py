"""Arbitrary histories of both frameworks: a call answers, or says which part it cannot read."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from llama_index.core.base.llms.types import ChatMessage as LlamaIndexMessage
from llama_index.core.base.llms.types import (
    CitableBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from fasttts import FastTTS, FastTTSError
from fasttts.backends.fake import FakeVerifier
from langchain_fasttts import ChatFastTTS
from llama_index.llms.fasttts import FastTTS as LlamaIndexFastTTS
from tests.hermes import HermesGenerator
from tests.junk import JUNK, TEXT, Hostile

pytestmark = pytest.mark.usefixtures("unmeasured")

fuzzed = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def shared() -> Iterator[FastTTS]:
    with FastTTS(HermesGenerator(), FakeVerifier()) as engine:
        yield engine


IDS = st.sampled_from([None, "", "call_1", "call_2"])
ARGUMENTS = st.one_of(
    st.dictionaries(st.sampled_from(["a", "b"]), st.one_of(st.integers(), TEXT), max_size=2),
    st.dictionaries(st.sampled_from(["a"]), JUNK, max_size=1),
)
KINDS = st.sampled_from(
    ["text", "tool_use", "tool_call", "input_json_delta", "reasoning", "image", "audio", None, 3]
)
RESTS = st.dictionaries(st.sampled_from(["text", "index", "name"]), JUNK, max_size=2)
BLOCKS = st.recursive(
    st.one_of(
        TEXT,
        st.builds(lambda text: {"type": "text", "text": text}, TEXT),
        st.builds(lambda index: {"type": "text", "index": index}, st.integers(0, 3)),
        st.builds(lambda kind, rest, own: {"type": kind, **rest, "id": own}, KINDS, RESTS, IDS),
    ),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)  # fmt: skip
CONTENT = st.one_of(TEXT, st.none(), st.lists(BLOCKS, max_size=3))


@st.composite
def langchain_messages(draw: st.DrawFn) -> BaseMessage:
    kind = draw(
        st.sampled_from([HumanMessage, AIMessage, AIMessageChunk, SystemMessage, ToolMessage,
                         FunctionMessage, ChatMessage])
    )  # fmt: skip
    own: dict[str, Any] = {}
    if kind is ToolMessage:
        own = {"tool_call_id": draw(IDS) or ""}
    elif kind is FunctionMessage:
        own = {"name": "add"}
    elif kind is ChatMessage:
        own = {"role": draw(st.sampled_from(["user", "critic", ""]))}
    message: BaseMessage = kind(content="", **own)
    message.content = draw(CONTENT)  # as a program changes a message: unchecked
    message.additional_kwargs = draw(
        st.dictionaries(st.sampled_from(["reasoning_content", "tool_calls"]), JUNK, max_size=1)
    )
    if isinstance(message, AIMessage):
        message.tool_calls = draw(st.lists(calls("args", ARGUMENTS), max_size=2))
        message.invalid_tool_calls = draw(
            st.lists(calls("args", st.one_of(st.none(), TEXT)), max_size=2)
        )
    return message


def calls(key: str, arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.sampled_from(["add", "", None])
    whole = st.fixed_dictionaries({"name": names, key: arguments, "id": IDS})
    return st.one_of(whole, st.dictionaries(st.sampled_from(["name", "id"]), TEXT, max_size=2))


def check(call: Any) -> None:
    Hostile.is_used = True
    message = "answered"
    try:
        call()
    except (FastTTSError, ValueError) as error:
        message = str(error)
    finally:
        Hostile.is_used = False
    assert 0 < len(message) < 1000


@fuzzed
@given(history=st.lists(langchain_messages(), max_size=4))
def test_langchain(shared: FastTTS, history: list[BaseMessage]) -> None:
    model = ChatFastTTS(engine=shared, max_tokens=2)
    check(lambda: model.invoke([HumanMessage("Why?"), *history]))


OPENAI_CALLS = st.one_of(
    JUNK,
    st.fixed_dictionaries({"id": IDS, "function": st.one_of(calls("arguments", TEXT), JUNK)}),
)


@st.composite
def llama_index_messages(draw: st.DrawFn) -> LlamaIndexMessage:
    blocks = st.one_of(
        st.builds(TextBlock, text=TEXT),
        st.builds(TextBlock.model_construct, text=st.one_of(TEXT, st.none())),
        st.builds(ThinkingBlock, content=st.one_of(TEXT, st.none())),
        st.builds(ToolCallBlock, tool_name=TEXT, tool_call_id=IDS,
                  tool_kwargs=st.one_of(ARGUMENTS, TEXT)),
        st.just(ImageBlock(url="http://x/y.png")),
        st.builds(lambda inner: CitableBlock(title="t", source="s", content=[inner]),
                  st.builds(TextBlock, text=TEXT)),
        JUNK,
    )  # fmt: skip
    kept = st.dictionaries(
        st.sampled_from(["tool_calls", "tool_call_id", "name"]),
        st.one_of(JUNK, IDS, st.lists(OPENAI_CALLS, max_size=2)),
        max_size=3,
    )
    return LlamaIndexMessage.model_construct(
        role=draw(st.one_of(st.sampled_from(MessageRole), st.just("critic"))),
        blocks=draw(st.lists(blocks, max_size=3)),
        additional_kwargs=draw(kept),
    )


@fuzzed
@given(history=st.lists(llama_index_messages(), max_size=4))
def test_llama_index(shared: FastTTS, history: list[LlamaIndexMessage]) -> None:
    llm = LlamaIndexFastTTS(engine=shared, max_tokens=2)
    check(lambda: llm.chat([LlamaIndexMessage("Why?", role="user"), *history]))
