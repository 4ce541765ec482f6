"""LlamaIndex's query and chat engines on `FastTTS`, with a scripted model."""

from collections.abc import Iterator
from typing import Any

import llama_index.core
import pytest
from llama_index.core import PromptHelper, Settings, get_response_synthesizer
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine import (
    CondensePlusContextChatEngine,
    CondenseQuestionChatEngine,
    ContextChatEngine,
    SimpleChatEngine,
)
from llama_index.core.chat_engine.types import BaseChatEngine
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import ResponseMode
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from fasttts import ConfigurationError
from fasttts import FastTTS as Engine
from llama_index.llms.fasttts import FastTTS

FACTS = ("Paris is sunny.", "Oslo is not.")
ASKED = "Rain?"
pytestmark = pytest.mark.usefixtures("main_thread_loop")


class Facts(BaseRetriever):
    """Finds the same two facts for every question."""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [NodeWithScore(node=TextNode(text=text), score=1.0) for text in FACTS]


@pytest.fixture
def llm(engine: Engine, generator: Any) -> Iterator[FastTTS]:
    """Says "No rain." to everything."""
    generator.answers[""] = "No rain."
    llm = FastTTS(engine=engine)
    Settings.tokenizer = llm.tokenizer
    yield llm
    llama_index.core.global_tokenizer = None


def query_engine(llm: FastTTS, mode: ResponseMode, **options: Any) -> RetrieverQueryEngine:
    helper = PromptHelper.from_llm_metadata(llm.metadata)
    synthesizer = get_response_synthesizer(
        llm=llm, prompt_helper=helper, response_mode=mode, **options
    )
    return RetrieverQueryEngine.from_args(Facts(), llm=llm, response_synthesizer=synthesizer)


MODES = {
    ResponseMode.COMPACT: 1,
    ResponseMode.REFINE: 2,
    ResponseMode.TREE_SUMMARIZE: 1,
    ResponseMode.SIMPLE_SUMMARIZE: 1,
    ResponseMode.ACCUMULATE: 2,
}


@pytest.mark.parametrize(("mode", "num_calls"), MODES.items())
def test_query_engines(llm: FastTTS, generator: Any, mode: ResponseMode, num_calls: int) -> None:
    response = query_engine(llm, mode).query(ASKED)
    assert "No rain." in str(response)
    assert [source.text for source in response.source_nodes] == list(FACTS)
    assert len(generator.prompts) == num_calls
    for fact in FACTS:
        assert any(fact in prompt for prompt in generator.prompts)


@pytest.mark.parametrize(("mode", "num_calls"), MODES.items())
async def test_query_engines_in_an_event_loop(
    llm: FastTTS, generator: Any, mode: ResponseMode, num_calls: int
) -> None:
    response = await query_engine(llm, mode).aquery(ASKED)
    assert "No rain." in str(response)
    assert len(generator.prompts) == num_calls


@pytest.mark.parametrize("mode", [ResponseMode.COMPACT, ResponseMode.REFINE])
def test_streaming_query_engines(llm: FastTTS, mode: ResponseMode) -> None:
    pieces = list(query_engine(llm, mode, streaming=True).query(ASKED).response_gen)
    assert "".join(pieces) == "No rain."
    assert len(pieces) > 5


@pytest.mark.parametrize("mode", [ResponseMode.COMPACT, ResponseMode.REFINE])
async def test_streaming_query_engines_in_an_event_loop(llm: FastTTS, mode: ResponseMode) -> None:
    response = await query_engine(llm, mode, streaming=True).aquery(ASKED)
    assert "".join([piece async for piece in response.async_response_gen()]) == "No rain."


def test_the_model_s_context_bounds_what_is_read(llm: FastTTS, generator: Any) -> None:
    helper = PromptHelper.from_llm_metadata(llm.metadata)
    assert helper.context_window == llm.metadata.context_window == 16_384
    facts = [TextNode(text="Paris is sunny. " * 600) for _ in range(4)]
    synthesizer = get_response_synthesizer(llm=llm, prompt_helper=helper)
    synthesizer.synthesize(ASKED, [NodeWithScore(node=fact) for fact in facts])
    sizes = [len(llm.tokenizer.encode(prompt)) for prompt in generator.prompts]
    assert len(sizes) > 1
    assert max(sizes) + llm.metadata.num_output < 16_384


KINDS = [SimpleChatEngine, ContextChatEngine, CondensePlusContextChatEngine]
KINDS += [CondenseQuestionChatEngine]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def chat_engine(request: pytest.FixtureRequest, llm: FastTTS) -> BaseChatEngine:
    options = {"llm": llm, "memory": ChatMemoryBuffer.from_defaults(token_limit=2000)}
    if request.param is SimpleChatEngine:
        return SimpleChatEngine.from_defaults(**options)
    if request.param is CondenseQuestionChatEngine:
        queries = query_engine(llm, ResponseMode.COMPACT)
        return CondenseQuestionChatEngine.from_defaults(queries, **options)
    return request.param.from_defaults(Facts(), **options)


def check_history(chat_engine: BaseChatEngine) -> None:
    turns = [(message.role.value, message.content) for message in chat_engine.chat_history]
    assert turns == [("user", ASKED), ("assistant", "No rain.")] * 2


def test_chat_engines(chat_engine: BaseChatEngine) -> None:
    assert [str(chat_engine.chat(ASKED)) for _ in range(2)] == ["No rain."] * 2
    check_history(chat_engine)


async def test_chat_engines_in_an_event_loop(chat_engine: BaseChatEngine) -> None:
    assert [str(await chat_engine.achat(ASKED)) for _ in range(2)] == ["No rain."] * 2
    check_history(chat_engine)


def test_streaming_chat_engines(chat_engine: BaseChatEngine) -> None:
    for _ in range(2):
        pieces = list(chat_engine.stream_chat(ASKED).response_gen)
        assert "".join(pieces) == "No rain."
    check_history(chat_engine)


async def test_streaming_chat_engines_in_an_event_loop(chat_engine: BaseChatEngine) -> None:
    for _ in range(2):
        response = await chat_engine.astream_chat(ASKED)
        assert "".join([piece async for piece in response.async_response_gen()]) == "No rain."
    check_history(chat_engine)


def test_thoughts_stay_out_of_a_chat_engine_s_answer(llm: FastTTS, generator: Any) -> None:
    generator.answers[""] = "<think>hm</think>No rain."
    chat_engine = SimpleChatEngine.from_defaults(
        llm=llm, memory=ChatMemoryBuffer.from_defaults(token_limit=2000)
    )
    assert "".join(chat_engine.stream_chat(ASKED).response_gen) == "No rain."
    assert str(chat_engine.chat(ASKED)) == "No rain."
    assert [m.content for m in chat_engine.chat_history[1::2]] == ["No rain."] * 2


def test_a_chat_too_long_for_the_context_says_so(llm: FastTTS) -> None:
    history = [ChatMessage("and so on " * 20, role=role) for role in ("user", "assistant")] * 50
    with pytest.raises(ConfigurationError, match="the context 16384: shorten the prompt"):
        llm.chat([*history, ChatMessage(ASKED, role="user")])
    memory = ChatMemoryBuffer.from_defaults(
        history, token_limit=4000, tokenizer_fn=llm.tokenizer.encode
    )
    chat_engine = SimpleChatEngine.from_defaults(llm=llm, memory=memory)
    assert str(chat_engine.chat(ASKED)) == "No rain."
