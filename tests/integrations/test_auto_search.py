"""`search="auto"` in both chat classes: the same decision and reply on every path."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from llama_index.core.base.llms.types import ChatMessage
from pydantic import ValidationError

from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator
from fasttts.chat import ChatOptions
from fasttts.routing import Always, Cascade, Heuristics, Never, RoutingPolicy
from fasttts.routing.threshold_store import save_threshold
from langchain_fasttts import ChatFastTTS
from llama_index.llms.fasttts import FastTTS as LlamaIndexFastTTS
from tests.chat_model import ChatModel
from tests.hermes import HermesGenerator
from tests.integrations.langchain_paths import on_every_path

QUESTION = "How many are 3 and 4?"
OPTIONS: dict[str, Any] = {"search": "auto", "n": 4, "temperature": 0.8, "max_tokens": 200}
POLICIES = [
    Always(),
    Always(with_draft=True),
    Cascade(threshold=0.0),
    Cascade(threshold=1.0),
    Heuristics(min_numbers=2),
]


def said(routing: dict[str, Any]) -> dict[str, Any]:
    """A decision without its cost, which caches change."""
    return {name: value for name, value in routing.items() if name != "cost"}


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
async def test_langchain_replies_alike_on_every_path(engine: FastTTS, policy: Any) -> None:
    model = ChatFastTTS(engine=engine, policy=policy, **OPTIONS)
    expected = engine.search(QUESTION, n=4, max_tokens=200)
    messages = await on_every_path(model, QUESTION)
    reports = [message.response_metadata["fasttts"]["routing"] for message in messages]
    assert {message.text for message in messages} == {messages[0].text}
    assert all(said(report) == said(reports[0]) for report in reports)
    if policy == Always():
        assert messages[0].text == expected.text


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
@pytest.mark.usefixtures("main_thread_loop")
def test_llama_index_replies_alike_on_every_path(engine: FastTTS, policy: Any) -> None:
    llm = LlamaIndexFastTTS(engine=engine, policy=policy, **OPTIONS)
    messages = [ChatMessage(QUESTION, role="user")]

    async def streamed() -> Any:
        return [response async for response in await llm.astream_chat(messages)][-1]

    replies = [llm.chat(messages), list(llm.stream_chat(messages))[-1]]
    replies += [asyncio.run(llm.achat(messages)), asyncio.run(streamed())]
    assert {reply.message.content for reply in replies} == {replies[0].message.content}
    routings = [said(reply.raw["fasttts"]["routing"]) for reply in replies]
    assert all(routing == routings[0] for routing in routings)


def routing_of(message: AIMessage) -> dict[str, Any]:
    report: dict[str, Any] = message.response_metadata["fasttts"]["routing"]
    return report


def test_a_call_chooses_its_own_policy(engine: FastTTS) -> None:
    model = ChatFastTTS(engine=engine, n=4, max_tokens=200)
    assert model.invoke(QUESTION).response_metadata["fasttts"]["routing"] is None
    policies: dict[str, RoutingPolicy] = {"plain": Never(), "search": Always()}
    for route, policy in policies.items():
        message = model.invoke(QUESTION, search="auto", policy=policy)
        assert routing_of(message)["route"] == route


def test_a_call_may_make_the_search_that_the_model_would(engine: FastTTS) -> None:
    model = ChatFastTTS(engine=engine, n=4, max_tokens=200, search="dvts")
    report = model.invoke(QUESTION, search="auto", policy=Always()).response_metadata["fasttts"]
    assert report["config"]["search"] == "dvts"
    assert report["config"]["n"] == 4


def test_a_draft_that_calls_a_tool_is_taken(
    engine: FastTTS, generator: HermesGenerator, weather_call: str
) -> None:
    generator.answers["Weather?"] = weather_call
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {}}}
    model = ChatFastTTS(engine=engine, policy=Cascade(threshold=1.0), **OPTIONS)
    message = model.bind(tools=[tool]).invoke([HumanMessage("Weather?")])
    assert [call["name"] for call in message.tool_calls] == ["get_weather"]
    assert routing_of(message)["reason"] == "the draft calls a tool"


@pytest.mark.parametrize("block", ["{}", "```json\n{}\n```"])
async def test_a_call_without_its_tags_is_taken_and_not_shown(
    engine: FastTTS, generator: HermesGenerator, block: str
) -> None:
    generator.answers["Weather?"] = block.format('{"name": "get_weather", "arguments": {}}')
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {}}}
    for options in ({"policy": Cascade(threshold=1.0)}, {"search": "none"}):
        model = ChatFastTTS(engine=engine, **{**OPTIONS, **options}).bind(tools=[tool])
        message = await model.ainvoke([HumanMessage("Weather?")])
        assert [call["name"] for call in message.tool_calls] == ["get_weather"]
        assert message.content == ""
        chunks = [chunk async for chunk in model.astream([HumanMessage("Weather?")])]
        assert not any(chunk.content for chunk in chunks)
        assert [call["name"] for call in sum(chunks[1:], chunks[0]).tool_calls] == ["get_weather"]
    assert ChatFastTTS(engine=engine, **OPTIONS).invoke([HumanMessage("Weather?")]).content


def test_what_auto_needs_is_checked_before_anything_runs() -> None:
    with pytest.raises(ValidationError, match="needs a verifier"):
        ChatOptions(engine=FastTTS(FakeGenerator()), search="auto")


def test_the_policy_is_part_of_the_identity(engine: FastTTS) -> None:
    variants: list[dict[str, Any]] = [{}, {"policy": Never()}, {"policy": Cascade(threshold=0.25)}]
    variants += [{"auto_search": "dvts"}]
    identities = {str(ChatModel(engine=engine, **OPTIONS, **v).identity()) for v in variants}
    assert len(identities) == len(variants)


async def test_calls_read_no_threshold_from_disk(
    engine: FastTTS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event loop has no time for that: what is stored later has no effect."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names = engine.generator_name, engine.verifier_name
    save_threshold(*names, 0.25)
    always = ChatFastTTS(engine=engine, **OPTIONS)
    asked_for = ChatFastTTS(engine=engine, **{**OPTIONS, "search": "none"})
    await asked_for.ainvoke(QUESTION)
    save_threshold(*names, 0.75)
    for reply in (await always.ainvoke(QUESTION), await asked_for.ainvoke(QUESTION, search="auto")):
        assert routing_of(reply)["signals"]["threshold"] == 0.25
    later = ChatFastTTS(engine=engine, **OPTIONS)
    assert routing_of(await later.ainvoke(QUESTION))["signals"]["threshold"] == 0.75
