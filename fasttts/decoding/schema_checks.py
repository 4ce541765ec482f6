"""JSON schemas of users, checked before llguidance reads them.

A schema that combines schemas (`allOf`, or a reference or `anyOf` beside other keywords) makes
llguidance compute a new one from each combination, so there references count as written out.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

from fasttts.decoding import grammar_limits as limits
from fasttts.decoding.grammar_limits import check, shortened
from fasttts.decoding.json_checks import check_json
from fasttts.decoding.reference_graph import longest_chain, sizes_written_out
from fasttts.decoding.regex_checks import check_regex
from fasttts.decoding.schema_ends import check_ends

_LIMITS: Mapping[str, int] = {
    "minItems": limits.MAX_ITEMS,
    "maxItems": limits.MAX_ITEMS,
    "minProperties": limits.MAX_ITEMS,
    "maxProperties": limits.MAX_ITEMS,
    "minLength": limits.MAX_LENGTH,
    "maxLength": limits.MAX_LENGTH,
    "minimum": limits.MAX_NUMBER,
    "maximum": limits.MAX_NUMBER,
    "exclusiveMinimum": limits.MAX_NUMBER,
    "exclusiveMaximum": limits.MAX_NUMBER,
    "multipleOf": limits.MAX_NUMBER,
}
"""Keys whose values are numbers, and their magnitudes."""

_TEXTS = ("pattern", "format", "$ref")
_MAPS: Mapping[str, int] = {
    "properties": limits.MAX_PROPERTIES,
    "patternProperties": limits.MAX_PATTERN_PROPERTIES,
    "$defs": limits.MAX_DEFINITIONS,
    "definitions": limits.MAX_DEFINITIONS,
    "dependentSchemas": limits.MAX_PROPERTIES,
}
"""Keys whose values map names to schemas."""

VALUES = ("const", "default", "enum", "examples")
"""Keys of a schema whose values are no schemas."""

_COMBINING = ("$ref", "anyOf", "oneOf", "allOf")
_ANNOTATIONS = (
    *("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"),
    *("$comment", "$schema", "$id", "$defs", "definitions", "discriminator", "x-guidance"),
)
"""Keys beside which a reference stays a reference."""


def check_schemas(*schemas: object) -> None:
    """Checks schemas that are parts of one grammar.

    Args:
        schemas: JSON schemas, as dictionaries.

    Raises:
        ValueError: One is no object, a part of them is beyond its limit, or no answer to a part
            ever ends.
    """
    counts = _Counts()
    documents = []
    for schema in schemas:
        if not isinstance(schema, Mapping):
            raise ValueError("a JSON schema is an object")
        check_json(schema)
        documents.append(_Schema(schema, counts))
        documents[-1].check()
    counts.check()
    for document in documents:
        document.check_ends()


class _Counts:
    """The counts of all schemas of a grammar."""

    def __init__(self) -> None:
        self.size = self.num_pattern_properties = self.num_definitions = 0
        self.multiples: set[Decimal] = set()
        self.combined_multiples: set[Decimal] = set()
        self.combined_patterns: set[str] = set()

    def check(self) -> None:
        """Checks them against their limits."""
        check("number of schemas and items", self.size, limits.MAX_SCHEMA_SIZE)
        check("number of definitions", self.num_definitions, limits.MAX_DEFINITIONS)
        num_properties = self.num_pattern_properties
        check("number of patternProperties", num_properties, limits.MAX_PATTERN_PROPERTIES)
        total = sum(abs(_coefficient(number, _exponent(number))) for number in self.multiples)
        check("sum of multipleOf", total, limits.MAX_MULTIPLE)
        exponent = min(map(_exponent, self.combined_multiples), default=0)
        common = math.lcm(*(_coefficient(number, exponent) for number in self.combined_multiples))
        check("common multiple of combined multipleOf", common, limits.MAX_MULTIPLE)
        num_patterns = len(self.combined_patterns)
        check("number of combined patterns", num_patterns, limits.MAX_COMBINED_PATTERNS)


def _exponent(number: Decimal) -> int:
    """The place of the last decimal; 0 for a whole number."""
    return min(0, int(number.as_tuple().exponent))


def _coefficient(number: Decimal, exponent: int) -> int:
    return int(number.scaleb(-exponent))


class _Schema:
    """The schemas in a document as a graph; a node is the identity of its dictionary.

    Args:
        root: The document.
        counts: Receives what it has.
    """

    def __init__(self, root: Mapping[str, Any], counts: _Counts) -> None:
        self._root = root
        self._counts = counts
        self._graph: dict[int, list[int]] = {}
        self._sizes: dict[int, int] = {}
        self._depths: dict[int, int] = {}
        self._waiting: list[tuple[Mapping[str, Any], int]] = [(root, 1)]
        self._combining: set[int] = set()
        self._patterns: dict[int, set[str]] = {}
        self._multiples: dict[int, Decimal] = {}

    def check(self) -> None:
        """Checks every schema of the document, then their sizes together."""
        while self._waiting:
            schema, depth = self._waiting.pop()
            if id(schema) not in self._graph:
                self._read(schema, depth)
        check(
            "nesting depth through references",
            longest_chain(self._graph, self._depths),
            limits.MAX_SCHEMA_CHAIN,
        )
        counts = self._counts
        counts.size += self._size()
        counts.multiples.update(self._multiples.values())
        for node in _reached(self._combining, self._graph):
            counts.combined_patterns |= self._patterns[node]
            if node in self._multiples:
                counts.combined_multiples.add(self._multiples[node])

    def _size(self) -> int:
        """The schemas that llguidance makes: references count as written out where combined."""
        written = sizes_written_out(self._graph, self._sizes)
        outside = {n: [] if n in self._combining else parts for n, parts in self._graph.items()}
        nodes = _reached([id(self._root)], outside)
        return sum((written if n in self._combining else self._sizes)[n] for n in nodes)

    def _read(self, schema: Mapping[str, Any], depth: int) -> None:
        """Adds a schema, and its references, to the graph."""
        node = id(schema)
        _check_keywords(schema)
        self._count(schema)
        items = [int(schema.get(key, 0)) for key in ("minItems", "maxItems")]
        self._sizes[node] = 1 + max(0, *items)
        self._depths[node] = depth
        following = list(_parts(schema))
        if "$ref" in schema:
            # Where it is unclear what is named, it is the whole document for the counts.
            following.append((self._target(schema["$ref"]) or self._root, 1))
        self._graph[node] = [id(part) for part, _ in following]
        self._waiting += following
        if _is_combining(schema):
            self._combining.add(node)

    def _count(self, schema: Mapping[str, Any]) -> None:
        counts, node = self._counts, id(schema)
        counts.num_pattern_properties += len(schema.get("patternProperties", ()))
        counts.num_definitions += len(schema.get("$defs", ())) + len(schema.get("definitions", ()))
        self._patterns[node] = {schema[key] for key in ("pattern", "format") if key in schema}
        if "multipleOf" in schema:
            self._multiples[node] = Decimal(str(schema["multipleOf"])).normalize()

    def check_ends(self) -> None:
        """Checks that answers can end."""
        check_ends(self._root, self._target)

    def _target(self, reference: str) -> Mapping[str, Any] | None:
        """The schema that a reference names; None where that is unclear."""
        found: Any = self._root
        start, *names = unquote(reference).split("/")
        if start != "#":
            return None
        for name in names:
            key = name.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and key.isdecimal():
                found = found[int(key)] if len(key) < 7 and int(key) < len(found) else None
            else:
                found = found.get(key) if isinstance(found, Mapping) else None
        return found if isinstance(found, Mapping) else None


def _reached(starts: Iterable[int], graph: Mapping[int, Sequence[int]]) -> set[int]:
    """Lists nodes with all that they refer to."""
    reached, waiting = set[int](), list(starts)
    while waiting:
        node = waiting.pop()
        if node not in reached:
            reached.add(node)
            waiting += graph[node]
    return reached


def _parts(schema: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], int]]:
    """The schemas directly in a schema, each with the levels of JSON to it."""
    for key, value in schema.items():
        if key in VALUES:
            continue
        if key in _MAPS:
            yield from ((part, 2) for part in value.values() if isinstance(part, Mapping))
        elif isinstance(value, Mapping):
            yield value, 1
        elif isinstance(value, list | tuple):
            yield from ((part, 2) for part in value if isinstance(part, Mapping))


def _is_combining(schema: Mapping[str, Any]) -> bool:
    """Whether llguidance computes a new schema from this and others."""
    if not any(key in schema for key in _COMBINING):
        return False
    parts = schema.get("allOf")
    is_several = isinstance(parts, list | tuple) and len(parts) > 1
    return is_several or sum(key not in _ANNOTATIONS for key in schema) > 1


def _check_keywords(schema: Mapping[str, Any]) -> None:
    for key, value in schema.items():
        if key in _LIMITS:
            _check_number(key, value, _LIMITS[key])
        elif key in _TEXTS and not isinstance(value, str):
            raise ValueError(f"{key}={shortened(value)} is no text")
        elif key in _MAPS and not isinstance(value, Mapping):
            raise ValueError(f"{key}={shortened(value)} is no object")
        elif key in _MAPS:
            check(f"number of {key}", len(value), _MAPS[key])
    for regex in (*schema.get("patternProperties", ()), schema.get("pattern", "")):
        _check_pattern(regex)
    _check_literals(schema)


def _check_number(key: str, value: object, limit: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{key}={shortened(value)} is no number")
    check(key, abs(value), limit)


def _check_pattern(regex: str) -> None:
    try:
        check_regex(regex)
    except ValueError as error:
        raise ValueError(f"pattern={shortened(regex)}: {error}") from error


def _check_literals(schema: Mapping[str, Any]) -> None:
    values = schema.get("enum", ())
    if not isinstance(values, list | tuple):
        raise ValueError(f"enum={shortened(values)} is no list")
    check("number of enum values", len(values), limits.MAX_ENUM)
    for key, literals in (("enum", values), ("const", (schema.get("const"),))):
        longest = max((len(json.dumps(literal)) for literal in literals), default=0)
        check(f"length of {key}", longest, limits.MAX_LITERAL_CHARS)
