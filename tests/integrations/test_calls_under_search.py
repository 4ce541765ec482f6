"""Tool calls and structured output as what candidates of a search vote for, without a framework."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from fasttts import ConfigurationError, FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.chat import ChatRequest, Reply
from fasttts.types import SearchResult
from tests.chat_model import ChatModel
from tests.hermes import HermesGenerator
from tests.searches import UNTIMED

ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "number"}, "b": {"$ref": "#/$defs/B"}},
            "required": ["a"],
            "$defs": {"B": {"type": "boolean"}},
        },
    },
}
PING = {"type": "function", "function": {"name": "ping"}}
SCHEMA = {"type": "object", "properties": {"x": {"type": "boolean"}}, "required": ["x"]}
QUESTION = [{"role": "user", "content": "Add?"}]


def call(name: str = "add", **arguments: Any) -> str:
    body = json.dumps({"name": name, "arguments": arguments})
    return f"<tool_call>\n{body}\n</tool_call>"


def request(engine: FastTTS, tools: Sequence[Any] = (ADD, PING), **options: Any) -> ChatRequest:
    return ChatModel(engine=engine).request(engine, QUESTION, tools=tools, **options)


def asked(engine: FastTTS, **options: Any) -> tuple[Reply, SearchResult]:
    made = request(engine, **options)
    result = made.search()
    return made.reply_format.read(result.text, result.finish_reason), result


def scripted(texts: Sequence[str], verifier: Any = None) -> FastTTS:
    """An engine whose candidates are these texts, in this order."""
    answers = iter(texts)
    generator = HermesGenerator(lambda prompt: next(answers))
    return FastTTS(generator, verifier, scheduling=UNTIMED)


@pytest.mark.parametrize("choice", ["any", "required", True, {"type": "any"}])
@pytest.mark.parametrize("search", [{}, {"search": "beam_search", "n": 4, "step_tokens": 6}])
def test_a_forced_call_is_one_of_the_tools(
    engine: FastTTS, choice: object, search: dict[str, Any]
) -> None:
    seen = set()
    for seed in range(4):
        options = {"temperature": 1.0, "seed": seed, "max_tokens": 400, **search}
        reply, result = asked(engine, tool_choice=choice, **options)
        assert reply.finish_reason == "tool_calls"
        seen |= {one.name for one in reply.calls}
        for one in reply.calls:
            assert set(one.arguments) <= ({"a", "b"} if one.name == "add" else set())
        assert result.answer is not None
        assert "tool_calls" in json.loads(result.answer)
    assert seen <= {"add", "ping"}


@pytest.mark.parametrize(
    "choice",
    ["add", {"type": "function", "function": {"name": "add"}}, {"type": "tool", "name": "add"}],
)
@pytest.mark.parametrize("generator_type", [HermesGenerator, FakeGenerator])
def test_a_named_tool_is_called_once(choice: object, generator_type: Any) -> None:
    """In the model's own format, or in a list of JSON where the engine cannot force that."""
    with FastTTS(generator_type()) as engine:
        for seed in range(3):
            options = {"search": "none", "temperature": 1.0, "seed": seed, "is_parallel": False}
            reply, _ = asked(engine, tool_choice=choice, **options)
            (one,) = reply.calls
            assert one.name == "add"
            assert isinstance(one.arguments["a"], int | float)
            assert isinstance(one.arguments.get("b", False), bool)
            assert reply.content == ""


@pytest.mark.parametrize("choice", ["sub", {"type": "tool", "name": "sub"}, 3, {"type": "guess"}])
def test_what_is_no_choice_is_refused(engine: FastTTS, choice: object) -> None:
    with pytest.raises(ConfigurationError, match="tool_choice"):
        request(engine, tool_choice=choice)
    with pytest.raises(ConfigurationError, match="no tool"):
        request(engine, (), tool_choice="any")


def test_a_schema_that_cannot_be_followed_is_refused(engine: FastTTS) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "guess"}}}
    with pytest.raises(ConfigurationError, match="schema of f"):
        request(engine, [tool], tool_choice="any")
    with pytest.raises(ConfigurationError, match="schema of the answer"):
        request(engine, (), response_schema={"type": "guess"})


