"""Every parameter of the public functions and classes, given values of the wrong type.

The functions are enumerated, so that a new one, or a new parameter, is tested as well: where it is
required, `VALID` has to have a value for it.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

import fasttts
from fasttts import ConfigurationError, EngineConfig, FastTTS, SearchConfig
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.config import engine_config, search_config
from fasttts.routing import Always, Router
from fasttts.verifiers import FunctionVerifier, Gate, Mean
from tests.hermes import HermesGenerator
from tests.junk import ANYTHING, check_refusal

pytestmark = pytest.mark.usefixtures("unmeasured")

fuzzed = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
PLAIN: dict[str, Any] = {"search": "none", "max_tokens": 2}
NOWHERE = "/nonexistent"
WORDS = {
    "problem": ("conversation", "message", "prompt"),
    "problems": ("problem", "conversation", "message", "prompt"),
    "call": ("function",),
    "function": ("verifier",),
    "parts": ("verifier", "combination"),
}
"""What messages call a parameter, besides its name."""


@pytest.fixture(scope="module")
def engine() -> Iterator[FastTTS]:
    with FastTTS(HermesGenerator(), FakeVerifier()) as engine:
        yield engine


def score(problem: str, steps: tuple[str, ...]) -> float:
    return 0.5


VALID: dict[str, Any] = {"problem": "Why?", "problems": ["Why?"], "text": "a", "tools": []}
"""Values of required parameters."""

METHODS: dict[str, dict[str, Any]] = {
    "search": PLAIN, "asearch": PLAIN, "submit": PLAIN, "stream": PLAIN, "astream": PLAIN,
    "search_many": PLAIN, "search_each": PLAIN, "render": {}, "parse_tool_calls": {},
}  # fmt: skip
WITHOUT_PARAMETERS = {"close", "restart", "stats"}
LOADING = {"load", "from_config"}


def parameters(function: Callable[..., Any], options: Any = ()) -> list[str]:
    """The parameters of a function, and `options` where it takes any."""
    found: list[str] = []
    for name, one in inspect.signature(function).parameters.items():
        if one.kind is one.VAR_KEYWORD:
            found += options
        elif one.kind is not one.VAR_POSITIONAL and name != "self":
            found.append(name)
    return found


def required(function: Callable[..., Any]) -> dict[str, Any]:
    return {
        name: VALID[name]
        for name, one in inspect.signature(function).parameters.items()
        if one.default is one.empty and one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
        and name != "self"
    }  # fmt: skip


def test_the_methods_are_all_public_ones() -> None:
    found = {
        name for name, method in inspect.getmembers(FastTTS, callable) if not name.startswith("_")
    }
    assert found == METHODS.keys() | WITHOUT_PARAMETERS | LOADING


@pytest.mark.parametrize("name", METHODS)
@fuzzed
@given(data=st.data())
def test_methods_of_an_engine(engine: FastTTS, name: str, data: st.DataObject) -> None:
    method = getattr(engine, name)
    names = parameters(method, list(SearchConfig.model_fields) if name == "search" else ())
    parameter = data.draw(st.sampled_from(names))
    arguments = {**required(method), **METHODS[name], parameter: data.draw(ANYTHING)}

    def call() -> Any:
        result = method(**arguments)
        if inspect.isgenerator(result):
            return list(result)
        return result.result() if isinstance(result, fasttts.SearchHandle) else result

    check_refusal(call, parameter, *WORDS.get(parameter, ()))


Callables = dict[str, tuple[Callable[..., Any], dict[str, Any]]]


@pytest.fixture(scope="module")
def callables(engine: FastTTS) -> Callables:
    """Functions and classes, with arguments that work, by name."""
    handle = engine.submit("a", **PLAIN)
    handle.result()
    router = Router(engine, Always())
    return {
        "FastTTS": (FastTTS, {"generator": FakeGenerator()}),
        "from_config": (FastTTS.from_config, {"config": EngineConfig(generator=NOWHERE)}),
        "shared_engine": (fasttts.shared_engine, {"config": EngineConfig(generator=NOWHERE)}),
        "release_engine": (fasttts.release_engine, {"engine": engine}),
        "Router": (Router, {"engine": engine}),
        "Router.search": (router.search, {"problem": "Why?", "n": 4, "max_tokens": 2}),
        "SearchHandle.result": (handle.result, {}),
        "SearchHandle.when_done": (handle.when_done, {"call": print}),
        "FunctionVerifier": (FunctionVerifier, {"function": score}),
        "Gate": (lambda threshold=0.5: Gate(score, score, threshold=threshold), {}),
        "Mean": (lambda weights=None: Mean(score, weights=weights), {}),
    }


FUNCTIONS = {name for name in fasttts.__all__ if inspect.isfunction(getattr(fasttts, name))}


def test_the_functions_are_all_public_ones(callables: Callables) -> None:
    assert callables.keys() == {*NAMES} >= FUNCTIONS


NAMES = (
    "FastTTS", "from_config", "shared_engine", "release_engine", "Router", "Router.search",
    "SearchHandle.result", "SearchHandle.when_done", "FunctionVerifier", "Gate", "Mean",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@fuzzed
@given(data=st.data())
def test_functions_and_classes(callables: Callables, name: str, data: st.DataObject) -> None:
    function, valid = callables[name]
    parameter = data.draw(st.sampled_from(parameters(function)))
    junk = data.draw(ANYTHING)

    def call() -> None:
        made = function(**{**valid, parameter: junk})
        if isinstance(made, FastTTS):
            made.close()

    check_refusal(call, parameter, *WORDS.get(parameter, ()), NOWHERE)


CONFIGURATIONS = [
    getattr(fasttts, name)
    for name in fasttts.__all__
    if isinstance(getattr(fasttts, name), type) and issubclass(getattr(fasttts, name), BaseModel)
]


@pytest.mark.parametrize("kind", CONFIGURATIONS, ids=lambda kind: kind.__name__)
@fuzzed
@given(data=st.data())
def test_configurations(kind: Any, data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(list(kind.model_fields)))
    junk = data.draw(ANYTHING)
    check_refusal(lambda: kind(**{field: junk}), field)
    if kind is EngineConfig:
        check_refusal(lambda: engine_config(**{field: junk}), field)
    if kind is SearchConfig:
        check_refusal(lambda: search_config(**{field: junk}), field)


def test_the_name_of_an_option_may_be_no_text(engine: FastTTS) -> None:
    with pytest.raises(ConfigurationError, match="unknown option: its name is not Unicode"):
        engine.search("Why?", **{"\ud800": 0})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"config": {"n": 4}}, "config is a SearchConfig or None.*, not dict: {'n': 4}"),
        ({"tools": "add"}, "tools is a list of tool schemas or None, not str: 'add'"),
        ({"tools": [{"function": {"name": "f", "parameters": {"a": {1}}}}]}, "'f' cannot be .*set"),
        ({"system": 5}, "system is a str or None, not int: 5"),
        ({"extract": "boxed"}, "extract is a function of a text or None, not str: 'boxed'"),
    ],
)
def test_messages_say_what_was_expected(
    engine: FastTTS, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        engine.search("Why?", **PLAIN, **arguments)
