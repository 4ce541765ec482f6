"""`chat_template_kwargs`: variables that a chat template knows as switches."""

import functools
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

RESERVED = frozenset(
    {
        "add_generation_prompt",
        "chat_template",
        "continue_final_message",
        "conversation",
        "documents",
        "max_length",
        "messages",
        "padding",
        "return_assistant_tokens_mask",
        "return_dict",
        "return_tensors",
        "tokenize",
        "tokenizer_kwargs",
        "tools",
        "truncation",
    }
)
"""Names of the arguments that rendering itself takes."""

_FUNCTIONS = frozenset({"raise_exception", "strftime_now"})
"""Names that transformers defines for every template."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_WORD = re.compile(r"[\w .+-]{0,200}")
_MOST_SWITCHES = 32
_LARGEST = 1 << 63


def _check_switches(switches: dict[str, Any]) -> dict[str, Any]:
    if len(switches) > _MOST_SWITCHES:
        raise ValueError(f"{len(switches)} switches: {_MOST_SWITCHES} at most")
    for name, value in switches.items():
        if not _NAME.fullmatch(name) or name in RESERVED or name.endswith("_token"):
            raise ValueError(f"{name[:80]!r} is no switch of a chat template: leave it out")
        if not _is_switch(value):
            raise ValueError(
                f"{name} is no switch: give true, false, null, a number below 2**63, or a text "
                "of at most 200 letters, digits, spaces and . _ + -"
            )
    return switches


def _is_switch(value: object) -> bool:
    """Whether a value cannot spell a control token, as contents could, and has a JSON form."""
    if isinstance(value, str):
        return _WORD.fullmatch(value) is not None
    if isinstance(value, int | float):
        return abs(value) < _LARGEST  # which NaN is not
    return value is None


TemplateSwitches = Annotated[dict[str, Any], AfterValidator(_check_switches)]
"""Names of a chat template's variables, and what they are set to."""


def unknown_switch(switches: Mapping[str, Any], template: str) -> str | None:
    """The first switch that a template does not read; None where it reads all of them.

    Args:
        switches: The switches.
        template: Its source. One that is no template has every switch: rendering tells what is
            wrong with it.
    """
    known = _variables(template) if switches else None
    return next((name for name in switches if known is not None and name not in known), None)


@functools.lru_cache(maxsize=16)
def _variables(template: str) -> frozenset[str] | None:
    """The variables that a template reads, functions excepted; None of one that is no template."""
    from jinja2 import Environment, TemplateSyntaxError, meta, nodes
    from jinja2.ext import Extension
    from jinja2.parser import Parser

    class Generation(Extension):
        """The statement that transformers adds to Jinja, around what the assistant writes."""

        tags = {"generation"}  # noqa: RUF012, as Jinja declares it

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    environment = Environment(extensions=["jinja2.ext.loopcontrols", Generation])
    try:
        found = meta.find_undeclared_variables(environment.parse(template))
    except TemplateSyntaxError:
        return None
    return frozenset(found).difference(environment.globals, _FUNCTIONS)
