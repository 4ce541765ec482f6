"""Lark grammars of users, checked before llguidance reads them.

The tokens are llguidance's. A text that has others is refused here, as it would be there.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from fasttts.decoding import grammar_limits as limits
from fasttts.decoding.grammar_limits import check
from fasttts.decoding.json_checks import check_text, json_end
from fasttts.decoding.reference_graph import longest_chain, sizes_written_out
from fasttts.decoding.regex_checks import check_regex, number
from fasttts.decoding.schema_checks import check_schemas

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t]+|(?:\#|//)[^\n]*)
    |(?P<newline>(?:\r?\n)+)
    |(?P<text>"(?:[^"\\\n]|\\.)*+"i?)
    |/(?P<regex>(?:[^/\\]|\\.)++)/(?P<flags>[imslux]*)
    |(?P<json>%(?:json|regex|llguidance)\b)
    |(?P<name>!?[_?]*[A-Za-z][\w-]*)
    |(?P<number>[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)
    |(?P<special><[^<>\s]+>|@[\w{}-]+|%[a-z]+|->|\.\.?)
    |(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<bar>\|)|(?P<colon>:)
    |(?P<other>[+*?~&,=])
    """,
    re.VERBOSE | re.ASCII,
)


def check_lark(grammar: str) -> None:
    """Checks the size of a grammar, the nesting of its rules, and the schemas inside them.

    Args:
        grammar: The text.

    Raises:
        ValueError: A part is beyond its limit, or the text is no Lark.
    """
    check_text(grammar)
    check("number of characters", len(grammar), limits.MAX_CHARS)
    rules = _Rules()
    schemas: list[Any] = []
    for kind, text in _tokens(grammar):
        if kind == "json":
            name, _, written = text.partition("\0")
            if name == "%json":
                schemas.append(_read(written))
        else:
            rules.read(kind, text)
    rules.check()
    check_schemas(*schemas)


def _tokens(grammar: str) -> Iterator[tuple[str, str]]:
    """Yields kind and text of each token; JSON with what stands before it and a zero between."""
    position = 0
    while position < len(grammar):
        found = _TOKEN.match(grammar, position)
        if found is None:
            line = grammar.count("\n", 0, position) + 1
            raise ValueError(f"line {line} of the grammar cannot be read")
        kind, position = str(found.lastgroup), found.end()
        if kind == "json":
            end = json_end(grammar, position)
            yield kind, f"{found[0]}\0{grammar[position:end]}"
            position = end
        elif kind == "flags":
            if "x" in found["flags"]:
                raise ValueError("the flag x, which allows comments, is not supported")
            check_regex(found["regex"])
        elif kind != "space":
            yield kind, found[0]


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"%json is followed by no JSON: {error}") from error


class _Rules:
    """The rules and terminals of a grammar, and the names in each."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {"": []}
        self._depths: dict[str, int] = {"": 0}
        self._sizes: dict[str, int] = {"": 0}
        self._intersections: dict[str, int] = {"": 0}
        self._rule = self._last = ""
        self._line: list[str] = []
        """Names since the last line break: those before a colon are no references."""
        self._depth = self._num_alternatives = 0

    def read(self, kind: str, text: str) -> None:
        """Reads the next token.

        Args:
            kind: Its kind.
            text: Its text.
        """
        if kind == "colon":
            self._begin()
        elif kind == "newline":
            self._end_line()
        elif kind == "name":
            self._line.append(text.lstrip("!?"))
        elif kind == "bar":
            self._num_alternatives += 1
            check(f"alternatives of {self._rule}", self._num_alternatives, limits.MAX_ALTERNATIVES)
        elif kind == "number" and self._last in ("~", "{", ",", ".."):
            digits = text.lstrip("+-").partition(".")[0].partition("e")[0]
            check("repetition count", number(digits), limits.MAX_REPEATS)
        elif kind == "text":
            check("length of a text", len(text), limits.MAX_LITERAL_CHARS)
        self._depth += (kind == "open") - (kind == "close")
        self._depths[self._rule] = max(self._depths[self._rule], 1 + self._depth)
        self._sizes[self._rule] += 1
        self._intersections[self._rule] += text == "&"
        self._last = text

    def _begin(self) -> None:
        """Begins the rule whose name, and its attributes, are the line so far."""
        self._rule = self._line[0] if self._line else ""
        self._line.clear()
        self._depth, self._num_alternatives = 0, 1
        for counts in (self._depths, self._sizes, self._intersections):
            counts.setdefault(self._rule, 0)
        self._names.setdefault(self._rule, [])
        check("number of rules", len(self._names) - 1, limits.MAX_RULES)

    def _end_line(self) -> None:
        self._names[self._rule] += self._line
        self._line.clear()

    def check(self) -> None:
        """Checks what only the whole grammar shows."""
        self._end_line()
        graph = {
            rule: [name for name in names if name in self._names]
            for rule, names in self._names.items()
        }
        chain = longest_chain(graph, self._depths)
        check("chain of rules and groups", chain, limits.MAX_RULE_CHAIN)
        terminals = {rule for rule in graph if rule.strip("_").isupper()}
        graph = {rule: [n for n in names if n in terminals] for rule, names in graph.items()}
        sizes = sizes_written_out(graph, self._sizes)
        size = max((sizes[terminal] for terminal in terminals), default=0)
        check("size of a terminal written out", size, limits.MAX_REGEX_SIZE)
        written = sizes_written_out(graph, self._intersections)
        intersecting = [rule for rule in graph if rule in terminals or self._intersections[rule]]
        num_intersections = max((written[rule] for rule in intersecting), default=0)
        check("number of intersections", num_intersections, limits.MAX_COMBINED_PATTERNS)
