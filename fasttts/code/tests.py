"""Tests of programs, in Python, and the layouts of data sets that they come in.

`humaneval_tests` and `mbpp_tests` read the published layouts (HumanEval: Chen et al. 2021, arXiv
2107.03374; MBPP: Austin et al. 2021, arXiv 2108.07732).
"""

import ast
import builtins
import itertools
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fasttts.errors import ConfigurationError

_DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeTests:
    """Tests of one problem.

    Attributes:
        tests: Statements; a test passes where its statements raise nothing.
        names: What the tests take from the program: functions and classes.
        setup: Statements that run once before the tests, out of the program's sight.
        prompt: The beginning of a program that a completion goes on with; empty for whole programs.

    Raises:
        ConfigurationError: There are no tests, or no names.
    """

    tests: tuple[str, ...]
    names: tuple[str, ...]
    setup: str = ""
    prompt: str = ""

    def __post_init__(self) -> None:
        if not self.tests or not self.names:
            raise ConfigurationError(
                f"tests={self.tests!r:.200}, names={self.names}: a program needs a test to pass, "
                "which uses a name of it"
            )

    def calls(self) -> tuple[str, ...]:
        """The calls of the program with constant arguments that stand in the tests, each once."""
        found: dict[str, None] = {}
        for node in (node for test in self.tests for node in ast.walk(ast.parse(test))):
            if _is_constant_call(node, {*self.names, "candidate"}):
                found[ast.unparse(node)] = None
        return tuple(found)


def call_tests(name: str, pairs: Iterable[tuple[Sequence[Any], Any]]) -> CodeTests:
    """Tests of one function by arguments and expected values, which are plain data.

    Args:
        name: The function.
        pairs: Arguments and the expected value of each call.

    Raises:
        ConfigurationError: The name is no name, or a value is not plain.
    """
    if not name.isidentifier():
        raise ConfigurationError(f"name={name!r}: give the name of a function")
    tests = tuple(
        f"assert {name}({', '.join(map(_literal, arguments))}) == {_literal(expected)}"
        for arguments, expected in pairs
    )
    return CodeTests(tests=tests, names=(name,))


def assert_tests(
    tests: Sequence[str], *, setup: str = "", names: Sequence[str] = (), prompt: str = ""
) -> CodeTests:
    """Tests by statements, as MBPP has them.

    Args:
        tests: Statements, one text for each test.
        setup: Statements before them.
        names: What they take from the program; empty takes what they use and nobody defines, but
            for names of which they use attributes alone, as those of modules.
        prompt: As for `CodeTests`.

    Raises:
        ConfigurationError: There are no tests, or they are not Python, or use nothing of a program,
            or import what is not in the standard library.
    """
    trees = [_parse(source) for source in (setup, *tests)]
    _check_imports(trees)
    nodes = [node for tree in trees for node in ast.walk(tree)]
    defined = {name for tree in trees for name in _defined(tree)} | set(dir(builtins))
    owners = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    used = {n.id for n in nodes if isinstance(n, ast.Name) and id(n) not in owners} - defined
    owning = {n.id for n in nodes if isinstance(n, ast.Name) and id(n) in owners} - defined - used
    found = tuple(names or sorted(used))
    modules = sorted(owning & (sys.stdlib_module_names - set(found)))
    # What a test forgot to import comes from the library, never from the program.
    imports = "".join(f"import {name}\n" for name in modules)
    return CodeTests(tests=tuple(tests), names=found, setup=imports + setup, prompt=prompt)


def humaneval_tests(record: Mapping[str, Any]) -> CodeTests:
    """The tests of a record with HumanEval's fields `prompt`, `entry_point` and `test`.

    Each statement of `check(candidate)` that asserts is a test of its own, so that a program may
    pass a share of them; all of them pass where `check` does.

    Raises:
        ConfigurationError: A field is missing, the test has no function `check`, or it imports what
            is not in the standard library.
    """
    prompt, name, test = _fields(record, "HumanEval", "prompt", "entry_point", "test")
    tree = _parse(test)
    check = next(
        (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "check"), None
    )
    if check is None or len(check.args.args) != 1:
        raise ConfigurationError("the record's test has no function check(candidate)")
    # Some files call it themselves, at their end.
    tree.body = [
        node
        for node in tree.body
        if node is not check and (isinstance(node, _DEFINITIONS) or not _uses(node, "check"))
    ]
    before = preamble(prompt, name)
    _check_imports([tree, check, _parse(before)])
    parts = [before, ast.unparse(tree), f"{check.args.args[0].arg} = {name}"]
    return CodeTests(
        tests=tuple(_single_tests(check)), names=(name,), setup="\n".join(parts), prompt=prompt
    )


def preamble(prompt: str, name: str) -> str:
    """The part of a prompt before its function: imports, and functions to build on.

    Args:
        prompt: The beginning of a program.
        name: The function that is to be completed.
    """
    found = [*re.finditer(rf"^(?:async )?def {re.escape(name)}\b", prompt, re.MULTILINE)]
    return prompt[: found[-1].start()] if found else ""


