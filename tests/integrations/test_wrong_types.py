"""Every parameter of the chat classes and of `deliberate`, given values of the wrong type.

Those that LangChain or LlamaIndex read before us (`input`, `messages` of a callback, `stop` in a
cache's key) are theirs and left out.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ToolCallBlock
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from fasttts import ConfigurationError, FastTTS, SearchConfig
from fasttts.backends.fake import FakeVerifier
from fasttts.chat import ChatOptions
from fasttts_agents.deliberate import Deliberator
from fasttts_agents.langchain import DeliberateTool, DeliberationMiddleware, trace_of
from fasttts_agents.llama_index import deliberate_tool
from langchain_fasttts import ChatFastTTS, FastTTSLLM
from llama_index.llms.fasttts import FastTTS as LlamaIndexFastTTS
from tests.hermes import HermesGenerator
from tests.integrations.conversations import get_weather
from tests.junk import ANYTHING, check_refusal

pytestmark = pytest.mark.usefixtures("unmeasured")

fuzzed = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def shared() -> Iterator[FastTTS]:
    with FastTTS(HermesGenerator(), FakeVerifier()) as engine:
        yield engine


class Digit(BaseModel):
    digit: int


TOOL = FunctionTool.from_defaults(get_weather)
CLASSES = [ChatFastTTS, FastTTSLLM, LlamaIndexFastTTS]
SEARCH = SearchConfig(n=4, max_tokens=2)


@pytest.mark.parametrize("kind", CLASSES)
@fuzzed
@given(data=st.data())
def test_options_of_the_chat_classes(shared: FastTTS, kind: Any, data: st.DataObject) -> None:
    option = data.draw(st.sampled_from([*ChatOptions.model_fields]))
    junk = data.draw(ANYTHING)
    words = {"search_args": ("unknown option", "search_args"), "engine_args": ("unknown option",)}
    model = {"engine": shared, option: junk}
    check_refusal(lambda: kind(**model), option, *words.get(option, ()))


def call_options(kind: Any) -> list[str]:
    """The options of one call: those of a search, and those of the request."""
    request = inspect.signature(ChatOptions._request).parameters.values()
    own = [one.name for one in request if one.kind is one.KEYWORD_ONLY]
    if kind is ChatFastTTS:
        ours = inspect.signature(ChatFastTTS._chat_request).parameters.values()
        own += [one.name for one in ours if one.kind is one.KEYWORD_ONLY]
    theirs = ("stop", "stream")  # LangChain asks for their truth
    if kind is ChatFastTTS:
        own = [one for one in own if one not in ("is_parallel", "response_schema")]
    return [name for name in [*own, *SearchConfig.model_fields] if name not in theirs]


CALLS: dict[Any, Callable[..., Any]] = {
    ChatFastTTS: lambda engine, **call: ChatFastTTS(engine=engine, max_tokens=2).invoke(
        "Why?", **call
    ),
    FastTTSLLM: lambda engine, **call: FastTTSLLM(engine=engine, max_tokens=2).invoke(
        "Why?", **call
    ),
    LlamaIndexFastTTS: lambda engine, **call: LlamaIndexFastTTS(engine=engine, max_tokens=2).chat(
        [ChatMessage("Why?", role="user")], **call
    ),
}


@pytest.mark.parametrize("kind", CLASSES)
@fuzzed
@given(data=st.data())
def test_options_of_a_call(shared: FastTTS, kind: Any, data: st.DataObject) -> None:
    option = data.draw(st.sampled_from(call_options(kind)))
    junk = data.draw(ANYTHING)
    words = {"response_schema": ("schema",)}
    check_refusal(lambda: CALLS[kind](shared, **{option: junk}), option, *words.get(option, ()))


def methods(engine: FastTTS) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """Methods and functions, with arguments that work, by name."""
    model = ChatFastTTS(engine=engine, max_tokens=2)
    llm = LlamaIndexFastTTS(engine=engine, max_tokens=99)
    call = ToolCallBlock(tool_name="f", tool_kwargs={})
    response = ChatResponse(message=ChatMessage(role="assistant", blocks=[call]))
    tools = {"tools": [TOOL], "user_msg": "Why?"}
    deliberator = Deliberator(engine=engine, config=SEARCH)
    prompt = PromptTemplate("Why?")
    return {
        "bind_tools": (model.bind_tools, {"tools": [get_weather]}),
        "with_structured_output": (model.with_structured_output, {"schema": Digit}),
        "get_token_ids": (model.get_token_ids, {"text": "a"}),
        "FastTTSLLM.get_token_ids": (
            FastTTSLLM(engine=engine).get_token_ids,
            {"text": "a"},
        ),
        "get_num_tokens_from_messages": (model.get_num_tokens_from_messages, {"messages": []}),
        "chat_with_tools": (llm.chat_with_tools, tools),
        "structured_predict": (llm.structured_predict, {"output_cls": Digit, "prompt": prompt}),
        "get_tool_calls_from_response": (
            llm.get_tool_calls_from_response,
            {"response": response},
        ),
        "model_copy": (model.model_copy, {}),
        "DeliberateTool": (
            lambda engine=engine, config=SEARCH, max_effort=None, max_problem_tokens=9: (
                DeliberateTool(
                    engine=engine,
                    config=config,
                    max_effort=max_effort,
                    max_problem_tokens=max_problem_tokens,
                )
            ),
            {},
        ),
        "Deliberator": (Deliberator, {"engine": engine, "config": SEARCH}),
        "Deliberator.run": (deliberator.run, {"problem": "Why?"}),
        "Deliberator.arun": (deliberator.arun, {"problem": "Why?"}),
        "deliberate_tool": (deliberate_tool, {"engine": engine}),
        "DeliberationMiddleware": (DeliberationMiddleware, {}),
        "trace_of": (trace_of, {"messages": []}),
    }


NAMES = [
    "bind_tools", "with_structured_output", "get_token_ids", "FastTTSLLM.get_token_ids",
    "get_num_tokens_from_messages", "chat_with_tools", "structured_predict",
    "get_tool_calls_from_response", "model_copy", "DeliberateTool", "Deliberator",
    "Deliberator.run", "Deliberator.arun", "deliberate_tool", "DeliberationMiddleware", "trace_of",
]  # fmt: skip
WORDS = {"problem": ("prompt",), "user_msg": ("conversation", "prompt", "message"),
         "messages": ("message",), "llm_kwargs": ("unknown option",)}  # fmt: skip


def test_the_methods_are_all_there(shared: FastTTS) -> None:
    assert methods(shared).keys() == {*NAMES}


@pytest.mark.parametrize("name", NAMES)
@settings(fuzzed, max_examples=25)
@given(data=st.data())
def test_methods_and_functions(shared: FastTTS, name: str, data: st.DataObject) -> None:
    function, valid = methods(shared)[name]
    parameters = inspect.signature(function).parameters.values()
    named = [one.name for one in parameters if one.kind is not one.VAR_KEYWORD]
    parameter = data.draw(st.sampled_from(named))
    junk = data.draw(ANYTHING)
    if (name, parameter) == ("chat_with_tools", "tool_required"):
        assume(type(junk).__hash__ is not None)  # LlamaIndex keeps it in a cache
    arguments = {**valid, parameter: junk}
    check_refusal(lambda: function(**arguments), parameter, *WORDS.get(parameter, ()))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda e: ChatFastTTS(engine=e).bind_tools("add"),
            "tools is a list of .*, not str: 'add'",
        ),
        (lambda e: ChatFastTTS(engine=e).bind_tools([3]), "tools: schema=3 is no pydantic class"),
        (
            lambda e: ChatFastTTS(engine=e).invoke("a", tools=[{}]),
            "tools is a list of tools with a",
        ),
        (
            lambda e: ChatFastTTS(engine=e, search="auto").invoke("a", policy=3),
            "policy is a routing",
        ),
        (lambda e: deliberate_tool(e, {"n": 4}), "config is a SearchConfig, not dict"),
        (lambda e: deliberate_tool(e, max_effort="huge"), "max_effort is one of low, medium, high"),
        (lambda e: DeliberationMiddleware(budget_tokens="9"), "budget_tokens is at least 0, or"),
    ],
)
def test_messages_say_what_was_expected(shared: FastTTS, call: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        call(shared)
