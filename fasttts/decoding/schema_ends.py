"""JSON schemas that no text follows, or none of a length that is ever decoded.

Each value needs another of the same schema, or so many others that their number is beyond any
context, as where thirty definitions in a row hold two of the next. llguidance takes them and finds
out while an answer is decoded, so they are looked for before. Where it is unclear what a schema
means, it counts as one with a short end: what llguidance can follow is never refused. All functions
are iterative.

Source: the cheapest derivations of D. Knuth, A generalization of Dijkstra's algorithm, 1977.
"""

import collections
import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Flag, auto
from typing import Any, NamedTuple

from fasttts.decoding.grammar_limits import MAX_SHORTEST_ANSWER, shortened
from fasttts.decoding.reference_graph import components

Schema = Mapping[str, Any]
Resolve = Callable[[str], Schema | None]
"""The schema that a reference names; None where that is unclear."""


class _Kinds(Flag):
    """The kinds of values that a schema is asked about."""

    OBJECT = auto()
    ARRAY = auto()
    SCALAR = auto()


_ALL = _Kinds.OBJECT | _Kinds.ARRAY | _Kinds.SCALAR
_COMPOUND = _Kinds.OBJECT | _Kinds.ARRAY
_INNER = (
    (_Kinds.OBJECT, "properties"),
    (_Kinds.OBJECT, "patternProperties"),
    (_Kinds.OBJECT, "additionalProperties"),
    (_Kinds.ARRAY, "prefixItems"),
    (_Kinds.ARRAY, "items"),
    (_Kinds.ARRAY, "additionalItems"),
)
"""The keys of the schemas of properties and items, each with the kind that has them."""
_KIND = {"object": _Kinds.OBJECT, "array": _Kinds.ARRAY}


class _State(NamedTuple):
    """A schema, by the identity of its dictionary, for values of some kinds."""

    node: int
    kinds: _Kinds


class _Need(NamedTuple):
    """Values that a value of a schema comes with.

    Attributes:
        options: The schemas of which they follow one.
        part: The property or item that they are; empty for the value itself.
        times: How many of them there are at least.
    """

    options: "list[_Part]"
    part: str = ""
    times: int = 1


class _Part(NamedTuple):
    """A schema that another one refers to.

    Attributes:
        schema: It.
        kinds: The kinds of values that are left for it.
        path: Where it stands, for messages.
    """

    schema: Schema
    kinds: _Kinds
    path: str


def check_ends(root: Schema, resolve: Resolve) -> None:
    """Checks that each schema which an answer may reach has a value of a length that is decoded.

    Args:
        root: The document, within the limits of `schema_checks`.
        resolve: Finds what its references name.

    Raises:
        ValueError: One has none, or none so short; the message says where it stands.
    """
    _Ends(resolve).check(root)


