"""Histories and offers at their edges, on every path of both frameworks."""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from llama_index.core.base.llms.types import ChatMessage as LlamaIndexMessage
from llama_index.core.base.llms.types import TextBlock, ThinkingBlock, ToolCallBlock
from llama_index.core.tools import FunctionTool

from fasttts import ConfigurationError, FastTTS
from fasttts.backends.fake import FakeTokenizer, FakeVerifier
from fasttts.routing import Always, Draft, NeedsDraft
from langchain_fasttts import ChatFastTTS
from langchain_fasttts.messages import engine_messages
from llama_index.llms.fasttts import FastTTS as LlamaIndexFastTTS
from llama_index.llms.fasttts.messages import engine_messages as llama_index_turns
from tests.hermes import HermesGenerator
from tests.integrations.conversations import get_weather
from tests.integrations.langchain_paths import on_every_path
from tests.integrations.llama_index_paths import with_tools_on_every_path

BARE = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
BAD_ARGUMENTS = '{"city": "Par'
INVALID = {"name": "get_weather", "args": BAD_ARGUMENTS, "id": "call_1", "error": "cut off"}
RESULT = ToolMessage("Error: no JSON", tool_call_id="call_1")


def history(*messages: Any) -> list[Any]:
    return [HumanMessage("Rain?"), *messages]


@pytest.mark.parametrize("arguments", [BAD_ARGUMENTS, "", None, "[" * 3000, "[1]"])
async def test_a_call_that_could_not_be_read_is_shown_as_it_was(
    engine: FastTTS, generator: Any, arguments: str | None
) -> None:
    invalid = {**INVALID, "args": arguments, "type": "invalid_tool_call"}
    asked: Any = history(AIMessage("", invalid_tool_calls=[invalid]), RESULT)
    (call,) = engine_messages(asked)[1]["tool_calls"]
    assert (call["id"], call["function"]["name"]) == ("call_1", "get_weather")
    assert call["function"]["arguments"] == (arguments or "")
    messages = await on_every_path(ChatFastTTS(engine=engine, max_tokens=4), asked)
    assert len({message.text for message in messages}) == 1
    shown = generator.prompts[-1]
    assert shown.index("get_weather") < shown.index("Error: no JSON")


async def test_read_and_unread_calls_keep_their_results(engine: FastTTS, generator: Any) -> None:
    read = {"name": "add", "args": {"a": 1}, "id": "call_0", "type": "tool_call"}
    message = AIMessage("", tool_calls=[read], invalid_tool_calls=[INVALID])
    asked: Any = history(message, ToolMessage("2", tool_call_id="call_0"), RESULT)
    await on_every_path(ChatFastTTS(engine=engine, max_tokens=4), asked)
    assert generator.prompts[-1].index("'add'") < generator.prompts[-1].index("'get_weather'")


REFUSED = {
    "a result without its call": (history(RESULT), "the result of the tool call call_1"),
    "a call without a name": (
        history(AIMessage("", invalid_tool_calls=[{**INVALID, "name": None}])),
        "has no name",
    ),
    "a call in a block alone": (
        history(AIMessage([{"type": "tool_use", "id": "call_1", "name": "add", "input": {}}])),
        "'tool_use'",
    ),
    "pieces of a call alone": (
        history(AIMessage([{"type": "input_json_delta", "partial_json": "{", "index": 0}])),
        "'input_json_delta'",
    ),
    "an unknown block": (history(AIMessage([{"type": "video"}])), "'video'"),
    "a block without a type": (history(HumanMessage([{"text": "a"}])), "None"),
    "a text that is none": (
        history(HumanMessage([{"type": "text", "text": {"a": 1}}])),
        "has a dict as its text",
    ),
    "arguments that are no JSON": (
        history(AIMessage("", tool_calls=[{"name": "add", "args": {"a": {1}}, "id": "1"}])),
        "the arguments of .*'add' are no JSON: .*set",
    ),
    "arguments with NaN": (
        history(AIMessage("", tool_calls=[{"name": "f", "args": {"a": float("nan")}, "id": "1"}])),
        "'f' are no JSON: nan",
    ),
    "thoughts that are no text": (
        history(AIMessage("a", additional_kwargs={"reasoning_content": [1]})),
        "reasoning_content of a assistant message is a str",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_cannot_be_shown_is_refused_by_name(engine: FastTTS, name: str) -> None:
    asked, message = REFUSED[name]
    model: Any = ChatFastTTS(engine=engine, max_tokens=4)
    with pytest.raises(ConfigurationError, match=message):
        model.invoke(asked)
    with pytest.raises(ConfigurationError, match=message):
        await model.ainvoke(asked)
    with pytest.raises(ConfigurationError, match=message):
        list(model.stream(asked))
    with pytest.raises(ConfigurationError, match=message):
        [chunk async for chunk in model.astream(asked)]


def changed(message: Any, **attributes: Any) -> Any:
    for name, value in attributes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (AIMessage([{"type": "text", "text": "a", "index": 0}, {"type": "text", "index": 1}]), "a"),
        (AIMessageChunk([{"type": "text", "text": None, "index": 0}]), ""),
        (changed(HumanMessage(""), content=None), ""),
        (HumanMessage([]), ""),
        (changed(HumanMessage(""), content=("a", "b")), "ab"),
        (AIMessage([{"type": "thinking", "thinking": "hm", "index": 0}, "a"]), "a"),
    ],
)
def test_blocks_that_streams_and_programs_leave_behind(message: Any, text: str) -> None:
    assert engine_messages([message])[0]["content"] == text


