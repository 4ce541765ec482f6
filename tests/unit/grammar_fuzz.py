"""Structured outputs at random, and what becomes of a search with them; runs in other processes."""

import functools
import json
import time
from typing import Any, NamedTuple

from hypothesis import strategies as st

from fasttts import BackendError, ConfigurationError, FastTTS, SearchError
from fasttts.backends.fake import FakeGenerator


class Outcome(NamedTuple):
    """How a search with structured outputs ended.

    Attributes:
        end: "refused", "failed", "cut" or "answered".
        text: The error's message, or the answer.
        seconds: Time that it took.
    """

    end: str
    text: str
    seconds: float


@functools.cache
def engine() -> FastTTS:
    return FastTTS(FakeGenerator())


def outcome(outputs: dict[str, Any]) -> Outcome:
    """Searches with structured outputs; errors that are no clear ones are raised."""
    started = time.perf_counter()
    options = {"search": "none", "temperature": 1.0, "max_tokens": 60}
    try:
        result = engine().search("?", structured_outputs=outputs, **options)
    except ConfigurationError as error:
        end, text = "refused", str(error)
    except (BackendError, SearchError) as error:
        end, text = "failed", str(error)
    else:
        end = "answered" if result.finish_reason == "stop" else "cut"
        text = result.text
    return Outcome(end, text, time.perf_counter() - started)


_MAX_CHARS = 150_000
"""Longer than any limit; what repeats a text stops here, or the test's own memory would not do."""


def repeated(text: str, count: int, after: str = "", close: str = "") -> str:
    """A text with others before or behind it, many times; cut where it is too long to matter.

    Args:
        text: The text, or what stands before `after`.
        count: How often `text` and `close` stand there.
        after: The text in the middle; without one, `text` is repeated alone.
        close: What stands behind it.
    """
    count = min(count, _MAX_CHARS // (len(text) + len(close)) if text else 0)
    return text * count + after + close * count


HUGE = st.sampled_from([0, 1, 3, 999, 1001, 10**5, 10**9, 10**18 + 1, 10**40, -1, 0.5, 1e300, 1e-9])
NAMES = st.sampled_from(["a", "b", "const", "$ref", "é", "", "a/b", "~0"])
WEIRD = st.sampled_from([None, True, "x", [], {}, [[]], {"a": {"$ref": "#"}}, "#", -1, 1e-300])
REGEXES = st.recursive(
    st.sampled_from(["a", "b+", ".", r"\d", "[a-c]", "[^]a]", "(", ")", "[", r"\/", "/", "é"]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("|".join),
        inner.map(lambda regex: f"({regex})*"),
        st.tuples(inner, HUGE).map(lambda pair: f"({pair[0]}){{{pair[1]}}}"),
        st.tuples(inner, st.integers(0, 12)).map(lambda pair: f"({pair[0]}){{{pair[1]},}}"),
        st.tuples(inner, st.sampled_from([2, 90, 200, 30_000])).map(
            lambda pair: repeated("(", pair[1], pair[0], ")")
        ),
        st.tuples(inner, st.sampled_from([20, 3000])).map(lambda pair: repeated(*pair)),
    ),
    max_leaves=8,
)

REFERENCES = st.sampled_from(
    ["#", "#/$defs/a", "#/$defs/b", "#/properties/a", "#/nowhere", "http://127.0.0.1:1/a", "#x"]
)
TYPES = st.sampled_from(
    ["object", "array", "string", "number", "integer", "boolean", "null", "guess", ["string"], 3]
)


def _with_schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(inner, max_size=4)
    maps = st.dictionaries(NAMES, inner, max_size=4)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES,
            "items": inner,
            "prefixItems": lists,
            "anyOf": lists,
            "allOf": lists,
            "oneOf": lists,
            "properties": st.one_of(maps, st.builds(_wide, inner, st.sampled_from([400, 3000]))),
            "patternProperties": st.dictionaries(REGEXES, inner, max_size=3),
            "required": st.lists(NAMES, max_size=3),
            "additionalProperties": st.one_of(st.booleans(), inner),
            "$ref": REFERENCES,
            "$defs": st.dictionaries(st.sampled_from(["a", "b"]), inner),
            **{key: st.one_of(HUGE, WEIRD) for key in ("minItems", "maxItems", "multipleOf")},
            **{key: st.one_of(HUGE, WEIRD) for key in ("minLength", "maxLength", "minimum")},
            "pattern": st.one_of(REGEXES, WEIRD),
            "format": st.sampled_from(["date", "email", "uuid", "guess", 3]),
            "enum": st.one_of(st.lists(WEIRD, max_size=4), st.just(list(range(20_000)))),
            "const": st.one_of(WEIRD, st.just("ab" * 40_000)),
        },
    ).map(lambda schema: dict(list(schema.items())[:6]))


