"""The program that reads mathematics with math-verify, in a process of its own.

It reads one LaTeX text a line, as JSON, and answers with one line that describes its value. No
text can hold it up: the kernel ends the process when a text has used its seconds of processor
time, even inside one long multiplication, where no Python signal handler or thread would run.
`answers/sympy_client.py` starts it and starts it again. It imports nothing of FastTTS, so that it
is ready sooner.
"""

import cmath
import hashlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

Description = dict[str, Any]

CPU_LIMIT_S = 1.0
MEMORY_LIMIT_BYTES = 2 << 30
NUM_POINTS = 3
NUM_EXACT_DIGITS = 40
"""Digits that unknowns have; what cancellation leaves is more than `NUM_DIGITS`."""
NUM_DIGITS = 20
MAX_NUMBER_CHARACTERS = 2 * NUM_DIGITS
"""Longer ones have exponents that no reader of decimals accepts."""
MAX_CHARACTERS = 20_000
"""Longest description of a value that is written back."""


def main() -> None:
    """Answers line by line until its input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    describe = load_reader()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT_S)
        reply = json.dumps(describe_any(describe, json.loads(line)))
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.write((reply if len(reply) <= MAX_CHARACTERS else "null") + "\n")
        answers.flush()


def describe_any(describe: Callable[[str], Description | None], text: str) -> Description | None:
    """The description of any text at all; None where it cannot be read.

    Args:
        describe: Describes a text; may raise anything.
        text: The text.
    """
    try:
        return describe(text)
    except Exception:  # noqa: BLE001, whatever a parser does with what a model wrote
        return None


def load_reader() -> Callable[[str], Description | None]:
    """Imports the parser, lets it build its tables, and returns what describes texts."""
    from latex2sympy2_extended import NormalizationConfig
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
    from sympy.core import random

    # Not `math_verify.parse`: it takes letters for units (`2 + 3 s` is 5) and capitals for small
    # letters, and where it cannot read an equation, it reads its last side.
    spelling = NormalizationConfig(boxed="none")
    reading = ConversionConfig(lowercase_symbols=False)

    def parse(text: str) -> Any:
        return latex2sympy(
            text, is_real=True, normalization_config=spelling, conversion_config=reading
        )

    def describe(text: str) -> Description | None:
        random.seed(0)
        if r"\lor" in text or r"\land" in text:
            return _describe_joined(text, parse)
        return _describe(parse(text))

    for text in (r"\frac{x+1}{2} \le \sqrt{3}", r"(1,2]\cup\{3\}", r"\sin(\pi) + 2^{x}"):
        describe_any(describe, text)
    return describe


def _describe_joined(text: str, parse: Callable[[str], Any]) -> Description | None:
    """Relations joined by "and" and "or": one set where all have the same one unknown."""
    import sympy

    groups = [[parse(item) for item in part.split(r"\land")] for part in text.split(r"\lor")]
    names = {symbol.name for group in groups for item in group for symbol in item.free_symbols}
    if len(names) == 1:
        sets = [sympy.Intersection(*(item.as_set() for item in group)) for group in groups]
        return _with_name(_describe_set(sympy.Union(*sets)), names.pop())
    items = [{"kind": "all", "items": [_describe(item) for item in group]} for group in groups]
    return {"kind": "any", "items": items} if len(items) > 1 else items[0]


def _with_name(description: Description | None, name: str) -> Description | None:
    """The solutions of a relation, and which unknown they are of."""
    return description and {**description, "name": name}


def _describe(value: Any) -> Description | None:
    """A value as data: equal values have equal descriptions once numbers are rounded."""
    import sympy

    if isinstance(value, sympy.MatrixBase):
        items = [_describe(item) for item in value]
        return {"kind": "matrix", "shape": list(value.shape), "items": items}
    if isinstance(value, sympy.And):
        return _describe_relations(value)
    if isinstance(value, sympy.core.relational.Relational):
        return _describe_relation(value)
    if isinstance(value, sympy.Set):
        return _describe_set(value)
    if isinstance(value, sympy.Tuple):
        return {"kind": "tuple", "items": [_describe(item) for item in value.args]}
    if isinstance(value, sympy.Expr):
        return _describe_expression(value)
    return None


def _describe_expression(value: Any) -> Description | None:
    import sympy

    units = {symbol: sympy.I for symbol in value.free_symbols if symbol.name == "i"}
    value = value.subs(units).doit()
    names = sorted({symbol.name for symbol in value.free_symbols})
    if not names:
        return _describe_constant(value)
    values = [_values_at(value, point) for point in range(NUM_POINTS)]
    if any(each is None for each in values):
        return {"kind": "opaque", "text": str(value)}
    if all(each == values[0] for each in values):
        return {"kind": "number", "parts": values[0]}
    return {"kind": "expression", "names": names, "values": values}


def _describe_constant(value: Any) -> Description | None:
    import sympy

    if value.is_Rational:
        return {"kind": "number", "parts": [f"{value.p}/{value.q}", "0"]}
    if value in (sympy.oo, -sympy.oo):
        return {"kind": "infinity", "sign": 1 if value == sympy.oo else -1}
    parts = _parts(value)
    return None if parts is None else {"kind": "number", "parts": parts}


def _parts(value: Any) -> list[str] | None:
    """Real and imaginary part in decimal; None where there is no finite value."""
    import sympy

    number = sympy.N(value, NUM_DIGITS, chop=True)
    parts = number.as_real_imag()
    if not all(part.is_Number and part.is_finite for part in parts):
        return None
    written = [str(part) for part in parts]
    return written if max(map(len, written)) <= MAX_NUMBER_CHARACTERS else None


def _values_at(value: Any, point: int) -> list[str] | None:
    """The value where each symbol is a number that its name and `point` determine."""
    symbols = value.free_symbols
    return _parts(value.subs({each: _coordinate(each.name, point) for each in symbols}))


def _coordinate(name: str, point: int) -> Any:
    """A number of either sign between 0.5 and 2.5, the same in every process."""
    import sympy

    digest = hashlib.sha256(f"{name}:{point}".encode()).digest()
    size = sympy.Float(int.from_bytes(digest[:8], "big"), NUM_EXACT_DIGITS) / 2**63 + 0.5
    return size if (digest[8] ^ point) & 1 else -size


def _describe_relation(value: Any) -> Description | None:
    """An equation by its sides' difference up to a factor; an inequality by its solutions."""
    import sympy

    names = sorted({symbol.name for symbol in value.free_symbols})
    if isinstance(value, sympy.Eq) or len(names) != 1:
        sides, kind = value.lhs - value.rhs, type(value).__name__
        if kind in {"GreaterThan", "StrictGreaterThan"}:
            sides, kind = -sides, {"GreaterThan": "LessThan"}.get(kind, "StrictLessThan")
        values = [_values_at(sides, point) for point in range(NUM_POINTS + 1)]
        known = [each for each in values if each is not None]
        if len(known) < len(values):
            return {"kind": "opaque", "text": str(value)}
        return {"kind": "relation", "type": kind, "names": names, "values": _ratios(known, kind)}
    return _with_name(_describe_set(value.as_set()), names[0])


