"""Chat classes, tools and the middleware as Python objects: pickled, copied, changed, forked."""

import copy
import os
import pickle
import signal
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.runnables import ConfigurableField
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler

from fasttts import ConfigurationError, FastTTS, SearchConfig
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.routing import Always
from fasttts_agents.langchain import BudgetTool, DeliberateTool, DeliberationMiddleware
from fasttts_agents.llama_index import deliberate_tool
from langchain_fasttts import ChatFastTTS, FastTTSLLM
from llama_index.llms.fasttts import FastTTS as LlamaIndexFastTTS
from tests.engines import OpenWith

Use = Callable[[Any], Any]
"""What shows that an object works: its text."""

SEARCH = SearchConfig(n=4, beam_width=2, max_tokens=60)
HELD: dict[str, tuple[Callable[[FastTTS], Any], Use]] = {
    "ChatFastTTS": (lambda e: ChatFastTTS(engine=e), lambda o: o.invoke("Why?").text),
    "FastTTSLLM": (lambda e: FastTTSLLM(engine=e), lambda o: o.invoke("Why?")),
    "LlamaIndex": (lambda e: LlamaIndexFastTTS(engine=e), lambda o: o.complete("Why?").text),
    "DeliberateTool": (
        lambda e: DeliberateTool(engine=e, config=SEARCH),
        lambda o: o.invoke({"problem": "Why?"}),
    ),
    "deliberate_tool": (
        lambda e: deliberate_tool(e, SEARCH),
        lambda o: o.call(problem="Why?").content,
    ),
    "bound": (lambda e: ChatFastTTS(engine=e).bind(seed=3), lambda o: o.invoke("Why?").text),
    "configurable": (
        lambda e: ChatFastTTS(engine=e).configurable_fields(seed=ConfigurableField(id="seed")),
        lambda o: o.with_config(configurable={"seed": 3}).invoke("Why?").text,
    ),
    "structured": (
        lambda e: ChatFastTTS(engine=e).with_structured_output(method="json_mode", max_tokens=900),
        lambda o: str(o.invoke("Why?")),
    ),
}
COPIES: dict[str, Use] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "model_copy": lambda one: one.model_copy() if hasattr(one, "model_copy") else one,
    "model_copy deep": lambda one: one.model_copy(deep=True) if hasattr(one, "model_copy") else one,
}


@pytest.fixture
def engine(generator: Any) -> Any:
    generator.answers["Why?"] = '{"because": 1}'
    with FastTTS(generator, FakeVerifier()) as engine:
        yield engine


@pytest.mark.parametrize("name", HELD)
def test_what_holds_an_engine_is_refused_by_pickle_and_lives_on(engine: FastTTS, name: str) -> None:
    make, use = HELD[name]
    held = make(engine)
    expected = use(held)
    assert "because" in expected
    for protocol in (0, 2, pickle.HIGHEST_PROTOCOL):
        with pytest.raises(ConfigurationError, match=r"cannot be pickled.*shared_engine"):
            pickle.dumps(held, protocol=protocol)
        assert use(held) == expected


