"""What structured outputs may hold, so that no text can exhaust llguidance's stack or memory.

llguidance is native code: a stack overflow or a failed allocation in it ends the process. Each
limit is far below what kills it, and compiling what is within them takes at most about a second;
`docs/structured-outputs.md` has the measurements. The checks are iterative and linear in the text.
"""

import functools
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from llguidance import LLParserLimits

MAX_CHARS: Final = 100_000
"""Length of a schema, of a grammar, and of all choices together."""
MAX_DEPTH: Final = 100
"""Nesting of JSON; the JSON reader of llguidance stops at 128."""
MAX_VALUES: Final = 100_000
"""Values of a JSON document, counted where they are shared too."""
MAX_NUMBER: Final = 10**18
"""Magnitude of the numbers of a schema."""

MAX_ITEMS: Final = 1_000
"""`minItems`, `maxItems`, `minProperties`, `maxProperties`; each item is a rule of the grammar."""
MAX_LENGTH: Final = 100_000
"""`minLength` and `maxLength`."""
MAX_PROPERTIES: Final = 500
"""Properties of an object. Four parser items each, of 2,000 in a row."""
MAX_PATTERN_PROPERTIES: Final = 20
"""`patternProperties` of a schema; each is intersected with every other, and every property."""
MAX_DEFINITIONS: Final = 500
"""Entries of `$defs` and `definitions` together."""
MAX_ENUM: Final = 10_000
"""Values of an `enum`."""
MAX_LITERAL_CHARS: Final = 20_000
"""JSON length of a `const`, and of one value of an `enum`; length of one choice."""
MAX_MULTIPLE: Final = 10_000
"""Sum, and common multiple where schemas are combined, of the `multipleOf`; states of a lexer."""
MAX_COMBINED_PATTERNS: Final = 12
"""Different patterns and formats where schemas are combined, which may intersect all of them;
intersections of a terminal, with those of the terminals in it."""
MAX_SCHEMA_SIZE: Final = 10_000
"""Schemas, and items of arrays, with references written out where schemas are combined."""
MAX_SCHEMA_CHAIN: Final = 500
"""Nesting of schemas through references."""
MAX_SHORTEST_ANSWER: Final = 1_000_000
"""Characters that every answer to a schema has at least; more are in no model's context."""

MAX_REGEX_CHARS: Final = 20_000
"""Length of a regular expression."""
MAX_REGEX_DEPTH: Final = 100
"""Nested groups and classes of a regular expression."""
MAX_REPEATS: Final = 10_000
"""A repetition count of an expression or a rule."""
MAX_REGEX_SIZE: Final = 50_000
"""Characters that a regular expression has with its repetitions written out."""

MAX_CHOICES: Final = 1_000
"""Number of choices."""
MAX_RULES: Final = 1_000
"""Rules and terminals of a grammar."""
MAX_ALTERNATIVES: Final = 1_000
"""Alternatives of a rule."""
MAX_RULE_CHAIN: Final = 500
"""Rules, and groups in them, that follow each other from a rule to the last it refers to."""

MAX_LEXER_STATES: Final = 30_000
"""States that the lexer of one sequence may construct, of 1 to 2 kB each."""
MAX_STEP_FUEL: Final = 200_000
"""Work of the lexer for one token; about 15 ms. llguidance's default, as are the next two."""
MAX_STEP_ITEMS: Final = 50_000
"""Items of the parser for one token."""
MAX_COMPILE_FUEL: Final = 1_000_000
"""Work of the lexer while a grammar is compiled."""


@functools.cache
def parser_limits() -> "LLParserLimits":
    """What llguidance itself may spend on a grammar, when it is compiled and for each token."""
    from llguidance import LLParserLimits

    return LLParserLimits(
        initial_lexer_fuel=MAX_COMPILE_FUEL,
        step_lexer_fuel=MAX_STEP_FUEL,
        step_max_items=MAX_STEP_ITEMS,
        max_lexer_states=MAX_LEXER_STATES,
        verbose_errors=False,
    )


def check(name: str, value: float, limit: int) -> None:
    """Checks a number against its limit.

    Args:
        name: What is counted, for the message.
        value: The number.
        limit: The largest that is accepted.

    Raises:
        ValueError: It is larger.
    """
    if value > limit:
        raise ValueError(f"{name}={shortened(value)} is more than {limit:,}")


def shortened(value: Any) -> str:
    """Writes a value for a message, in at most 80 characters.

    Args:
        value: A number, a text, or anything else, of which only the type is named.
    """
    if isinstance(value, int) and abs(value) > MAX_NUMBER:
        return f"{'-' * (value < 0)}2**{value.bit_length() - 1}"
    if not isinstance(value, int | float | str | None):
        return type(value).__name__
    text = repr(value if not isinstance(value, str) else value[:80])
    return text if len(text) <= 80 else f"{text[:76]}...'"
