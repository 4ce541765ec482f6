"""What structured outputs may hold: limits that are checked before native code sees anything."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from fasttts import BackendError, CapacityError, ConfigurationError, FastTTS
from fasttts.backends.fake import VOCAB_SIZE, FakeGenerator, FakeVerifier, vocabulary
from fasttts.chat.tool_calls import constraint
from fasttts.chat.tools import offered_tools
from fasttts.config import search_config
from fasttts.decoding import structured_outputs
from fasttts.decoding.grammar import Constraints
from fasttts.decoding.grammar_limits import MAX_DEPTH, MAX_RULE_CHAIN
from fasttts.decoding.reference_graph import components, longest_chain, sizes_written_out
from fasttts.decoding.structured_outputs import StructuredOutputs
from tests.unit import grammar_fuzz
from tests.unit.grammar_fuzz import Outcome, outcome

Outputs = dict[str, Any]


def nested(value: Any, depth: int, wrap: Callable[[Any], Any]) -> Any:
    for _ in range(depth):
        value = wrap(value)
    return value


def rules(number: int, link: str = "r{}", name: str = "r{}") -> str:
    """A grammar of rules, each of which refers to the next one."""
    lines = [f"{name.format(i)}: {link.format(i + 1)}" for i in range(number)]
    return "\n".join([f"start: {name.format(0)}", *lines, f'{name.format(number)}: "a"', ""])


def definitions(number: int, link: Callable[[str], Any], last: Any) -> dict[str, Any]:
    """A schema of definitions, each of which refers to the next one."""
    linked = {f"d{i}": link(f"#/$defs/d{i + 1}") for i in range(number)}
    return {"$ref": "#/$defs/d0", "$defs": {**linked, f"d{number}": last}}


def merging(reference: str) -> dict[str, Any]:
    """An object with two properties, for each of which a new schema is computed."""
    part = {"allOf": [{"$ref": reference}, {"minProperties": 1}]}
    return {"type": "object", "properties": {"x": part, "y": part}}


CIRCLE: dict[str, Any] = {}
CIRCLE["items"] = CIRCLE
SHARED = nested({}, 60, lambda schema: {"anyOf": [schema, schema, schema]})

BEYOND: list[tuple[Outputs, str]] = [
    ({"json": {"minItems": 10**9}}, r"structured_outputs\.json=.*minItems=1000000000 is more than"),
    ({"json": {"maxItems": 1001}}, "maxItems=1001 is more than 1,000"),
    ({"json": {"items": {"minProperties": 10**30}}}, "minProperties=2.*99 is more than 1,000"),
    ({"json": {"anyOf": [{"maxProperties": 10**6}]}}, "maxProperties"),
    ({"json": {"properties": {"a": {"minLength": 10**7}}}}, "minLength"),
    ({"json": {"$defs": {"a": {"maxLength": 10**7}}}}, "maxLength"),
    ({"json": {"minItems": True}}, "minItems=True is no number"),
    ({"json": {"minItems": "3"}}, "minItems='3' is no number"),
    ({"json": {"multipleOf": 1_000_003}}, "sum of multipleOf=1000003 is more than 10,000"),
    ({"json": {"multipleOf": 0.123457}}, "sum of multipleOf"),
    ({"json": {"allOf": [{"multipleOf": 991}, {"multipleOf": 997}]}}, "common multiple"),
    ({"json": {"properties": {c: {"multipleOf": 5000 + ord(c)} for c in "abc"}}}, "multipleOf"),
    ({"json": {"minimum": -(10**19)}}, "minimum=.*2..63 is more than"),
    ({"json": {"maximum": float("inf")}}, "no JSON number"),
    ({"json": '{"maximum": NaN}'}, "NaN is no JSON number"),
    ({"json": '{"maximum": 1e999}'}, "inf is no JSON number"),
    ({"json": {"const": 10**5000}}, "too large"),
    ({"json": {"properties": {f"p{i}": {} for i in range(501)}}}, "properties=501 is more than"),
    ({"json": {"$defs": {f"p{i}": {} for i in range(501)}}}, "defs=501 is more than"),
    ({"json": {"patternProperties": {f"^{i}$": {} for i in range(21)}}}, "patternProperties=21"),
    ({"json": {"enum": list(range(10_001))}}, "enum values=10001"),
    ({"json": {"enum": ["a" * 20_001]}}, "length of enum"),
    ({"json": {"const": list(range(9000))}}, "length of const"),
    ({"json": {"enum": {1, 2}}}, "type set is no JSON"),
    ({"json": {"items": {3: {}}}}, "key of a JSON object is no text"),
    ({"json": CIRCLE}, "nesting depth=101"),
    ({"json": SHARED}, "number of values"),
    ({"json": nested({}, 10_000, lambda schema: {"items": schema})}, "nesting depth=101"),
    ({"json": '{"items":' * 50_000}, "more than 100,000"),
    ({"json": '{"items":' * 5000}, "nesting depth=101"),
    ({"json": json.dumps({"title": "a" * 100_000})}, "number of characters"),
    ({"json": {"title": "\ud800"}}, "surrogate"),
    ({"json": {"pattern": "(a{1000}){1000}"}}, "pattern='.*written out=1001000"),
    ({"json": {"patternProperties": {"a{20000}": {}}}}, "repetition count=20000"),
    ({"json": {"pattern": 3}}, "pattern=3 is no text"),
    ({"json": {"$ref": ["#"]}}, "ref=list is no text"),
    ({"json": {"properties": [1]}}, "properties=list is no object"),
    ({"json": definitions(499, lambda r: {"items": {"$ref": r}}, {})}, "depth through references"),
    ({"json": definitions(14, merging, {"type": "object"})}, "number of schemas and items"),
    ({"json": {"prefixItems": [{"maxItems": 900, "title": f"{i}"} for i in range(12)]}}, "items"),
    ({"json": {"allOf": [{"pattern": f"a{{{i}}}b"} for i in range(20)]}}, "combined patterns=20"),
    ({"regex": "a" * 20_001}, r"structured_outputs\.regex=.*number of characters=20001"),
    ({"regex": "a{1000000}"}, "repetition count=1000000 is more than 10,000"),
    ({"regex": "a{0,000000099999999999999999999999}"}, "repetition count"),
    ({"regex": "(a{1000}){1000}"}, "written out=1001000"),
    ({"regex": "([])]a{1000}){1000}"}, "written out"),
    ({"regex": "(?ix) a{1000} #(\n{1000}"}, "flag x"),
    ({"regex": "(" * 3000 + "a" + ")" * 3000}, "nesting depth=101"),
    ({"regex": "[" * 3000}, "nesting depth=101"),
    ({"regex": "\ud800"}, "surrogate"),
    ({"choice": []}, "nothing to choose"),
    ({"choice": [str(i) for i in range(1001)]}, r"structured_outputs\.choice=.*choices=1001"),
    ({"choice": ["a" * 20_001]}, "length of a choice=20001"),
    ({"choice": ["a" * 19_000] * 6}, "number of characters=114000"),
    ({"choice": ["\udfff"]}, "surrogate"),
    ({"grammar": rules(3000)}, r"structured_outputs\.grammar=.*number of rules=1001"),
    ({"grammar": rules(600)}, "chain of rules and groups=6"),
    ({"grammar": rules(600, "A{}", "A{}")}, "chain of rules and groups"),
    ({"grammar": rules(100, "((((((r{}))))))")}, "chain of rules and groups"),
    ({"grammar": rules(30, "T{0} T{0} T{0}", "T{}")}, "terminal written out"),
    ({"grammar": rules(20, "T{} & /.*a/", "T{}")}, "intersections=20 is more than 12"),
    ({"grammar": "start: T\nT: /.*a/" + " & /.*a/" * 20 + "\n"}, "intersections=20"),
    ({"grammar": "start: /.*a/" + " & /.*a/" * 20 + "\n"}, "intersections=20"),
    ({"grammar": "start: " + " | ".join(["start"] * 1002) + "\n"}, "alternatives of start"),
    ({"grammar": "start: /a/" + " #" * 60_000}, "number of characters"),
    ({"grammar": 'start: "a"~1000000\n'}, "repetition count=1000000"),
    ({"grammar": 'start: "a"{2,99999}\n'}, "repetition count=99999"),
    ({"grammar": "start: /(a{1000}){1000}/\n"}, "written out"),
    ({"grammar": "start: /a b/x\n"}, "flag x"),
    ({"grammar": f'start: "{"a" * 30_000}"\n'}, "length of a text"),
    ({"grammar": 'start: %json {"minItems": 1000000000}\n'}, "minItems=1000000000"),
    ({"grammar": "start: %json " + '{"items":' * 5000}, "nesting depth"),
    ({"grammar": "start: %json {\n"}, "no JSON"),
    ({"grammar": 'start: "a\n'}, "line 1 of the grammar cannot be read"),
    ({"grammar": "start: \udc00\n"}, "surrogate"),
    ({"json": "3"}, "a JSON schema is an object"),
]


@pytest.mark.parametrize(("outputs", "message"), BEYOND, ids=[text for _, text in BEYOND])
def test_native_code_sees_nothing_beyond_a_limit(
    outputs: Outputs, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(grammar: str) -> str:
        raise AssertionError("llguidance was called")

    monkeypatch.setattr(structured_outputs, "_problem", fail)
    started = time.perf_counter()
    with pytest.raises(ConfigurationError, match=message) as refusal:
        search_config(structured_outputs=outputs)
    assert len(str(refusal.value)) < 2500
    assert time.perf_counter() - started < 5


NODE = {
    "type": "object",
    "properties": {
        "value": {"type": "integer"},
        "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
    },
    "required": ["value", "next"],
}
WITHIN: list[Outputs] = [
    {"json": {"type": "array", "items": {"type": "boolean"}, "maxItems": 1000}},
    {"json": {"type": "string", "maxLength": 100_000}},
    {"json": {"type": "object", "properties": {f"p{i}": {} for i in range(499)}}},
    {"json": {"enum": [f"v{i}" for i in range(9_999)]}},
    {"json": {"type": "integer", "multipleOf": 9_973}},
    {"json": {"type": "object", "properties": {c: {"multipleOf": 0.01} for c in "abcdef"}}},
    {"json": {"$ref": "#/$defs/node", "$defs": {"node": NODE}}},
    {"json": definitions(120, lambda r: {"anyOf": [{"$ref": r}, {"type": "null"}]}, {})},
    {"json": nested({}, MAX_DEPTH // 2 - 1, lambda s: {"type": "array", "prefixItems": [s]})},
    {"json": {"allOf": [{"type": "object"}, {"properties": {"a": {"type": "string"}}}],
        "properties": {f"p{i}": {"type": "string", "format": "date"} for i in range(20)}}},
    {"json": {"properties": {"a": {"allOf": [{"minimum": 1}, {"maximum": 5}]},
        **{f"p{i}": {"type": "string", "pattern": f"^{i}$"} for i in range(20)}}}},
    {"grammar": "start: " + " | ".join(f"T{i}" for i in range(40)) + "\n"
        + "".join(f"T{i}: /{i}[ab]+/ & /.*b/\n" for i in range(40))},
    {"json": {"properties": {"const": {"type": "string"}, "pattern": {}, "$ref": {}}}},
    {"json": {"patternProperties": {f"^a{i:02}$": {} for i in range(20)}, "type": "object"}},
    {"regex": "[a-z]{1,9999}"},
    {"regex": "(" * 90 + "a" + ")" * 90},
    {"regex": "a" * 20_000},
    {"regex": "|".join(f"a{i}b" for i in range(2000))},
    {"choice": [f"choice {i}" for i in range(1000)]},
    {"grammar": rules(MAX_RULE_CHAIN - 20)},
    {"grammar": "start: " + " | ".join(f"r{i}" for i in range(900)) + "\n"
        + "".join(f'r{i}: "a{i}"\n' for i in range(900))},
    {"grammar": "# a comment (\nstart: x // one more [\n"
        'x: "(" X "a".."z" /[(]/ -> y\n  | %json {"type": "null"}\n'
        'y[max_tokens=20000]: "a"\nX: /a/i\n%ignore / /\n'},
]  # fmt: skip


@pytest.mark.parametrize("outputs", WITHIN, ids=lambda outputs: str(outputs)[:60])
def test_large_formats_are_followed_within_seconds(outputs: Outputs) -> None:
    found = outcome(outputs)
    assert found.end in ("answered", "cut"), found.text
    assert found.seconds < 10


def test_references_are_counted() -> None:
    graph = {"a": ["b", "c"], "b": ["d"], "c": ["d", "a"], "d": [], "e": ["b", "b"]}
    parts = [sorted(part) for part in components(graph)]
    assert sorted(parts) == [["a", "c"], ["b"], ["d"], ["e"]]
    assert parts.index(["d"]) < parts.index(["b"]) < parts.index(["a", "c"])
    assert longest_chain(graph, dict.fromkeys(graph, 1)) == 4
    assert longest_chain({}, {}) == 0
    sizes = sizes_written_out(graph, dict.fromkeys(graph, 1))
    assert (sizes["d"], sizes["b"], sizes["e"]) == (1, 2, 5)
    long = {i: [i + 1, i // 2] if i < 50_000 else [] for i in range(50_001)}
    assert longest_chain(long, dict.fromkeys(long, 1)) == len(long)


def tool(**parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "lookup", "parameters": parameters}}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"properties": {"a": {"minItems": 10**9}}}, "schema of lookup .*minItems=1000000000"),
        (
            definitions(499, lambda r: {"items": {"$ref": r}}, {}),
            "schema of lookup .*depth through references",
        ),
        ({"properties": {"a": {"type": "guess"}}}, "schema of ping, lookup cannot be followed"),
    ],
)
def test_a_tool_beyond_a_limit_is_named(parameters: dict[str, Any], message: str) -> None:
    tools = [{"type": "function", "function": {"name": "ping"}}, tool(**parameters)]
    with pytest.raises(ConfigurationError, match=message):
        constraint(tools, tools, call_format=None, is_parallel=True, schema=None)


def test_a_tool_that_cannot_be_written_is_named() -> None:
    deep = nested({}, 100_000, lambda schema: {"items": schema})
    with pytest.raises(ConfigurationError, match="tool 'lookup' cannot be offered: nesting depth"):
        offered_tools([tool(**deep)])
    with pytest.raises(ConfigurationError, match="tool without a name"):
        offered_tools([{"a": {1}}])


@pytest.mark.parametrize("tools", [[], [tool()]])
def test_a_reply_s_schema_is_bounded_too(tools: list[Any]) -> None:
    deep = nested({}, 100_000, lambda schema: {"items": schema})
    for schema, message in ((deep, "nesting depth"), ({"maxItems": 10**9}, "maxItems")):
        with pytest.raises(ConfigurationError, match=f"schema of the answer .*{message}"):
            constraint(tools, [], call_format=None, is_parallel=True, schema=schema)


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ({"regex": r"a\/b"}, "a/b"),
        ({"regex": r"a/\/\\\/[/]b"}, r"a//\//b"),
        ({"json": {"type": "string", "pattern": r"^a\/b/$"}}, '"a/b/"'),
        ({"grammar": r"start: /a\/b\\/" + "\n"}, "a/b\\"),
    ],
)
def test_slashes_may_be_escaped(outputs: Outputs, text: str) -> None:
    assert outcome(outputs)[:2] == ("answered", text)


# A grammar that fails while an answer is decoded.
DEAD_END = {"grammar": 'start: "a" /[^\\s\\S]/\n'}
TOO_MANY_ITEMS = {"grammar": 'start: ((x~90)~90)~90\nx: "a"\n'}


def wide(letter: str) -> dict[str, Any]:
    properties = {f"{letter}{number}": {"const": 1} for number in range(450)}
    return {"type": "object", "properties": properties}


TOO_WIDE = {"json": {"anyOf": [wide(letter) for letter in "abc"]}}


@pytest.mark.parametrize(
    ("outputs", "kind", "message"),
    [
        (DEAD_END, BackendError, "matches nothing"),
        (TOO_MANY_ITEMS, CapacityError, "too complex to decode: .*Too many items"),
        (TOO_WIDE, CapacityError, "too complex to decode: .*Current row"),
    ],
)
@pytest.mark.parametrize("search", [{"search": "none"}, {"search": "beam_search", "n": 4}])
def test_a_grammar_that_fails_ends_its_own_search(
    outputs: Outputs, kind: type[Exception], message: str, search: dict[str, Any]
) -> None:
    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        alone = engine.search("Who?", seed=3, search="beam_search", n=8)
        beside = engine.submit("Who?", seed=3, search="beam_search", n=8)
        with pytest.raises(kind, match=message):
            engine.search("?", structured_outputs=outputs, **search)
        assert beside.result().text == alone.text
        assert engine.health.is_healthy


def test_a_complete_answer_is_no_failure() -> None:
    grammar = StructuredOutputs(choice=("no",)).decoding_grammar()
    state = Constraints(vocabulary, VOCAB_SIZE).start(grammar, [])
    for tokens in (b"", b"n", b"no"):
        state.allowed(list(tokens))
    later = state.copy()
    for token_ids in ([*b"no", 256], [*b"no", 256, 256], [*b"no", 256, 256, 97]):
        assert later.allowed(token_ids).nonzero()[0].tolist() == [256]
    assert later.failure is None


def test_a_speculative_failure_counts_only_once_it_is_needed() -> None:
    """The first step is decided without what runs ahead of it into a dead end."""
    generator = FakeGenerator()
    grammar = {"grammar": 'start: "abcdefgh" /[^\\s\\S]/\n'}
    options: dict[str, Any] = {"search": "beam_search", "n": 4, "beam_width": 2, "step_tokens": 4}
    with FastTTS(generator, FakeVerifier()) as engine:
        for depth in (1, 2):
            result = engine.search("?", structured_outputs=grammar, max_depth=depth, **options)
            assert result.text == "abcdefgh"[: 4 * depth]
        with pytest.raises(BackendError, match="matches nothing"):
            engine.search("?", structured_outputs=grammar, max_depth=3, **options)


class Watched(FakeGenerator):
    """Records the threads in which grammars are compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[str] = []
        compiled = self._constraints._compile

        def compile_recorded(grammar: str) -> Any:
            self.threads.append(threading.current_thread().name)
            return compiled(grammar)

        self._constraints._compile = compile_recorded  # type: ignore[method-assign]


