"""The two roles of the worker, in one process here, with a program that means well."""

import os
import random
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from fasttts.code.worker import (
    MODULE,
    Link,
    canonical,
    decode,
    encode,
    exception_class,
    run_tests,
    serve,
    whole_length,
)

PROGRAM = """
import collections
class Point:
    def __init__(self, x): self.x = x
    def moved(self, by): return Point(self.x + by)
def points(n): return (Point(i) for i in range(n))
def total(points, start=0): return start + sum(p.x for p in points)
def fail(name): raise getattr(__import__("builtins"), name)("because")
def fail_oddly():
    class Odd(Exception):
        def __str__(self): raise self
    raise Odd
def same(value): return value
constant = 3
"""
NAMES = ["Point", "points", "total", "fail", "fail_oddly", "same", "constant"]


@pytest.fixture
def link() -> Iterator[Link]:
    state = random.getstate()
    questions, answers = os.pipe(), os.pipe()
    with open(questions[0], "rb") as asked, open(answers[1], "wb", buffering=0) as answered:
        thread = threading.Thread(target=serve, args=[asked, answered])
        thread.start()
        with open(answers[0], "rb") as reader, open(questions[1], "wb", buffering=0) as writer:
            yield Link(reader, writer, 10_000)
        thread.join()
    random.setstate(state)
    sys.modules.pop(MODULE, None)


def reports(link: Link, **job: Any) -> list[Any]:
    found: list[Any] = []
    run_tests({"program": PROGRAM, "names": NAMES, "setup": "", **job}, link, found.append)
    return found


def test_tests_reach_the_program_through_the_pipe(link: Link) -> None:
    tests = [
        "assert Point(3).x == 3 and Point(3).moved(2).x == 5",
        "assert [p.x for p in points(3)] == [0, 1, 2]",
        "assert total([Point(1), Point(2)], start=1) == 4",
        "assert constant == 3",
        "x = {'a': (1, [2.5], {3}, b'4', 10**30, frozenset(), 1j)}\nassert same(x) == x",
        "try:\n    fail('KeyError')\nexcept KeyError:\n    pass",
        "assert same(1) == 2, 'no'",
        "fail('StopIteration')",
        "fail_oddly()",
        "assert Point(1)",
        "Point(1).__len__()",
        "same(print)",
    ]
    found = reports(link, tests=tests)
    assert found[:8] == [["loaded", None], ["prepared", None], *[["test", None]] * 6]
    assert [problem for _, problem in found[8:]] == [
        "AssertionError: no",
        "RuntimeError: because",
        "RuntimeError",
        "TypeError: an object of the candidate's is neither true nor false",
        "AttributeError: __len__",
        "TypeError: builtin_function_or_method is no plain data",
    ]


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        ({"program": "1 / 0"}, [["loaded", "ZeroDivisionError: division by zero"]]),
        (
            {"names": ["absent"]},
            [["loaded", None], ["prepared", "NameError: name 'absent' is not defined"]],
        ),
    ],
)
def test_what_does_not_load_is_not_tested(link: Link, job: Any, expected: Any) -> None:
    assert reports(link, tests=["assert same(1)"], **job) == expected


def test_calls_give_what_they_do(link: Link) -> None:
    found = reports(
        link, calls=["same({1.0, 2})", "same({2, True})", "fail('OSError')", "Point(1)"]
    )
    values = [value for kind, value in found if kind == "call"]
    assert values[0] == values[1]
    assert values[2:] == ["raises OSError", '["object"]']


def test_too_much_is_the_end(link: Link) -> None:
    with pytest.raises(BaseException, match="output"):
        reports(link, tests=["same('x' * 20_000)"])
    with pytest.raises(BaseException, match="output"):
        link.ask("name", "same")


@pytest.mark.parametrize(
    ("left", "right", "is_equal"),
    [
        (1, 1.0, True),
        ({1: [2], "a": None}, {"a": None, True: [2]}, True),
        ([1], (1,), False),
        (0.5, "0.5", False),
        (float("nan"), float("nan"), True),
        (frozenset([1, (2,)]), {(2,), 1}, True),
    ],
)
def test_equal_values_have_one_text(left: object, right: object, is_equal: bool) -> None:
    assert (canonical(left) == canonical(right)) == is_equal


@pytest.mark.parametrize("data", [["?"], [[]], ["int", "?"], ["dict", [1]], ["set", ["list"]]])
def test_junk_is_no_value(data: Any) -> None:
    with pytest.raises((LookupError, TypeError, ValueError)):
        decode(data, int)


def test_what_is_not_plain_is_refused_or_kept() -> None:
    with pytest.raises(TypeError, match="object is no plain data"):
        encode([object()])
    kept: list[Any] = []
    assert encode([print], lambda value: kept.append(value) or 7) == ["list", ["ref", 7]]
    assert kept == [print]


@pytest.mark.parametrize("name", ["SystemExit", "nothing", "print", "StopIteration"])
def test_only_plain_exceptions_come_back(name: str) -> None:
    assert exception_class(name) is RuntimeError


@pytest.mark.parametrize(
    ("source", "length"), [("x = 1", 5), ("x = 1\nif x:\n", 6), ("x = )\n", None), ("if x:", 0)]
)
def test_whole_statements(source: str, length: int | None) -> None:
    assert whole_length(source) == length
