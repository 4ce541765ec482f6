"""Where the program in a text stands, and what of it is whole."""

import time

import pytest

from fasttts.code import CodeRunner, CodeTests, assert_tests, find_program

ADD = CodeTests(tests=("assert add(1, 2) == 3",), names=("add",))
PROMPT = 'import math\n\ndef half(x):\n    return x / 2\n\ndef add(a, b):\n    """Adds."""\n'
COMPLETED = CodeTests(tests=ADD.tests, names=ADD.names, prompt=PROMPT)
CODE = "def add(a, b):\n    return a + b"
CALL = "print(add(1, 2))"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"Here:\n```python\n{CODE}\n```\nDone.", CODE),
        (f"Here:\n~~~\n{CODE}\n~~~", CODE),
        (f"````py\n{CODE}\n````", CODE),
        (f"First\n```python\nx = 1\n```\nthen\n```python\n{CODE}\n```", CODE),
        (f"```python\n{CODE}\n```\nUse it:\n```python\n{CALL}\n```", CODE),
        (f"```python\n{CODE}\n```\nIt prints\n```text\n3\n```", CODE),
        (
            "```python\nadd = lambda a, b: a + b\n```\n```\nadd(1, 2)\n```",
            "add = lambda a, b: a + b",
        ),
        ("1. So:\n   ```python\n   def add(a, b):\n       return a + b\n   ```", CODE),
        (f"<think>\n```python\ndef add(a, b): pass\n```\n</think>\n```python\n{CODE}\n```", CODE),
        (CODE, CODE),
        (f"Here:\n```python\n{CODE}\n```\n".replace("\n", "\r\n"), CODE),
        (f"The function is\n\n{CODE}\n\nThat is all.", CODE),
        ("There is none.", None),
        ("```sql\nselect 1\n```", None),
        ("", None),
    ],
)
def test_where_the_program_stands(text: str, expected: str | None) -> None:
    found = find_program(text, ADD)
    assert (None if found is None else found.text.strip()) == expected


def test_an_open_fence_is_an_unfinished_program() -> None:
    finished = find_program(f"```python\n{CODE}\n```", ADD)
    unfinished = find_program(f"```python\n{CODE}\n", ADD)
    assert finished is not None
    assert unfinished is not None
    assert (finished.is_finished, unfinished.is_finished) == (True, False)
    assert finished.text == unfinished.text


BODIES = [
    "    return a + b",
    "return a + b",
    "\n    total = a + b\n    return total\n\nprint(add(1, 2))\n",
    "total = a + b\n    return total\n\ndef other():\n    pass",
    "total = a\ntotal += b\nreturn total",
    "for _ in range(1):\n        a += b\n    return a",
    "for _ in range(1):\n    a += b\nreturn a",
    f"```python\n{CODE}\n```",
    "```python\n    return a + b\n```",
    f"```python\nimport os\n{CODE}\n```",
    f"```python\nfrom __future__ import annotations\n\n{CODE}\n```",
]


@pytest.mark.parametrize("text", BODIES)
def test_completions_continue_the_prompt(text: str) -> None:
    found = find_program(text, COMPLETED)
    assert found is not None
    namespace: dict[str, object] = {}
    exec(found.text, namespace)
    add = namespace["add"]
    assert callable(add)
    assert add(1, 2) == 3


def test_helpers_of_the_prompt_stay() -> None:
    found = find_program("```python\ndef add(a, b):\n    return half(a) * 2 + b\n```", COMPLETED)
    assert found is not None
    assert "def half" in found.text
    assert found.text.count("def add") == 1


@pytest.mark.parametrize(
    ("before", "repeated", "after"),
    [
        ("", "```\n", ""),
        ("", "    x\n", ""),
        ("", "def a(", ""),
        ("", "~", "x`"),
        ("def add(", "a ", ""),
        ("def add():\na", " ", "?"),
        ("```", " ", "`"),
        ("```\nadd", " ", "?"),
        ("```\n", "add: ", "?\n```"),
    ],
)
def test_long_texts_are_read_once(before: str, repeated: str, after: str) -> None:
    started = time.process_time()
    find_program(before + repeated * (100_000 // len(repeated)) + after, COMPLETED)
    find_program(before + repeated * (100_000 // len(repeated)) + after, ADD)
    assert time.process_time() - started < 2


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("import re\n\ndef f(x):\n    return x", "import re\n\ndef f(x):\n    return x"),
        ("import re\n\ndef f(x):\n", "import re\n\n"),
        ("x = 1\ny = (2,\n", "x = 1\n"),
        ("x = 1\ntry:\n    y = 2\n", "x = 1\n"),
        ("x = 1\n@decorated\n", "x = 1\n"),
        ("x = 1\ndef f(", "x = 1\n"),
        ("x = 1\ny = '''a\nb\n", "x = 1\n"),
        ("if x:\n    y = 1\nelse:\n", ""),
        ("x = 1\ny = 2 +", "x = 1\n"),
        ("x = 1\ny = 2 +\n", None),
        ("def f(x)\n    return x\n", None),
        ("def f(x):\nreturn x\n", None),
        ("x = )\n", None),
        ("x = 1\n\0\n", None),
        ("(" * 100_000 + "\n", None),
        ("x = 'half \ud800'\n", None),
    ],
)
def test_the_whole_part_of_a_beginning(
    code_runner: CodeRunner, text: str, whole: str | None
) -> None:
    assert code_runner.whole_part(text) == whole


def test_names_are_those_that_nobody_else_defines() -> None:
    tests = assert_tests(
        ["assert math.isclose(mean([1, 2]), expected)", "assert Pair(1, 2) != [x for x in [3]]"],
        setup="expected = 1.5",
    )
    assert tests.names == ("Pair", "mean")
    assert assert_tests(["assert select([1]) == 1"]).names == ("select",)
    assert tests.setup.startswith("import math\n")  # never the program's idea of it