def mbpp_tests(record: Mapping[str, Any], *, with_challenges: bool = False) -> CodeTests:
    """The tests of a record with MBPP's field `test_list`, in its full or its sanitized layout.

    Args:
        record: The record.
        with_challenges: Whether those of `challenge_test_list` count too.

    Raises:
        ConfigurationError: A field is missing, or the tests use no name of a program.
    """
    (listed,) = _fields(record, "MBPP", "test_list")
    tests = [*listed, *(record.get("challenge_test_list") or () if with_challenges else ())]
    code = _parse(record.get("code") or "")
    imports = [ast.unparse(node) for node in code.body if _imports_library(node)]
    imports += record.get("test_imports") or ()
    setup = "\n".join([*imports, record.get("test_setup_code") or ""]).strip()
    used = {n.id for test in tests for n in ast.walk(_parse(test)) if isinstance(n, ast.Name)}
    # Never what it imports: a program's own `math.isclose` would find every answer close.
    bound = [name for node in code.body for name in _bound(node)]
    return assert_tests(tests, setup=setup, names=[name for name in bound if name in used])


def _bound(node: ast.stmt) -> list[str]:
    """Names that a statement of a module binds, imports aside."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _uses(node: ast.AST, name: str) -> bool:
    return any(isinstance(each, ast.Name) and each.id == name for each in ast.walk(node))


def _check_imports(trees: Sequence[ast.AST]) -> None:
    """Refuses tests with imports that fail, since no program can pass them.

    What stands in a `try` may be missing.

    Raises:
        ConfigurationError: They import what is not in the standard library.
    """
    nodes = [*trees]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import | ast.ImportFrom) and not _imports_library(node):
            raise ConfigurationError(
                f"the tests have {ast.unparse(node)!r}: programs and their tests have Python's "
                "standard library and no packages"
            )
        if not isinstance(node, ast.Try):
            nodes += ast.iter_child_nodes(node)


def _imports_library(node: ast.stmt) -> bool:
    """Whether a statement imports from the standard library alone."""
    if isinstance(node, ast.Import):
        modules = [each.name for each in node.names]
    elif isinstance(node, ast.ImportFrom) and not node.level:
        modules = [node.module or ""]
    else:
        return False
    return all(module.partition(".")[0] in sys.stdlib_module_names for module in modules)


def _single_tests(check: ast.FunctionDef) -> Iterator[str]:
    """Statements of a function body, in pieces that assert something each."""
    if any(isinstance(node, ast.Return | ast.Nonlocal | ast.Global) for node in ast.walk(check)):
        yield f"{ast.unparse(check)}\ncheck({check.args.args[0].arg})"
        return
    ends = [end for end, each in enumerate(check.body, start=1) if _asserts(each)][:-1]
    for start, end in itertools.pairwise([0, *ends, len(check.body)]):
        yield "\n".join(map(ast.unparse, check.body[start:end]))


def _asserts(statement: ast.stmt) -> bool:
    """Whether a statement can fail by an assertion; `assert True` cannot."""
    checks = (node.test for node in ast.walk(statement) if isinstance(node, ast.Assert))
    return any(not isinstance(check, ast.Constant) or not check.value for check in checks)


def _fields(record: Mapping[str, Any], layout: str, *names: str) -> list[Any]:
    missing = [name for name in names if not record.get(name)]
    if missing:
        raise ConfigurationError(
            f"a record of {layout}'s layout needs {', '.join(missing)}; it has {sorted(record)}"
        )
    return [record[name] for name in names]


def _parse(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigurationError(f"the tests are not Python: {error}: {source!r:.200}") from error


def _defined(tree: ast.Module) -> Iterator[str]:
    """Names that a module's statements bind, in their order."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((each.asname or each.name).partition(".")[0] for each in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name


def _is_constant_call(node: ast.AST, names: set[str]) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return False
    if node.func.id not in names:
        return False
    values = [*node.args, *(keyword.value for keyword in node.keywords)]
    parts = [part for value in values for part in ast.walk(value)]
    called = {id(part.func) for part in parts if isinstance(part, ast.Call)}
    # Plain data that has no literal is written as a call, as `call_tests` does: `set([1])`.
    makers = {id(p) for p in parts if isinstance(p, ast.Name) and p.id in _MAKERS - names}
    return called <= makers and not any(
        isinstance(part, ast.Name) and id(part) not in called for part in parts
    )


_MAKERS = {"list", "tuple", "set", "frozenset", "dict", "float", "complex", "bytes"}


def _literal(value: Any) -> str:
    """Source of a plain value."""
    kind = type(value)
    if kind in {list, tuple, set, frozenset}:
        items = "".join(f"{_literal(item)}, " for item in value)
        return f"({items})" if kind is tuple else f"{kind.__name__}([{items}])"
    if kind is dict:
        return f"{{{', '.join(f'{_literal(k)}: {_literal(v)}' for k, v in value.items())}}}"
    if kind is float and not math.isfinite(value):
        return f"float('{value}')"
    if value is None or kind in {bool, int, float, complex, str, bytes}:
        return repr(value)
    raise ConfigurationError(f"{value!r:.200} is no plain value: give numbers, texts, collections")
