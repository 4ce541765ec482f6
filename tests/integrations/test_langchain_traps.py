"""Where chat models usually break: events, graphs, caches, batches, thoughts that never end."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.caches import InMemoryCache
from langchain_core.tools import tool
from langgraph.config import get_stream_writer

from fasttts import FastTTS
from langchain_fasttts import ChatFastTTS
from tests.integrations.conversations import SEARCHES
from tests.integrations.langchain_paths import on_every_path

every_search = pytest.mark.parametrize("options", SEARCHES, ids=lambda options: options["search"])


@tool
def get_weather(city: str) -> str:
    """Tells the weather in a city."""
    get_stream_writer()({"asked": city})
    return f"sunny in {city}"


@pytest.fixture
def answers(generator: Any, weather_call: str) -> Iterator[dict[str, str]]:
    """A conversation with one call."""
    generator.answers |= {
        "Rain?": f"Let me look.\n{weather_call}",
        "sunny in Paris": "No rain.\n\nIt is sunny.",
    }
    return generator.answers


@every_search
@pytest.mark.parametrize("text", ["<think>\nhm, so", "<think>", "<think>\n\nhm"])
async def test_thoughts_that_never_end(
    engine: FastTTS, generator: Any, options: dict[str, Any], text: str
) -> None:
    generator.answers["Why?"] = text
    for message in await on_every_path(ChatFastTTS(engine=engine, **options), "Why?"):
        assert message.content == ""
        assert message.additional_kwargs.get("reasoning_content", "") == text[7:].strip()


@every_search
async def test_events_tell_the_answer_once(engine: FastTTS, options: dict[str, Any]) -> None:
    model = ChatFastTTS(engine=engine, **options)
    texts, ends = [], []
    async for event in model.astream_events("Why?", version="v2"):
        if event["event"] == "on_chat_model_stream":
            texts.append(event["data"]["chunk"].text)
        elif event["event"] == "on_chat_model_end":
            ends.append(event["data"]["output"])
    (end,) = ends
    expected = model.invoke("Why?")
    assert "".join(texts) == end.content == expected.content
    assert end.usage_metadata == expected.usage_metadata


@every_search
@pytest.mark.usefixtures("answers")
async def test_version_3_events_give_what_invoke_gives(
    engine: FastTTS, options: dict[str, Any]
) -> None:
    model = ChatFastTTS(engine=engine, **options).bind_tools([get_weather])
    expected = model.invoke("Rain?")
    stream = await model.astream_events("Rain?", version="v3")
    for message in (model.stream_events("Rain?", version="v3").output, await stream.output):
        assert message.text == expected.text
        assert message.usage_metadata == expected.usage_metadata
        assert [c["args"] for c in message.tool_calls] == [{"city": "Paris"}]
        cost, told = (m.response_metadata["fasttts"] for m in (message, expected))
        assert (cost["answer"], cost["config"]) == (told["answer"], told["config"])


@every_search
@pytest.mark.usefixtures("answers")
def test_a_graph_streams_messages_updates_and_what_tools_tell(
    engine: FastTTS, options: dict[str, Any]
) -> None:
    agent = create_agent(ChatFastTTS(engine=engine, **options), [get_weather])
    texts, calls, custom, updates = [], [], [], []
    question = {"messages": [("user", "Rain?")]}
    for mode, data in agent.stream(question, stream_mode=["messages", "custom", "updates"]):
        if mode == "custom":
            custom.append(data)
        elif mode == "updates":
            updates.append(next(iter(data)))
        elif data[0].type == "AIMessageChunk":
            texts.append(data[0].text)
            calls += data[0].tool_call_chunks
    assert "".join(texts) == "Let me look.No rain.\n\nIt is sunny."
    assert [call["name"] for call in calls] == ["get_weather"]
    assert custom == [{"asked": "Paris"}]
    assert updates == ["model", "tools", "model"]


class Cache(InMemoryCache):
    """Notes under which keys replies are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: set[tuple[str, str]] = set()

    def update(self, prompt: str, llm_string: str, return_val: Any) -> None:
        super().update(prompt, llm_string, return_val)
        self.keys.add((prompt, llm_string))


def test_a_cache_tells_searches_apart(engine: FastTTS, generator: Any) -> None:
    cache = Cache()
    variants = [
        {},
        {"search": "best_of_n", "n": 2},
        {"search": "best_of_n", "n": 3},
        {"seed": 1},
        {"search_args": {"top_k": 2}},
        {"budget": {"tokens": 50}},
        {"on_overflow": "truncate"},
    ]
    first = [ChatFastTTS(engine=engine, cache=cache, **v).invoke("Why?") for v in variants]
    num_asked = len(generator.prompts)
    assert len(cache.keys) == len(variants)
    again = [ChatFastTTS(engine=engine, cache=cache, **v).invoke("Why?") for v in variants]
    assert [m.content for m in again] == [m.content for m in first]
    assert len(generator.prompts) == num_asked
    model = ChatFastTTS(engine=engine, cache=cache)
    bound = model.bind(search="best_of_n", n=2).invoke("Why?")
    assert bound.content == first[1].content
    assert len(generator.prompts) == num_asked
    model.bind(search="best_of_n", n=4).invoke("Why?")
    assert len(generator.prompts) > num_asked
    assert len(cache.keys) == len(variants) + 1


def test_a_batch_of_16_shares_one_engine(engine: FastTTS) -> None:
    model = ChatFastTTS(engine=engine, search="beam_search", n=4, beam_width=2)
    prompts = [f"Why {number}?" for number in range(16)]
    alone = [model.invoke(prompt).content for prompt in prompts]
    assert [message.content for message in model.batch(prompts)] == alone
    assert len(set(alone)) > 10


async def test_16_tasks_share_one_engine(engine: FastTTS) -> None:
    model = ChatFastTTS(engine=engine, search="best_of_n", n=3)
    prompts = [f"Why {number}?" for number in range(16)]
    together = [message.content for message in await model.abatch(prompts)]
    with ThreadPoolExecutor(8) as pool:
        models = [ChatFastTTS(engine=engine, search="best_of_n", n=3) for _ in prompts]
        threads = pool.map(lambda model, prompt: model.invoke(prompt).content, models, prompts)
        assert list(threads) == together
