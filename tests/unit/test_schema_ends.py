"""Schemas that refer to themselves: refused where no answer ends, and followed where one does."""

import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from fasttts import ConfigurationError, FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.chat.tool_calls import constraint
from fasttts.decoding.schema_checks import check_schemas
from fasttts.decoding.structured_outputs import StructuredOutputs

Schema = dict[str, Any]
SELF = {"$ref": "#"}


def needing(reference: Schema, **fields: Any) -> Schema:
    """Objects that must have one of what is referred to."""
    return {"type": "object", "properties": {"a": reference}, "required": ["a"], **fields}


def defined(schema: Schema, use: Schema | None = None) -> Schema:
    """A document with a definition `x`, which it is unless it uses it otherwise."""
    return {**(use or {"$ref": "#/$defs/x"}), "$defs": {"x": schema}}


X = {"$ref": "#/$defs/x"}
NULL = {"type": "null"}
ENDLESS: list[tuple[Schema, str]] = [
    (SELF, "'#'"),
    (defined(X), "'#/[$]defs/x'"),
    ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "b"),
    (needing(SELF), "'#'"),
    (defined(needing(X)), "[$]defs/x"),
    (needing({"type": "array", "items": SELF, "minItems": 1}), "#"),
    (needing({"type": "array", "prefixItems": [{}, SELF], "minItems": 2}), "#"),
    (needing({"type": "array", "prefixItems": [{}], "items": SELF, "minItems": 2}), "#"),
    (needing({"anyOf": [SELF, needing(SELF)]}), "#"),
    (needing({"oneOf": [SELF]}), "#"),
    (needing({"allOf": [SELF, {}]}), "#"),
    (
        defined(
            {
                **needing(X),
                "type": ["object", "array"],
                "minItems": 1,
                "items": X,
            }
        ),
        "[$]defs/x",
    ),
    ({"type": "object", "required": ["a"], "allOf": [{"properties": {"a": SELF}}]}, "#"),
    ({"type": "object", "required": ["a"], "additionalProperties": SELF}, "#"),
    ({"type": "object", "minProperties": 1, "additionalProperties": SELF}, "#"),
    # An answer could take this way and never come back.
    (defined(needing(X), {"type": "object", "properties": {"v": {}, "c": X}}), "[$]defs/x"),
    (defined(needing(X), {"anyOf": [X, {"type": "integer"}]}), "[$]defs/x"),
    (defined(needing(X), {"type": "array", "items": X}), "[$]defs/x"),
    (defined(needing(X), {"type": "object", "patternProperties": {"^a$": X}}), "[$]defs/x"),
    (
        {
            **X,
            "definitions": {"y": needing({"$ref": "#/definitions/y"})},
            "$defs": {"x": needing({"$ref": "#/definitions/y"})},
        },
        "y",
    ),
]


@pytest.mark.parametrize(("schema", "where"), ENDLESS)
def test_what_never_ends_is_refused_before_anything_is_searched(schema: Schema, where: str) -> None:
    with pytest.raises(ValueError, match=f"no answer to the schema at .*{where}.* ever ends"):
        check_schemas(schema)
    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        with pytest.raises(ConfigurationError, match=r"structured_outputs\.json.*ever ends"):
            engine.search("?", structured_outputs={"json": schema})
        assert engine.stats().usage.generated_tokens == 0
    called = {"type": "function", "function": {"name": "f", "parameters": schema}}
    for reply, tools in ((schema, []), (None, [called])):
        with pytest.raises(ConfigurationError, match="ever ends"):
            constraint(tools, tools, call_format=None, is_parallel=True, schema=reply)


def nested(make: Callable[[Schema], Schema], levels: int) -> Schema:
    """A schema in which each level is made of the one below."""
    schema = NULL
    for _ in range(levels):
        schema = make(schema)
    return schema


def defined_levels(make: Callable[[Schema], Schema], levels: int) -> Schema:
    """The same with a definition for each level, which the next one refers to."""
    definitions = {"d0": NULL}
    for number in range(levels):
        definitions[f"d{number + 1}"] = make({"$ref": f"#/$defs/d{number}"})
    return {"$defs": definitions, "$ref": f"#/$defs/d{levels}"}


def pair(part: Schema) -> Schema:
    return {"type": "array", "prefixItems": [part, part], "items": False, "minItems": 2}


