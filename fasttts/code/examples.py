"""Tests from the examples that stand in a prompt of HumanEval's layout."""

import ast
import doctest
from collections.abc import Iterator, Mapping
from typing import Any

from fasttts.code.tests import CodeTests
from fasttts.errors import ConfigurationError


def humaneval_examples(record: Mapping[str, Any]) -> CodeTests:
    """Tests that a search may use, from a record with HumanEval's `prompt` and `entry_point`.

    They are the examples (`>>> f(1)`, and its value in the next line) of the prompt's docstrings,
    as far as they are calls of the function by literals with a literal for a value. Where there is
    none, the only test is that the program runs and defines the function.

    Args:
        record: The record.

    Raises:
        ConfigurationError: A field is missing.
    """
    prompt, name = record.get("prompt"), record.get("entry_point")
    if not isinstance(prompt, str) or not isinstance(name, str) or not name:
        raise ConfigurationError(
            f"a record of HumanEval's layout needs prompt and entry_point; it has {sorted(record)}"
        )
    found = dict.fromkeys(_examples(prompt, name)) or {f"assert callable({name})": None}
    return CodeTests(tests=tuple(found), names=(name,), prompt=prompt)


def _examples(prompt: str, name: str) -> Iterator[str]:
    for docstring in _docstrings(prompt):
        try:
            examples = doctest.DocTestParser().get_examples(docstring)
        except ValueError:  # it looks like an example, and is not written as one
            continue
        for example in examples:
            if (call := _call(example.source, name)) and _is_literal(example.want.strip()):
                yield f"assert {call} == {example.want.strip()}"


def _docstrings(prompt: str) -> Iterator[str]:
    """The docstrings of a prompt's functions; the last one may have no body behind it."""
    try:
        tree = ast.parse(f"{prompt.rstrip()}\n    pass\n")
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def _call(source: str, name: str) -> str | None:
    """A call of the function by literals, as one line; None where the source is anything else."""
    try:
        node = ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        return None
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return None
    values = [*node.args, *(keyword.value for keyword in node.keywords)]
    if node.func.id != name or not all(_is_literal(ast.unparse(value)) for value in values):
        return None
    return ast.unparse(node)


def _is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return False
    return True