def test_a_nested_list_of_blocks_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="a human message holds a list among its blocks"):
        engine_messages([changed(HumanMessage(""), content=[["a"]])])


def test_equal_ids_and_calls_without_results_are_shown(engine: FastTTS, generator: Any) -> None:
    call = {"name": "add", "args": {}, "id": "call_1", "type": "tool_call"}
    twice: Any = history(AIMessage("", tool_calls=[call, call]), RESULT, AIMessage("So."))
    ChatFastTTS(engine=engine, max_tokens=4).invoke(twice)
    assert generator.prompts[-1].count("'add'") == 2


KEPT = [{"id": "call_2", "type": "function", "function": {"name": "add", "arguments": "{}"}}]


@pytest.mark.parametrize(
    ("message", "names"),
    [
        ({"blocks": [ToolCallBlock(tool_name="f", tool_kwargs=BAD_ARGUMENTS)]}, ["f"]),
        ({"blocks": [ToolCallBlock(tool_name="f", tool_kwargs="", tool_call_id="1")],
          "additional_kwargs": {"tool_calls": KEPT}}, ["f", "add"]),
        ({"blocks": [ToolCallBlock(tool_name="add", tool_kwargs={}, tool_call_id="call_2")],
          "additional_kwargs": {"tool_calls": KEPT}}, ["add"]),
        ({"additional_kwargs": {"tool_calls": KEPT}}, ["add"]),
        ({"additional_kwargs": {"tool_calls": None}}, []),
        ({"blocks": [TextBlock(text="a"), ThinkingBlock(content=None)]}, []),
    ],
)  # fmt: skip
def test_llama_index_s_calls_are_all_shown(message: dict[str, Any], names: list[str]) -> None:
    (turn,) = llama_index_turns([LlamaIndexMessage(role="assistant", **message)])
    assert [call["function"]["name"] for call in turn.get("tool_calls", [])] == names


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ({"role": "tool", "additional_kwargs": {"tool_call_id": "call_9"}}, "call call_9"),
        ({"role": "tool", "additional_kwargs": {"tool_call_id": 9}}, "tool_call_id of a tool"),
        ({"role": "assistant", "additional_kwargs": {"tool_calls": 3}}, "a list of calls"),
        ({"role": "assistant", "additional_kwargs": {"tool_calls": ["add"]}}, "holds a tool call"),
        ({"role": "user", "blocks": [ToolCallBlock(tool_name="f", tool_kwargs={})]},
         "a user message has tool_calls"),
        ({"role": "assistant", "blocks": [ToolCallBlock(tool_name="f", tool_kwargs={"a": {1}})]},
         "'f' are no JSON"),
    ],
)  # fmt: skip
def test_llama_index_s_messages_are_refused_by_name(
    engine: FastTTS, message: dict[str, Any], problem: str
) -> None:
    asked = [LlamaIndexMessage("Rain?", role="user"), LlamaIndexMessage(**message)]
    with pytest.raises(ConfigurationError, match=problem):
        LlamaIndexFastTTS(engine=engine, max_tokens=4).chat(asked)


def test_truncation_takes_any_history(engine: FastTTS) -> None:
    model = ChatFastTTS(engine=engine, max_tokens=4, on_overflow="truncate")
    for asked, message in REFUSED.values():
        with pytest.raises(ConfigurationError, match=message):
            model.invoke(asked)