class _Ends:
    """The shortest values of a document's schemas: the least solution of what each needs."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._needs: dict[_State, list[_Need]] = {}
        self._own: dict[_State, int] = {}
        """Fewest characters of a value without its parts."""
        self._paths: dict[_State, str] = {}
        """Of the states that are whole schemas."""

    def check(self, root: Schema) -> None:
        waiting = [_Part(root, _ALL, "#")]
        while waiting:
            part = waiting.pop()
            state = _State(id(part.schema), part.kinds)
            self._paths.setdefault(state, part.path)
            if state not in self._needs:
                waiting += self._read(part, state)
        lengths = self._lengths()
        graph = {state: list(map(_state, _options(needs))) for state, needs in self._needs.items()}
        for state in itertools.chain.from_iterable(components(graph)):
            if (path := self._paths.get(state)) is None:
                continue
            if state not in lengths:
                raise ValueError(
                    f"no answer to the schema at {shortened(path)} ever ends, since each needs "
                    "another in it: make a property optional, or allow null or an empty array there"
                )
            if lengths[state] > MAX_SHORTEST_ANSWER:
                raise ValueError(
                    f"the shortest answer to the schema at {shortened(path)} has more than "
                    f"{MAX_SHORTEST_ANSWER:,} characters: lower minItems or minLength in it, or "
                    "make properties optional"
                )

    def _read(self, part: _Part, state: _State) -> Iterator[_Part]:
        """Notes the needs of a schema; yields all that an answer may reach from it."""
        conjuncts = list(self._conjuncts(part.schema))
        kinds = part.kinds
        for schema in conjuncts:
            kinds &= _kinds(schema)
        needs = self._needs[state] = []
        self._own[state] = 1
        if not kinds or "const" in part.schema or "enum" in part.schema:
            return  # one value, or none, which llguidance sees itself
        if kinds == _COMPOUND:
            split = [part._replace(kinds=_Kinds.OBJECT), part._replace(kinds=_Kinds.ARRAY)]
            needs.append(_Need(split))
            for each in split:
                self._own.setdefault(_state(each), 1)
                self._needs.setdefault(_state(each), self._parts(each, each.kinds, conjuncts))
        else:
            self._own[state] += _fewest_characters(part.schema, kinds)
            needs += self._parts(part, kinds, conjuncts)
        yield from _options(self._combined(part, kinds))
        yield from _values(part, kinds)

    def _parts(self, part: _Part, kinds: _Kinds, conjuncts: Sequence[Schema]) -> list[_Need]:
        """Needs of the values of one kind."""
        found = [*self._combined(part, kinds)]
        if kinds == _Kinds.OBJECT:
            found += _required(conjuncts)
            found += _fewest(part.schema)
        elif kinds == _Kinds.ARRAY:
            found += _first_items(part.schema)
        return found

    def _combined(self, part: _Part, kinds: _Kinds) -> Iterator[_Need]:
        """Needs of a value itself: the schemas that it follows as well, or one of which."""
        schema, path = part.schema, part.path
        reference = schema.get("$ref")
        if isinstance(reference, str) and (target := self._resolve(reference)) is not None:
            yield _Need([_Part(target, kinds, reference)])
        for number, each in _schemas(schema.get("allOf")):
            yield _Need([_Part(each, kinds, f"{path}/allOf/{number}")])
        for key in ("anyOf", "oneOf"):
            options = schema.get(key)
            found = [_Part(each, kinds, f"{path}/{key}/{n}") for n, each in _schemas(options)]
            if found and isinstance(options, list | tuple) and True not in options:
                yield _Need(found)

    def _conjuncts(self, schema: Schema) -> Iterator[Schema]:
        """The schema, and all that each of its values follows too."""
        seen: set[int] = set()
        waiting = [schema]
        while waiting:
            found = waiting.pop()
            if id(found) in seen:
                continue
            seen.add(id(found))
            yield found
            waiting += (each for _, each in _schemas(found.get("allOf")))
            reference = found.get("$ref")
            if isinstance(reference, str) and (target := self._resolve(reference)) is not None:
                waiting.append(target)

    def _lengths(self) -> dict[_State, int]:
        """Fewest characters, or less, of the schemas that have an end; short ones come first."""
        users: dict[_State, list[tuple[_State, int]]] = collections.defaultdict(list)
        for state, needs in self._needs.items():
            for number, need in enumerate(needs):
                for each in need.options:
                    users[_state(each)].append((state, number))
        lengths: dict[_State, int] = {}
        met: dict[_State, dict[int, int]] = {state: {} for state in self._needs}
        ended = [state for state, needs in self._needs.items() if not needs]
        waiting = [(self._own[state], number, state) for number, state in enumerate(ended)]
        heapq.heapify(waiting)
        numbers = itertools.count(len(ended))
        while waiting:
            length, _, state = heapq.heappop(waiting)
            lengths[state] = length
            for user, number in users[state]:
                if number in met[user]:
                    continue
                met[user][number] = length
                if len(met[user]) == len(self._needs[user]):
                    found = self._length(user, met[user])
                    heapq.heappush(waiting, (found, next(numbers), user))
        return lengths

    def _length(self, state: _State, met: Mapping[int, int]) -> int:
        """Fewest characters of a value, given those of the shortest option of each need."""
        parts: dict[str, int] = {}
        for number, need in enumerate(self._needs[state]):
            parts[need.part] = max(parts.get(need.part, 0), need.times * met[number])
        whole = parts.pop("", 0)
        return min(max(whole, self._own[state] + sum(parts.values())), MAX_SHORTEST_ANSWER + 1)


def _state(part: _Part) -> _State:
    return _State(id(part.schema), part.kinds)


def _options(needs: Iterable[_Need]) -> Iterator[_Part]:
    return (part for need in needs for part in need.options)


def _fewest_characters(schema: Schema, kinds: _Kinds) -> int:
    """Characters that a text must have."""
    is_text = kinds == _Kinds.SCALAR and schema.get("type") == "string"
    return int(schema.get("minLength", 0)) if is_text else 0


def _kinds(schema: Schema) -> _Kinds:
    """The kinds of values that a schema's type allows."""
    named = schema.get("type")
    if isinstance(named, str):
        return _KIND.get(named, _Kinds.SCALAR)
    if not isinstance(named, list | tuple):
        return _ALL
    kinds = _Kinds(0)
    for name in named:
        kinds |= _KIND.get(name, _Kinds.SCALAR) if isinstance(name, str) else _ALL
    return kinds