def test_grammars_are_compiled_in_the_caller_s_thread_and_kept() -> None:
    generator = Watched()
    with FastTTS(generator, FakeVerifier()) as engine:
        for _ in range(2):
            engine.search("?", structured_outputs={"choice": ["a"]}, search="beam_search", n=4)
        assert generator.threads == [threading.current_thread().name]
        handles = [
            engine.submit("?", structured_outputs={"choice": [f"a{number}"]}, search="none")
            for number in range(100)
        ]
        assert [handle.result().text for handle in handles] == [f"a{n}" for n in range(100)]
    assert len(generator.threads) == 101
    assert set(generator.threads) == {threading.current_thread().name}


def test_an_event_loop_neither_checks_nor_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    generator, checked = Watched(), list[str]()
    check = structured_outputs.check_schemas

    def check_recorded(*schemas: object) -> None:
        checked.append(threading.current_thread().name)
        check(*schemas)

    monkeypatch.setattr(structured_outputs, "check_schemas", check_recorded)

    async def ask(engine: FastTTS) -> None:
        outputs = {"json": {"const": 3}}
        assert (await engine.asearch("?", structured_outputs=outputs, search="none")).text == "3"
        outputs = {"json": {"const": 4}}
        stream = engine.astream("?", structured_outputs=outputs, search="none")
        assert "".join([event.text async for event in stream if hasattr(event, "text")]) == "4"
        with pytest.raises(ConfigurationError, match="maxItems"):
            await engine.asearch("?", structured_outputs={"json": {"maxItems": 10**9}})
        with pytest.raises(ConfigurationError, match="maxItems"):
            await anext(engine.astream("?", structured_outputs={"json": {"maxItems": 10**9}}))

    with FastTTS(generator) as engine:
        asyncio.run(ask(engine))
    names = {*generator.threads, *checked}
    assert generator.threads
    assert checked
    assert threading.current_thread().name not in names
    assert "fasttts-loop" not in names