ANSWERS = {
    "bare": (BARE, True),
    "fenced": (f"```json\n{BARE}\n```", True),
    "fenced without a language": (f"```\n{BARE}\n```", True),
    "parameters": (BARE.replace("arguments", "parameters"), True),
    "another type": (BARE.replace('"Paris"', "3"), False),
    "a missing argument": (BARE.replace('"city": "Paris"', ""), False),
    "an unknown tool": (BARE.replace("get_weather", "delete"), False),
    "text before": (f"Use: {BARE}", False),
    "text after": (f"{BARE} Done.", False),
    "text after the fence": (f"```json\n{BARE}\n```\nDone.", False),
    "other JSON": ('{"city": "Paris"}', False),
    "a list": ("[1, 2]", False),
}


@pytest.mark.parametrize("is_on", [True, False, None])
@pytest.mark.parametrize("name", ANSWERS)
async def test_bare_calls_on_every_path(
    engine: FastTTS, generator: Any, name: str, is_on: bool | None
) -> None:
    text, is_call = ANSWERS[name]
    generator.answers["Rain?"] = text
    options = {} if is_on is None else {"untagged_calls": is_on}
    expected = [("get_weather", {"city": "Paris"})] if is_call and is_on is not False else []
    bound = ChatFastTTS(engine=engine, **options).bind_tools([get_weather])
    for message in await on_every_path(bound, "Rain?"):
        assert isinstance(message, AIMessage)
        assert [(call["name"], call["args"]) for call in message.tool_calls] == expected
        assert message.text == ("" if expected else text)
    llm = LlamaIndexFastTTS(engine=engine, **options)
    tools = [FunctionTool.from_defaults(get_weather)]
    for response in await with_tools_on_every_path(llm, tools, "Rain?"):
        found = llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)
        assert [(call.tool_name, call.tool_kwargs) for call in found] == expected
        assert (response.message.content or "") == ("" if expected else text)


@pytest.mark.parametrize("is_on", [True, False])
def test_a_router_reads_a_draft_as_the_reply_is_read(
    engine: FastTTS, generator: Any, is_on: bool
) -> None:
    generator.answers["Rain?"] = BARE
    drafts: list[Draft] = []

    class Policy(Always):
        def decide(self, context: Any) -> Any:
            if context.draft is None:
                return NeedsDraft()
            drafts.append(context.draft)
            return super().decide(context)

    options: Any = {"search": "auto", "policy": Policy(), "n": 4, "untagged_calls": is_on}
    ChatFastTTS(engine=engine, **options).bind_tools([get_weather]).invoke("Rain?")
    assert [draft.calls_tools for draft in drafts] == [is_on]


def test_strictness_is_part_of_the_cache_s_key(engine: FastTTS) -> None:
    lax, strict = (ChatFastTTS(engine=engine, untagged_calls=is_on) for is_on in (True, False))
    assert lax._identifying_params != strict._identifying_params


class DeafTokenizer(FakeTokenizer):
    """Leaves the tools out where the conversation has a system message, as some templates do."""

    def encode_chat(self, messages: Any, tools: Any = None) -> list[int]:
        is_deaf = any(message["role"] == "system" for message in messages)
        return super().encode_chat(messages, None if is_deaf else tools)


@pytest.fixture
def deaf() -> Iterator[FastTTS]:
    generator = HermesGenerator()
    generator.tokenizer = DeafTokenizer()
    with FastTTS(generator, FakeVerifier()) as engine:
        yield engine


@pytest.mark.parametrize("choice", [None, "any"])
async def test_tools_that_a_prompt_leaves_out_are_warned_of(deaf: FastTTS, choice: Any) -> None:
    bound = ChatFastTTS(engine=deaf, max_tokens=99).bind_tools([get_weather], tool_choice=choice)
    asked: Any = [("system", "Be brief."), ("user", "Rain?")]
    with pytest.warns(UserWarning, match="is not told of get_weather") as caught:
        await on_every_path(bound, asked)
    assert len(caught) == 5
    await on_every_path(bound, "Rain?")
    llm = LlamaIndexFastTTS(engine=deaf, max_tokens=9, system_prompt="Be brief.")
    tools = [FunctionTool.from_defaults(get_weather)]
    system = [LlamaIndexMessage("Be brief.", role="system")]
    with pytest.warns(UserWarning, match="is not told of get_weather"):
        await with_tools_on_every_path(llm, tools, "Rain?", chat_history=system)