def _ratios(values: list[list[str]], kind: str) -> list[list[str]]:
    """The values over the first, of which an inequality keeps the sign."""
    numbers = [complex(float(re), float(im)) for re, im in values]
    if not numbers[0]:
        return values
    unit = numbers[0] if kind in {"Equality", "Unequality"} else abs(numbers[0])
    ratios = [number / unit for number in numbers]
    if not all(cmath.isfinite(ratio) for ratio in ratios):
        raise ValueError("too large to compare")
    return [[format(ratio.real, ".12f"), format(ratio.imag, ".12f")] for ratio in ratios]


def _describe_relations(value: Any) -> Description | None:
    """Several at once: the common solutions where one unknown has some, else each of them."""
    import sympy

    relations = [arg for arg in value.args if isinstance(arg, sympy.core.relational.Relational)]
    if len(relations) == len(value.args) and len(value.free_symbols) == 1:
        return _with_name(_describe_set(value.as_set()), value.free_symbols.pop().name)
    return {"kind": "all", "items": [_describe(item) for item in value.args]}


def _describe_set(value: Any) -> Description | None:
    import sympy

    if isinstance(value, sympy.Union | sympy.Complement | sympy.Intersection):
        value = value.func(*value.args)  # the parser leaves it as it was written
    if any(isinstance(item, sympy.Set) for item in value.args):
        value = value if isinstance(value, sympy.Complement) else sympy.Union(*value.args)
    if isinstance(value, sympy.Interval):
        return {
            "kind": "interval",
            "is_open": [bool(value.left_open), bool(value.right_open)],
            "ends": [_describe(value.start), _describe(value.end)],
        }
    if isinstance(value, sympy.FiniteSet):
        return {"kind": "set", "items": [_describe(item) for item in value.args]}
    if isinstance(value, sympy.Union):
        return {"kind": "union", "items": [_describe(item) for item in value.args]}
    return {"kind": "opaque", "text": str(value)}


if __name__ == "__main__":
    main()
