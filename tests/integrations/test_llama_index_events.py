"""What LlamaIndex's instrumentation, callbacks and token counter see of `FastTTS`."""

from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core.callbacks import CallbackManager, CBEventType, TokenCountingHandler
from llama_index.core.callbacks.llama_debug import LlamaDebugHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.exception import ExceptionEvent
from llama_index.core.instrumentation.events.llm import (
    LLMChatEndEvent,
    LLMChatInProgressEvent,
    LLMChatStartEvent,
    LLMCompletionEndEvent,
    LLMCompletionInProgressEvent,
    LLMCompletionStartEvent,
)
from pydantic import Field

from fasttts import FastTTS as Engine
from fasttts import SearchError
from llama_index.llms.fasttts import FastTTS
from tests.integrations.conversations import SEARCHES
from tests.integrations.llama_index_paths import PATHS, STREAMS, asked

ANSWER = "Because."


class Seen(BaseEventHandler):
    """Keeps the events of language models."""

    events: list[Any] = Field(default_factory=list)

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        if type(event).__name__.startswith(("LLM", "Exception")):
            self.events.append(event)


@pytest.fixture
def seen(generator: Any) -> Iterator[list[Any]]:
    generator.answers["Why?"] = ANSWER
    handler, dispatcher = Seen(), get_dispatcher()
    dispatcher.add_event_handler(handler)
    yield handler.events
    dispatcher.event_handlers.remove(handler)


@pytest.mark.parametrize("options", SEARCHES, ids=lambda options: options["search"])
@pytest.mark.parametrize("name", PATHS)
async def test_every_call_is_one_beginning_and_one_end(
    engine: Engine, seen: list[Any], name: str, options: dict[str, Any]
) -> None:
    llm = FastTTS(engine=engine, **options)
    response = await PATHS[name](llm, "Why?")
    first, *between, last = seen
    if "chat" in name:
        kinds = LLMChatStartEvent, LLMChatInProgressEvent, LLMChatEndEvent
        assert first.messages == asked("Why?")
    else:
        kinds = LLMCompletionStartEvent, LLMCompletionInProgressEvent, LLMCompletionEndEvent
        assert first.prompt == "Why?"
    assert (type(first), type(last)) == (kinds[0], kinds[2])
    assert {type(event) for event in between} == ({kinds[1]} if name in STREAMS else set())
    assert last.response.raw == response.raw
    assert first.model_dict["class_name"] == "FastTTS"
    assert first.model_dict["search"] == options["search"]


@pytest.mark.parametrize("name", PATHS)
async def test_callbacks_and_the_token_counter(engine: Engine, seen: list[Any], name: str) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    counter = TokenCountingHandler(tokenizer=engine.tokenizer.encode)
    llm = FastTTS(engine=engine, callback_manager=CallbackManager([debug, counter]))
    response = await PATHS[name](llm, "Why?")
    usage = response.raw["usage"]
    assert usage["output_tokens"] == len(engine.tokenizer.encode(ANSWER)) + 1
    (count,) = counter.llm_token_counts
    assert count.prompt_token_count == usage["input_tokens"]
    assert count.completion_token_count == usage["output_tokens"]
    assert len(debug.get_event_pairs(CBEventType.LLM)) == 1


def test_a_search_counts_its_returned_path_only(engine: Engine, seen: list[Any]) -> None:
    counter = TokenCountingHandler(tokenizer=engine.tokenizer.encode)
    llm = FastTTS(engine=engine, callback_manager=CallbackManager([counter]), **SEARCHES[1])
    response = llm.complete("Why?")
    assert counter.completion_llm_token_count == response.raw["usage"]["output_tokens"]
    assert response.raw["fasttts"]["usage"]["generated_tokens"] > counter.completion_llm_token_count


@pytest.mark.parametrize("name", STREAMS)
async def test_a_stream_that_fails_says_so(engine: Engine, seen: list[Any], name: str) -> None:
    cut = {"on_cut": "raise"}
    llm = FastTTS(engine=engine, search="best_of_n", n=2, max_tokens=3, search_args=cut)
    with pytest.raises(SearchError):
        await STREAMS[name](llm, "Why?")
    assert isinstance(seen[-1], ExceptionEvent)
    assert isinstance(seen[-1].exception, SearchError)