def _wide(schema: Any, width: int) -> dict[str, Any]:
    return {f"p{number}": schema for number in range(width)}


def _nested(schema: Any, depth: int, key: str) -> Any:
    for _ in range(depth):
        schema = {key: [schema]} if key.endswith("Of") else {key: schema}
    return schema


SCHEMAS = st.recursive(
    st.one_of(st.just({}), WEIRD, TYPES.map(lambda kind: {"type": kind})),
    lambda inner: st.one_of(
        _with_schemas(inner),
        st.builds(
            _nested,
            inner,
            st.sampled_from([20, 40, 80, 110]),
            st.sampled_from(["items", "allOf", "anyOf", "not"]),
        ),
    ),
    max_leaves=12,
)

SCHEMA_TEXTS = st.tuples(SCHEMAS.map(json.dumps), st.sampled_from([0, 0, 0, 0, 5000])).map(
    lambda pair: '{"items": ' * pair[1] + pair[0] + "}" * pair[1]
)

RULE_NAMES = st.sampled_from(["start", "a", "b", "c", "A", "B", "C", "_d", "nowhere"])
ITEMS = st.recursive(
    st.one_of(
        RULE_NAMES,
        st.sampled_from(['"x"', '"é"i', "/a+/", r"/\//", '"a".."c"', "<|x|>", "@answer", "(", "["]),
        REGEXES.map(lambda regex: f"/{regex}/"),
        SCHEMAS.map(lambda schema: f"%json {json.dumps(schema)}"),
    ),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map(" ".join),
        st.lists(inner, min_size=1, max_size=4).map(" | ".join),
        inner.map(lambda item: f"({item})*"),
        inner.map(lambda item: f"[{item}]"),
        st.tuples(inner, HUGE).map(lambda pair: f"({pair[0]})~{pair[1]}"),
        st.tuples(inner, HUGE).map(lambda pair: f"({pair[0]}){{{pair[1]}}}"),
        st.tuples(inner, st.sampled_from([20, 2000])).map(
            lambda pair: repeated(f"{pair[0]} ", pair[1])
        ),
        st.tuples(inner, st.sampled_from([25, 3000])).map(
            lambda pair: repeated("(", pair[1], pair[0], ")")
        ),
        st.tuples(inner, inner).map(" & ".join),
        inner.map(lambda item: f"~({item})"),
    ),
    max_leaves=10,
)


def _chain(names: tuple[str, int], body: str) -> list[str]:
    """Rules that refer to the next one, each with a body of its own."""
    name, length = names
    links = [f"{name}{number}: {name}{number + 1} | {body}" for number in range(length)]
    return [f"a: {name}0", *links, f'{name}{length}: "x"']


RULES = st.tuples(RULE_NAMES, ITEMS).map(lambda rule: [": ".join(rule)])
CHAINS = st.builds(
    _chain,
    st.tuples(st.sampled_from("rT"), st.sampled_from([40, 300, 900, 3000])),
    st.sampled_from(['"x"', '(("x" start)?)*', "/a/ " * 30]),
)
GRAMMARS = st.tuples(ITEMS, st.lists(st.one_of(RULES, RULES, CHAINS), max_size=4)).map(
    lambda parts: "\n".join([f"start: {parts[0]}", *(line for rule in parts[1] for line in rule)])
)