@pytest.mark.parametrize("way", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("name", HELD)
def test_copies_share_the_engine(engine: FastTTS, name: str, way: Use) -> None:
    make, use = HELD[name]
    held = make(engine)
    expected = use(held)
    twin = way(held)
    assert use(twin) == expected
    if hasattr(twin, "close"):
        twin.close()
    del twin
    assert not engine.is_closed
    assert use(held) == expected


@pytest.fixture
def opened(open_with: OpenWith) -> Any:
    """The engines that chat classes of a configuration have opened."""
    engines: list[FastTTS] = []

    def load(config: Any) -> FastTTS:
        engines.append(FastTTS(FakeGenerator(), FakeVerifier()))
        return engines[-1]

    open_with(load)
    yield engines
    for engine in engines:
        engine.close()


ENGINE_ARGS = {"max_num_seqs": 19}
"""Of no engine that other tests of this process share."""

BY_CONFIGURATION: dict[str, tuple[Callable[..., Any], Use]] = {
    "ChatFastTTS": (ChatFastTTS, HELD["ChatFastTTS"][1]),
    "FastTTSLLM": (FastTTSLLM, HELD["FastTTSLLM"][1]),
    "LlamaIndex": (LlamaIndexFastTTS, HELD["LlamaIndex"][1]),
}


@pytest.mark.parametrize("name", BY_CONFIGURATION)
def test_a_configuration_is_pickled_and_opens_its_engine_lazily(
    opened: list[FastTTS], name: str
) -> None:
    kind, use = BY_CONFIGURATION[name]
    model = kind(engine_args=ENGINE_ARGS, seed=7, search_args={"top_k": 3}, policy=Always())
    expected = use(model)
    twin = pickle.loads(pickle.dumps(model))
    assert (type(twin), twin.model_fields_set) == (kind, model.model_fields_set)
    assert (twin.seed, twin.search_args, twin.policy) == (7, {"top_k": 3}, Always())
    assert len(opened) == 1
    assert use(twin) == use(model) == expected
    assert len(opened) == 1, "equal configurations share an engine"
    twin.close()
    assert use(model) == expected
    model.close()
    assert opened[0].is_closed


@pytest.mark.parametrize("way", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("name", BY_CONFIGURATION)
def test_a_copy_of_a_configuration_closes_nothing_of_the_original(
    opened: list[FastTTS], name: str, way: Use
) -> None:
    kind, use = BY_CONFIGURATION[name]
    model = kind(engine_args=ENGINE_ARGS)
    expected = use(model)
    twin = way(model)
    assert use(twin) == expected
    twin.close()
    assert not opened[0].is_closed
    assert use(model) == expected
    model.close()
    assert opened[0].is_closed


def test_what_llama_index_cannot_pickle_stays_on_the_live_object(opened: list[FastTTS]) -> None:
    manager = CallbackManager([TokenCountingHandler()])
    llm = LlamaIndexFastTTS(
        engine_args=ENGINE_ARGS,
        completion_to_prompt=lambda prompt: f"{prompt} Well?",
        callback_manager=manager,
    )
    expected = llm.complete("Why?").text
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError), match="lambda"):
        pickle.dumps(llm)
    assert llm.callback_manager is manager
    assert llm.complete("Why?").text == expected
    llm.close()


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({"model": "other"}, "model='other' beside an engine"),
        ({"n": 0}, "n=0"),
        ({"search_args": {"n": 3}}, "search_args hold"),
        ({"engine_args": {"dtype": "float32"}}, "engine_args"),
    ],
)
@pytest.mark.parametrize("kind", [ChatFastTTS, FastTTSLLM, LlamaIndexFastTTS])
def test_a_changed_copy_is_checked(
    engine: FastTTS, kind: Any, update: dict[str, Any], message: str
) -> None:
    model = kind(engine=engine)
    with pytest.raises(ConfigurationError, match=message):
        model.model_copy(update=update)
    assert model.model_copy(update={"seed": 4}).seed == 4
    assert model.seed is None


def test_a_changed_copy_of_the_tool_searches_as_it_says(engine: FastTTS) -> None:
    tool = DeliberateTool(engine=engine, config=SEARCH)
    with FastTTS(FakeGenerator(lambda prompt: "Other."), FakeVerifier()) as other:
        assert tool.model_copy(update={"engine": other}).invoke({"problem": "Why?"}) == "Other."
    assert "because" in tool.invoke({"problem": "Why?"})


@pytest.mark.parametrize(
    "value", [BudgetTool(), DeliberationMiddleware(Always(), budget_tokens=3, tells_budget=True)]
)
def test_what_holds_no_engine_is_pickled(value: Any) -> None:
    for twin in (pickle.loads(pickle.dumps(value)), copy.copy(value), copy.deepcopy(value)):
        assert type(twin) is type(value)
        assert getattr(twin, "budget_tokens", 3) == 3
        assert getattr(twin, "policy", None) == getattr(value, "policy", None)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("name", HELD)
def test_a_forked_process_is_refused_and_the_parent_lives_on(engine: FastTTS, name: str) -> None:
    make, use = HELD[name]
    held = make(engine)
    expected = use(held)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)  # ends a child that hangs
        code = 1
        try:
            code = 0 if "forked" in str(use(held)) else 2
        except BaseException as error:  # noqa: BLE001, the child must not go on with the tests
            code = 0 if "forked" in str(error) else 3
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert use(held) == expected
