"""Formats that answers must follow: JSON of a schema, a pattern, choices, a grammar.

The option names are vLLM's. A grammar is one of llguidance
(https://github.com/guidance-ai/llguidance), which vLLM uses too; the backends mask each token by
it, so that every candidate of a search follows it.
"""

import functools
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from fasttts.decoding.grammar_failures import first_problem
from fasttts.decoding.grammar_limits import (
    MAX_CHARS,
    MAX_CHOICES,
    MAX_LITERAL_CHARS,
    check,
    parser_limits,
)
from fasttts.decoding.json_checks import check_json, check_text, read_json
from fasttts.decoding.lark_checks import check_lark
from fasttts.decoding.regex_checks import check_regex, for_lark
from fasttts.decoding.schema_checks import VALUES, check_schemas

Thoughts = Literal["none", "possible", "open"]
"""Whether an answer begins with thoughts: never; optionally; the prompt opens them."""

THINK_START, THINK_END = "<think>", "</think>"

_FORMAT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""JSON as `json.dumps` writes it, which is how chat templates show it to models."""

_PARTIAL = ("allOf", "else", "if", "not", "then")
"""Keys of a schema whose values describe a part of an object."""


def _as_text(schema: object) -> object:
    if not isinstance(schema, Mapping):
        return schema
    check_json(dict(schema))
    return json.dumps(dict(schema), ensure_ascii=False)


def _checked_schema(text: str) -> str:
    check_schemas(read_json(text))
    return text


def _checked_regex(regex: str) -> str:
    check_regex(regex)
    return regex


def _checked_choice(texts: tuple[str, ...]) -> tuple[str, ...]:
    if not texts:
        raise ValueError("there is nothing to choose from")
    check("number of choices", len(texts), MAX_CHOICES)
    check("length of a choice", max(map(len, texts)), MAX_LITERAL_CHARS)
    check("number of characters", sum(map(len, texts)), MAX_CHARS)
    for text in texts:
        check_text(text)
    return texts


def _checked_grammar(grammar: str) -> str:
    check_lark(grammar)
    return grammar


_Schema = Annotated[str, AfterValidator(_checked_schema)]


# Errors leave the input out: written in full, one whose parts are shared may have no end.
_CONFIG = ConfigDict(extra="forbid", hide_input_in_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True, config=_CONFIG)
class StructuredOutputs:
    """The format that an answer must follow; exactly one attribute is set.

    Attributes:
        json: A JSON schema. Its objects have no properties beyond those it names, unless it says
            so.
        regex: A regular expression that the whole answer matches.
        choice: The possible answers.
        grammar: A grammar in llguidance's form of Lark.
        json_object: Any JSON object.
    """

    json: Annotated[_Schema | None, BeforeValidator(_as_text)] = None
    regex: Annotated[str, AfterValidator(_checked_regex)] | None = None
    choice: Annotated[tuple[str, ...], AfterValidator(_checked_choice)] | None = None
    grammar: Annotated[str, AfterValidator(_checked_grammar)] | None = None
    json_object: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Rejects formats that no backend can follow, before anything is decoded."""
        named = (self.json, self.regex, self.choice, self.grammar, self.json_object or None)
        if sum(option is not None for option in named) != 1:
            raise ValueError("set exactly one of json, regex, choice, grammar and json_object")
        if problem := _problem(self.decoding_grammar()):
            raise ValueError(f"this cannot be followed: {problem}")
        return self

    @property
    def is_json(self) -> bool:
        """Whether every answer is JSON."""
        return self.json is not None or self.json_object

    def decoding_grammar(self, thoughts: Thoughts = "none") -> str:
        """Returns llguidance's grammar of a whole answer, thoughts included.

        Args:
            thoughts: Whether the answer begins with thoughts.

        Raises:
            ValueError: The schema is no JSON object.
        """
        answer = {"name": "answer", **self._grammar()}
        return json.dumps({"grammars": [{"lark_grammar": _MAIN[thoughts]}, answer]})

    def _grammar(self) -> dict[str, Any]:
        if self.json is not None:
            return {"json_schema": _with_format(json.loads(self.json))}
        if self.regex is not None:
            return {"lark_grammar": f"start: {for_lark(self.regex)}"}
        if self.choice is not None:
            texts = (json.dumps(text, ensure_ascii=False) for text in self.choice)
            return {"lark_grammar": "start: " + " | ".join(texts)}
        if self.grammar is not None:
            return {"lark_grammar": self.grammar}
        return {"json_schema": _with_format({"type": "object", "additionalProperties": True})}


@functools.lru_cache(maxsize=64)
def _problem(grammar: str) -> str:
    """What llguidance finds wrong with a checked grammar; empty where an answer can begin."""
    from llguidance import LLMatcher, LLTokenizer

    matcher = LLMatcher(LLTokenizer("byte"), grammar, log_level=0, limits=parser_limits())
    if matcher.is_error():  # also where it names tokens, which are known with the model
        return LLMatcher.validate_grammar(grammar, limits=parser_limits())
    return first_problem(matcher)


def inline_json(schema: Mapping[str, Any]) -> str:
    """Writes JSON of a schema as a part of a Lark rule.

    Raises:
        ValueError: The schema is beyond a limit of `grammar_limits`.
    """
    check_schemas(schema)
    return "%json " + json.dumps(_with_format(schema), ensure_ascii=False)


_THOUGHTS = "thoughts[lazy]: /(.|\\n)*<\\/think>/\nrest: /[ \\n]{0,4}/ @answer\n"
_MAIN: Mapping[Thoughts, str] = {
    "none": "start: @answer\n",
    "possible": 'start: @answer | "<think>" thoughts rest\n' + _THOUGHTS,
    "open": "start: thoughts rest\n" + _THOUGHTS,
}


def _with_format(schema: object) -> dict[str, Any]:
    if not isinstance(schema, Mapping):
        raise ValueError("a JSON schema is an object")
    return {"x-guidance": _FORMAT, **_closed(schema)}


def _closed(schema: Any) -> Any:
    """The schema with objects that have the named properties only, unless they say otherwise."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    kept = (*VALUES, *_PARTIAL)
    closed = {key: v if key in kept else _closed(v) for key, v in schema.items()}
    is_whole = not any(key in schema for key in _PARTIAL)
    if is_whole and isinstance(schema.get("properties"), Mapping):
        closed.setdefault("additionalProperties", False)
    return closed