def test_a_grammar_in_use_stays_compiled() -> None:
    constraints = Constraints(vocabulary, VOCAB_SIZE)
    grammars = [StructuredOutputs(choice=(f"{i}",)).decoding_grammar() for i in range(70)]
    first = constraints.compile(grammars[0])
    for grammar in grammars[1:]:
        constraints.compile(grammar)
    assert constraints.compile(grammars[0]) is first
    assert first.start() is not first.start()


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """A process whose end would be seen: a crash breaks the pool."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        yield executor


FUZZ = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def check_outcome(found: Outcome) -> None:
    event(found.end)
    assert found.seconds < 30, found
    assert found.text or found.end in ("answered", "cut")


@FUZZ
@given(schema=grammar_fuzz.SCHEMA_TEXTS)
@example(schema='{"minItems": 1000000000}')
@example(schema=json.dumps(definitions(3000, lambda r: {"$ref": r}, {})))
def test_any_schema_is_refused_or_followed(pool: ProcessPoolExecutor, schema: str) -> None:
    found = pool.submit(outcome, {"json": schema}).result(timeout=120)
    check_outcome(found)
    if found.end == "answered":
        assert jsonschema.Draft202012Validator(json.loads(schema)).is_valid(json.loads(found.text))


@FUZZ
@given(grammar=grammar_fuzz.GRAMMARS)
@example(grammar=rules(3000))
def test_any_grammar_is_refused_or_followed(pool: ProcessPoolExecutor, grammar: str) -> None:
    check_outcome(pool.submit(outcome, {"grammar": grammar}).result(timeout=120))


@FUZZ
@given(regex=grammar_fuzz.REGEXES)
def test_any_regex_is_refused_or_followed(pool: ProcessPoolExecutor, regex: str) -> None:
    check_outcome(pool.submit(outcome, {"regex": regex}).result(timeout=120))


@FUZZ
@given(outputs=st.dictionaries(st.sampled_from(["json", "regex", "choice", "grammar"]), st.one_of(
    grammar_fuzz.WEIRD, grammar_fuzz.HUGE, st.binary(max_size=4), st.text(max_size=8),
    st.lists(st.text(max_size=3), max_size=3), st.just(CIRCLE), st.just(object()),
), min_size=1, max_size=1))  # fmt: skip
def test_any_type_is_refused_or_followed(outputs: dict[str, Any]) -> None:
    check_outcome(outcome(outputs))