def list_of_ten(part: Schema) -> Schema:
    return {"type": "array", "items": part, "minItems": 10}


def both(part: Schema) -> Schema:
    return {"type": "object", "properties": {"a": part, "b": part}, "required": ["a", "b"]}


@pytest.mark.parametrize(
    ("schema", "where"),
    [
        (defined_levels(pair, 30), "[$]defs/d19"),  # 2**20 - 1 values
        (defined_levels(both, 30), "[$]defs/d19"),
        (defined_levels(lambda part: {"anyOf": [both(part), pair(part)]}, 60), "[$]defs/d"),
        (nested(list_of_ten, 7), "#"),
        (list_of_ten({"type": "string", "minLength": 100_000}), "#"),
        ({"anyOf": [NULL, nested(list_of_ten, 30)]}, "#/anyOf/1/items"),
    ],
)
def test_what_no_context_holds_is_refused_before_anything_is_built(
    schema: Schema, where: str
) -> None:
    with pytest.raises(ValueError, match=f"schema at '.*{where}.* more than 1,000,000 characters"):
        StructuredOutputs(json=schema)  # type: ignore[arg-type]  # it reads both


@pytest.mark.parametrize(
    "schema",
    [
        defined_levels(pair, 15),
        nested(list_of_ten, 4),
        defined_levels(lambda part: {"type": "array", "prefixItems": [part, part]}, 60),
        defined_levels(lambda part: {"anyOf": [part, pair(part)]}, 60),
        defined_levels(lambda part: {"allOf": [part]}, 60),
        list_of_ten({"type": "string", "minLength": 99_000}),
        list_of_ten({"enum": ["a" * 19_000]}),
    ],
)
def test_what_a_context_may_hold_is_followed(schema: Schema) -> None:
    StructuredOutputs(json=schema)  # type: ignore[arg-type]  # it reads both


@pytest.mark.parametrize("make", [pair, both, lambda part: {"anyOf": [part, part]}])
def test_shared_parts_are_counted_and_never_written_out(make: Callable[[Schema], Schema]) -> None:
    """Python objects of thirty dictionaries, which as text would have 2**30."""
    schema = nested(make, 30)
    with pytest.raises(ValueError, match="more than 100,000") as caught:
        StructuredOutputs(json=schema)  # type: ignore[arg-type]  # it reads both
    assert len(str(caught.value)) < 500
    with FastTTS(FakeGenerator()) as engine:
        with pytest.raises(ConfigurationError, match="more than 100,000"):
            engine.search("?", search="none", structured_outputs={"json": schema})
        tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
        with pytest.raises(ConfigurationError, match=r"tool 'f' cannot be offered.*100,000"):
            engine.search("?", search="none", tools=[tool])
    with pytest.raises(ConfigurationError, match="more than 100,000"):
        constraint([], [], call_format=None, is_parallel=True, schema=schema)


class Node(BaseModel):
    value: bool
    following: "Node | None" = None


class Tree(BaseModel):
    children: list["Tree"]


class Left(BaseModel):
    right: "Right | None"


class Right(BaseModel):
    lefts: list[Left]


ENDING: list[Schema] = [
    *(model.model_json_schema() for model in (Node, Tree, Left, Right)),
    needing({"anyOf": [SELF, NULL]}),
    needing({"type": ["array", "string"], "items": SELF, "minItems": 1}),
    {"type": "object", "properties": {"a": SELF}},
    {"type": "object", "additionalProperties": SELF},
    {"type": "object", "properties": {"a": SELF, "b": {"type": "boolean"}}, "minProperties": 0},
    {"anyOf": [{"type": "boolean"}, {"type": "array", "items": SELF, "maxItems": 2}]},
    {"oneOf": [{"type": "boolean"}, needing(SELF)]},
    {"properties": {"a": SELF}, "required": ["a"]},  # which a number follows
    defined(needing({"enum": [None, True]})),
    {"$defs": {"x": X}, "type": "boolean"},
    {"type": "object", "properties": {"a": False, "b": {"type": "boolean"}}, "required": ["b"]},
    {"type": "string", "items": needing(SELF)},
]