def _schemas(value: object) -> Iterator[tuple[int, Schema]]:
    """The schemas of a list that are objects, with their positions."""
    if isinstance(value, list | tuple):
        yield from ((n, each) for n, each in enumerate(value) if isinstance(each, Mapping))


def _values(part: _Part, kinds: _Kinds) -> Iterator[_Part]:
    """The schemas of a value's properties and items, needed or not."""
    for kind, key in _INNER:
        value = part.schema.get(key) if kinds & kind else None
        if key in ("properties", "patternProperties") and value is not None:
            found = [(f"/{name}", each) for name, each in value.items()]
        elif isinstance(value, list | tuple):
            found = [(f"/{number}", each) for number, each in enumerate(value)]
        else:
            found = [("", value)]
        for name, each in found:
            if isinstance(each, Mapping):
                yield _Part(each, _ALL, f"{part.path}/{key}{name}")


def _required(conjuncts: Iterable[Schema]) -> Iterator[_Need]:
    """The properties that an object must have."""
    objects = list(conjuncts)
    lists = [each["required"] for each in objects if isinstance(each.get("required"), list | tuple)]
    names = {name for found in lists for name in found if isinstance(name, str)}
    for schema in objects:
        properties = schema.get("properties", {})
        others = schema.get("additionalProperties")
        for name in names:
            found = properties.get(name, others if "patternProperties" not in schema else None)
            if isinstance(found, Mapping):
                yield _Need([_Part(found, _ALL, "")], f"property {name}")


def _fewest(schema: Schema) -> Iterator[_Need]:
    """The properties of which an object must have at least one, which it may have to anyway."""
    if not schema.get("minProperties"):
        return
    found = [*schema.get("properties", {}).values(), *schema.get("patternProperties", {}).values()]
    found.append(schema.get("additionalProperties", "properties" not in schema))
    parts = [_Part(each, _ALL, "") for each in found if isinstance(each, Mapping)]
    if parts and True not in found:
        yield _Need(parts)


def _first_items(schema: Schema) -> Iterator[_Need]:
    """The items that an array must have."""
    fewest = int(schema.get("minItems", 0))
    first = schema.get("prefixItems", schema.get("items"))
    first = first if isinstance(first, list | tuple) else ()
    key = "items" if isinstance(schema.get("items"), Mapping) else "additionalItems"
    for number, each in enumerate(first[:fewest]):
        if isinstance(each, Mapping):
            yield _Need([_Part(each, _ALL, "")], f"item {number}")
    others, num_others = schema.get(key), fewest - len(first)
    if num_others > 0 and isinstance(others, Mapping):
        yield _Need([_Part(others, _ALL, "")], "items", num_others)
