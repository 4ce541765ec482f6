"""Formats that answers must follow: JSON of a schema, a pattern, choices, a grammar.

The option names are vLLM's. A grammar is one of llguidance
(https://github.com/guidance-ai/llguidance), which vLLM uses too; the backends mask each token by
it, so that every candidate of a search follows it.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, model_validator
from pydantic.dataclasses import dataclass

Thoughts = Literal["none", "possible", "open"]
"""Whether an answer begins with thoughts: never; optionally; the prompt opens them."""

THINK_START, THINK_END = "<think>", "</think>"

_FORMAT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""JSON as `json.dumps` writes it, which is how chat templates show it to models."""

_VALUES = ("const", "default", "enum", "examples")
"""Keys of a schema whose values are no schemas."""

_PARTIAL = ("allOf", "else", "if", "not", "then")
"""Keys of a schema whose values describe a part of an object."""


def _as_text(schema: object) -> object:
    return json.dumps(schema, ensure_ascii=False) if isinstance(schema, Mapping) else schema


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
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

    json: Annotated[str | None, BeforeValidator(_as_text)] = None
    regex: str | None = None
    choice: tuple[str, ...] | None = None
    grammar: str | None = None
    json_object: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Rejects formats that no backend can follow, before anything is decoded."""
        named = (self.json, self.regex, self.choice, self.grammar, self.json_object or None)
        if sum(option is not None for option in named) != 1:
            raise ValueError("set exactly one of json, regex, choice, grammar and json_object")
        from llguidance import LLMatcher

        if problem := LLMatcher.validate_grammar(self.decoding_grammar()):
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
            return {"lark_grammar": "start: /" + self.regex.replace("/", r"\/") + "/"}
        if self.choice is not None:
            texts = (json.dumps(text, ensure_ascii=False) for text in self.choice)
            return {"lark_grammar": "start: " + " | ".join(texts)}
        if self.grammar is not None:
            return {"lark_grammar": self.grammar}
        return {"json_schema": _with_format({"type": "object", "additionalProperties": True})}


def inline_json(schema: Mapping[str, Any]) -> str:
    """Writes JSON of a schema as a part of a Lark rule."""
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
    kept = (*_VALUES, *_PARTIAL)
    closed = {key: v if key in kept else _closed(v) for key, v in schema.items()}
    is_whole = not any(key in schema for key in _PARTIAL)
    if is_whole and isinstance(schema.get("properties"), Mapping):
        closed.setdefault("additionalProperties", False)
    return closed