def test_candidates_vote_by_their_calls() -> None:
    texts = [call(a=2), "No tool.", f"Adding.{call(a=1, b=True)}", call(b=True, a=1.0)]
    with scripted(texts) as engine:
        reply, result = asked(engine, search="best_of_n", n=4)
    assert [(one.name, one.arguments) for one in reply.calls] == [("add", {"a": 1, "b": True})]
    assert result.candidates[0].answer == result.candidates[1].answer
    assert reply.content == "Adding."


def test_equal_calls_add_their_scores() -> None:
    weights = {"Sure.": 0.9, "First.": 0.5, "Second.": 0.6}

    def score(problem: str, steps: tuple[str, ...]) -> float:
        return weights[steps[-1].partition("<")[0]]

    texts = [f"Sure.{call(a=3)}", f"First.{call(a=1)}", f"Second.{call(a=1.0)}"]
    with scripted(texts, FakeVerifier(score)) as engine:
        reply, _ = asked(engine, search="best_of_n", n=3, selection="weighted")
    assert [one.arguments for one in reply.calls] == [{"a": 1.0}]
    with scripted(texts, FakeVerifier(score)) as engine:
        reply, _ = asked(engine, search="best_of_n", n=3, selection="best")
    assert [one.arguments for one in reply.calls] == [{"a": 3}]


MALFORMED = [
    '<tool_call>\n{"name": "add", "arguments": {"a": \n</tool_call>',
    '<tool_call>\n{"name": "add"',
    '<tool_call>\n{"name": "add", "arguments": [1]}\n</tool_call>',
    call("divide", a=1),
    call(a="one"),
    call(b=True),
]


@pytest.mark.parametrize("malformed", MALFORMED)
@pytest.mark.parametrize("selection", ["best", "majority", "weighted"])
def test_a_malformed_call_loses(malformed: str, selection: str) -> None:
    verifier = FakeVerifier(lambda problem, steps: 0.9 if steps[-1] == malformed.strip() else 0.2)
    with scripted([malformed, malformed, call(a=1)], verifier) as engine:
        reply, result = asked(engine, search="best_of_n", n=3, selection=selection)
    assert [one.arguments for one in reply.calls] == [{"a": 1}]
    assert [c.is_malformed for c in result.candidates] == [False, True, True]


def test_where_all_calls_are_malformed_the_text_stays_text() -> None:
    with scripted(MALFORMED[:2]) as engine:
        reply, result = asked(engine, search="best_of_n", n=2)
    assert reply.calls == ()
    assert reply.content == MALFORMED[0]
    assert result.answer is None


def test_self_consistency_stops_on_equal_calls() -> None:
    texts = [call(a=1), call(a=1.0), call(a=1), call(a=2)] * 4
    with scripted(texts) as engine:
        options = {"search": "self_consistency", "n": 16, "stopping": "agreement"}
        _, result = asked(engine, **options)
    assert result.answer == '{"tool_calls": [{"arguments": {"a": 1}, "name": "add"}]}'
    assert len(result.candidates) < 16


@pytest.mark.parametrize("tools", [(), (ADD, PING)])
def test_a_schema_constrains_what_is_said(engine: FastTTS, tools: Sequence[Any]) -> None:
    """With tools bound beside a schema, an answer is a call or such an object."""
    for seed in range(4):
        options = {"search": "best_of_n", "n": 3, "seed": seed, "max_tokens": 400}
        made = request(engine, tools, response_schema=SCHEMA, **options)
        result = made.search()
        reply = made.reply_format.read(result.text, result.finish_reason)
        if reply.calls:
            assert tools
        else:
            assert isinstance(json.loads(reply.content)["x"], bool)
            assert result.answer == json.dumps(json.loads(reply.content))


def test_streams_of_forced_calls_show_no_text(engine: FastTTS) -> None:
    growths = list(request(engine, tool_choice="add", is_parallel=False).stream())
    assert all(not chunk.delta.content for chunk in growths)
    assert growths[-1].end is not None
    assert growths[-1].end[0].calls