@pytest.mark.parametrize("schema", ENDING)
def test_what_may_end_is_followed(schema: Schema) -> None:
    options: dict[str, Any] = {"search": "none", "temperature": 1.0, "max_tokens": 300}
    validator = jsonschema.Draft202012Validator(schema)
    with FastTTS(FakeGenerator(max_model_len=1024)) as engine:
        results = [
            engine.search("?", structured_outputs={"json": schema}, seed=seed, **options)
            for seed in range(8)
        ]
    texts = [result.text for result in results if result.finish_reason == "stop"]
    assert texts
    assert all(validator.is_valid(json.loads(text)) for text in texts)


@pytest.mark.parametrize(
    "outputs",
    [
        {"grammar": "start: start\n"},
        {"grammar": "start: /[^\\s\\S]/\n"},
        {"regex": "a[^\\s\\S]"},
    ],
)
def test_what_cannot_begin_is_refused(outputs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no answer can begin"):
        StructuredOutputs(**outputs)


def is_followed(schema: Schema, definitions: Schema, depth: int) -> bool:
    """Whether a value of at most so many references follows a schema of `SMALL`."""

    def each(part: Schema) -> bool:
        return is_followed(part, definitions, depth)

    match schema:
        case {"$ref": str(reference)}:
            return depth > 0 and is_followed(definitions[reference[-1]], definitions, depth - 1)
        case {"anyOf": parts}:
            return any(map(each, parts))
        case {"allOf": parts}:
            return all(map(each, parts))
        case {"required": names, "properties": properties}:
            return all(each(properties[name]) for name in names)
        case {"items": items, "minItems": fewest}:
            return not fewest or each(items)
    return True


def parts(schema: Schema) -> list[Schema]:
    """A schema of `SMALL`, and all within it."""
    inner = [
        *schema.get("properties", {}).values(),
        *schema.get("anyOf", []),
        *schema.get("allOf", []),
    ]
    inner += [schema["items"]] if "items" in schema else []
    return [schema, *(found for each in inner for found in parts(each))]


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    properties = st.dictionaries(st.sampled_from("pq"), inner, min_size=1)
    return properties.flatmap(
        lambda found: st.lists(st.sampled_from(sorted(found)), unique=True).map(
            lambda names: {"type": "object", "properties": found, "required": names}
        )
    )


SMALL = st.recursive(
    st.one_of(
        st.just({"type": "boolean"}),
        st.sampled_from("abc").map(lambda name: {"$ref": f"#/$defs/{name}"}),
    ),
    lambda inner: st.one_of(
        _objects(inner),
        st.lists(inner, min_size=1, max_size=2).map(lambda found: {"anyOf": found}),
        inner.map(lambda found: {"allOf": [found]}),
        st.tuples(inner, st.integers(0, 2)).map(
            lambda pair: {"type": "array", "items": pair[0], "minItems": pair[1]}
        ),
    ),
    max_leaves=5,
)
DEFINITIONS = st.fixed_dictionaries(dict.fromkeys("abc", SMALL))


@settings(max_examples=300, deadline=None)
@given(definitions=DEFINITIONS)
def test_the_rule_is_that_of_counting_levels(definitions: Schema) -> None:
    """A schema of three definitions has an end if, and only if, one of four levels follows it."""
    root = {"type": "array", "prefixItems": [{"$ref": f"#/$defs/{n}"} for n in "abc"]}
    reached = [part for schema in definitions.values() for part in parts(schema)]
    refusal: Any = pytest.raises(ValueError, match="ever ends")
    if all(is_followed(part, definitions, 4) for part in reached):
        refusal = nullcontext()
    with refusal:
        check_schemas({**root, "$defs": definitions})


SLOW: list[Callable[[], Schema]] = [
    lambda: {**X, "$defs": {"x": {"anyOf": [needing(X) for _ in range(400)]}}},
    lambda: {
        "$ref": "#/$defs/d0",
        "$defs": {
            f"d{n}": needing(
                {"$ref": f"#/$defs/d{(n + 1) % 150}"},
                type=["object", "array"],
                minItems=1,
                items={"$ref": f"#/$defs/d{(n * 7) % 150}"},
            )
            for n in range(150)
        },
    },
]


@pytest.mark.parametrize("make", SLOW)
def test_looking_for_ends_takes_little_time(make: Callable[[], Schema]) -> None:
    schema, started = make(), time.process_time()
    with pytest.raises(ValueError, match=r"ever ends|more than"):
        check_schemas(schema)
    assert time.process_time() - started < 1
