"""Arithmetic on text: a grammar of numbers, operators and a few functions, and nothing else.

The text is parsed, never executed: everything but numbers, operators and the functions named here
is refused, and so are computations that take long or grow without bounds. Packages that evaluate
expressions (simpleeval, asteval) bound powers and strings, and not the functions that they are
given: `round(5, -10 ** 7)` keeps them busy for seconds.
"""

import ast
import math
import operator
import re
import warnings
from collections.abc import Callable, Mapping

from fasttts.errors import ConfigurationError

Number = int | float

MAX_CHARS = 500
MAX_DEPTH = 250
"""Of a tree: as many as a sum of that many characters has."""

CHARACTERS = re.compile(r"[\w\s.,()*/%^+-]*", re.ASCII)
"""Python's parser reads no other syntax than that of arithmetic and of names."""

MAX_BITS = 4096
"""Most bits of an integer, integral results included."""

BINARY: Mapping[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
UNARY: Mapping[type[ast.unaryop], Callable[[Number], Number]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}


def _round(number: Number, digits: int | None = None) -> Number:
    """Rounds as `round` does, which computes a power of ten for any number of negative digits."""
    return round(number, max(digits, -MAX_BITS) if isinstance(digits, int) else digits)


FUNCTIONS: Mapping[str, Callable[..., Number]] = {
    "abs": abs,
    "ceil": math.ceil,
    "floor": math.floor,
    "max": max,
    "min": min,
    "round": _round,
    "sqrt": math.sqrt,
}
CONSTANTS: Mapping[str, float] = {"pi": math.pi, "e": math.e}


def calculate(expression: str) -> str:
    """Computes an expression; an integral quotient is written without a point.

    Args:
        expression: Such as `(3 + 4) * 12` or `sqrt(2)`; `^` and `**` are powers.

    Raises:
        ConfigurationError: It is no arithmetic, has no value, or is too large.
    """
    if len(expression) > MAX_CHARS:
        raise ConfigurationError(f"the expression has more than {MAX_CHARS} characters")
    try:
        value = _value(_parsed(expression), MAX_DEPTH)
    except (SyntaxError, MemoryError, RecursionError) as error:
        raise ConfigurationError(f"{expression!r} is no arithmetic expression") from error
    except ConfigurationError:
        raise
    except (ArithmeticError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{expression!r} has no value: {error}") from error
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53
    return str(int(value) if is_whole else value)


def _parsed(expression: str) -> ast.expr:
    """Parses an expression.

    Raises:
        SyntaxError: It is none.
    """
    if not CHARACTERS.fullmatch(expression):
        raise SyntaxError("a character that no arithmetic has")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the parser's, about literals such as `1if`
        return ast.parse(expression.strip().replace("^", "**"), mode="eval").body


def _value(node: ast.expr, depth: int) -> Number:
    if not depth:
        raise ConfigurationError(f"the expression is nested more than {MAX_DEPTH} levels deep")
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return _bounded(number)
        case ast.Name(id=name) if name in CONSTANTS:
            return CONSTANTS[name]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in UNARY:
            return UNARY[type(op)](_value(operand, depth - 1))
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left, depth - 1), _value(right, depth - 1))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
            return _bounded(BINARY[type(op)](_value(left, depth - 1), _value(right, depth - 1)))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
            return _bounded(FUNCTIONS[name](*(_value(each, depth - 1) for each in args)))
    raise ConfigurationError(
        f"{ast.unparse(node)!r} is no arithmetic: write numbers, + - * / // % ^, parentheses, "
        f"{', '.join(FUNCTIONS)}, {', '.join(CONSTANTS)}"
    )


def _power(base: Number, exponent: Number) -> Number:
    is_whole = isinstance(base, int) and isinstance(exponent, int)
    if is_whole and abs(base) > 1 and abs(exponent) * int(base).bit_length() > MAX_BITS:
        raise ConfigurationError(f"{base} ^ {exponent} is too large")
    value = base**exponent
    if isinstance(value, complex):
        raise ConfigurationError(f"{base} ^ {exponent} is no real number")
    return _bounded(value)


def _bounded(value: Number) -> Number:
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise ConfigurationError(f"a number has more than {MAX_BITS} bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigurationError("a number is too large or undefined")
    return value
