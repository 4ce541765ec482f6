"""Layouts of problems with tests and answers: fields of odd types, and fields by other names."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fasttts import ConfigurationError
from fasttts.answers.equality import answers_equal
from fasttts.evaluation import Problem, read_problems

HUMANEVAL = {
    "prompt": "def f(x):\n",
    "test": "def check(candidate):\n    assert candidate(1) == 1\n",
    "entry_point": "f",
}
MBPP = {"text": "Write f.", "test_list": ["assert f(1) == 1", "assert f(2) == 2"]}
OWN = {"problem": "Write f.", "hidden_tests": ["assert f(1) == 1"]}


def read(folder: Path, row: dict[str, Any], **options: Any) -> Problem:
    """The problem of a file with one row."""
    file = folder / "problems.jsonl"
    file.write_text(json.dumps(row), encoding="utf-8")
    (problem,) = read_problems(file, **options)
    return problem


def refused(folder: Path, row: dict[str, Any], **options: Any) -> str:
    """What is said about the row, behind file and line."""
    with pytest.raises(ConfigurationError) as caught:
        read(folder, row, **options)
    said = str(caught.value)
    assert "\n" not in said
    place, _, message = said.partition(", line 1: ")
    assert place == str(folder / "problems.jsonl")
    return message


@pytest.mark.parametrize(
    ("row", "setup"),
    [
        (OWN | {"setup": "import os\nx = 1"}, "import os\nx = 1"),
        (OWN | {"setup": ["import os", "x = 1"]}, "import os\nx = 1"),
        (
            OWN | {"setup": ["def g():\n    return 1", "", "x = g()"]},
            "def g():\n    return 1\n\nx = g()",
        ),
        (OWN | {"setup": None}, ""),
        (OWN | {"setup": []}, ""),
        (OWN | {"setup": float("nan"), "entry_point": ""}, ""),
        (MBPP | {"test_setup_code": ["import os", "x = 1"]}, "import os\nx = 1"),
        (MBPP | {"test_imports": ["import os", "import re"]}, "import os\nimport re"),
        (MBPP | {"test_imports": "import os", "test_setup_code": "x = 1"}, "import os\nx = 1"),
        (MBPP | {"test_imports": [], "test_setup_code": None, "code": None}, ""),
    ],
)
def test_setup_is_a_text_or_a_list_of_texts(
    tmp_path: Path, row: dict[str, Any], setup: str
) -> None:
    problem = read(tmp_path, row)
    assert problem.tests is not None
    assert problem.tests.setup == setup
    assert problem.tests.names == ("f",)


CHAT = [{"role": "user", "content": "Write f."}]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (OWN | {"setup": ["x = 1", 2]}, "the field 'setup' is ['x = 1', 2], not a text or a list"),
        (OWN | {"setup": {"x": 1}}, "the field 'setup' is {'x': 1}, not a text or a list of texts"),
        (OWN | {"setup": 0}, "the field 'setup' is 0, not a text or a list"),
        (OWN | {"shown_tests": "assert f(1)"}, "the field 'shown_tests' is 'assert f(1)', not a"),
        (OWN | {"hidden_tests": {"a": "assert f(1)"}}, "the field 'hidden_tests' is {'a': "),
        (OWN | {"entry_point": ["f"]}, "the field 'entry_point' is ['f'], not a text"),
        (OWN | {"entry_point": "a.f"}, "entry_point 'a.f' is no name of a function"),
        (OWN | {"problem": CHAT}, "the field 'problem' is [{'role': 'user'"),
        (MBPP | {"test_setup_code": [["x"]]}, "the field 'test_setup_code' is [['x']], not a text"),
        (MBPP | {"test_setup_code": 3}, "the field 'test_setup_code' is 3, not a text"),
        (MBPP | {"test_imports": [None]}, "the field 'test_imports' is [None], not a text"),
        (MBPP | {"challenge_test_list": [1]}, "the field 'challenge_test_list' is [1], not a list"),
        (MBPP | {"code": ["def f(x):", "    return x"]}, "the field 'code' is ['def f(x):'"),
        (MBPP | {"code": 7}, "the field 'code' is 7, not a text"),
        (MBPP | {"text": CHAT}, "the field 'text' is [{'role': 'user'"),
        (HUMANEVAL | {"prompt": CHAT}, "the field 'prompt' is [{'role': 'user'"),
        (HUMANEVAL | {"prompt": None}, "the field 'prompt' is None, not a text"),
        (HUMANEVAL | {"test": ["assert f(1)"]}, "the field 'test' is ['assert f(1)'], not a text"),
        (HUMANEVAL | {"test": {"inputs": [1]}}, "the field 'test' is {'inputs': [1]}, not a text"),
        (HUMANEVAL | {"entry_point": 5}, "the field 'entry_point' is 5, not a text"),
        (HUMANEVAL | {"entry_point": None}, "the field 'entry_point' is None, not a text"),
    ],
)
def test_fields_of_other_types_are_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    assert refused(tmp_path, row).startswith(message)


def test_the_name_of_a_function_may_have_space_around_it(tmp_path: Path) -> None:
    problem = read(tmp_path, HUMANEVAL | {"entry_point": " f\n"})
    assert problem == read(tmp_path, HUMANEVAL)


@pytest.fixture
def usual_depth() -> Iterator[None]:
    """Python's usual limit of recursion, which torch raises for good where it compiles."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.parametrize(
    "test",
    [
        "x=" + "+".join(["f(1)"] * 5000),
        "assert " + "not " * 90_000 + "f(1)",
        "assert f(1)" + ".real" * 400,
        "assert f(1)" + ".real" * 50_000,
    ],
)
def test_tests_that_are_too_deep_for_python_are_refused(
    tmp_path: Path, test: str, usual_depth: None
) -> None:
    check = f"def check(candidate):\n    {test}\n"
    assert len(refused(tmp_path, HUMANEVAL | {"test": check})) < 500


@pytest.mark.parametrize("error", [RecursionError("deep"), MemoryError()])
@pytest.mark.parametrize(
    ("row", "reader"),
    [(OWN, "assert_tests"), (MBPP, "mbpp_tests"), (HUMANEVAL, "humaneval_examples")],
    ids=["own", "mbpp", "humaneval"],
)
def test_a_row_that_python_cannot_hold_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    row: dict[str, Any],
    reader: str,
    error: Exception,
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(f"fasttts.evaluation.layouts.{reader}", fail)
    assert refused(tmp_path, row) == "it is nested too deeply to be read"


@pytest.mark.parametrize(
    "row",
    [OWN | {"setup": "x = 1", "shown_tests": ["assert f(3)"]}, MBPP, HUMANEVAL],
    ids=["own", "mbpp", "humaneval"],
)
def test_a_named_text_leaves_the_tests(tmp_path: Path, row: dict[str, Any]) -> None:
    plain = read(tmp_path, row)
    named = read(tmp_path, row | {"Task": "Do it.", "answer": "4"}, problem_field="Task")
    assert named.text.partition("\n")[0] == "Do it."
    assert (named.tests, named.shown, named.answer) == (plain.tests, plain.shown, None)
    own = next(name for name in ("problem", "text", "prompt") if name in row)
    assert read(tmp_path, row, problem_field=own) == plain
    renamed = {("task" if name == own else name): value for name, value in row.items()}
    assert read(tmp_path, renamed, problem_field="TASK") == plain
    assert refused(tmp_path, row, problem_field="no").startswith("the field 'no' is missing")


@pytest.mark.parametrize("row", [OWN, MBPP, HUMANEVAL], ids=["own", "mbpp", "humaneval"])
@pytest.mark.parametrize("more", [{}, {"value": "4"}], ids=["without", "with"])
def test_a_named_answer_does_not_go_with_tests(
    tmp_path: Path, row: dict[str, Any], more: dict[str, Any]
) -> None:
    assert "so the answer field 'value' does not go with it" in refused(
        tmp_path, row | more, answer_field="value"
    )


def test_tests_that_are_null_are_none(tmp_path: Path) -> None:
    nulls = {"hidden_tests": None, "test_list": None, "test": float("nan"), "entry_point": None}
    row = {"prompt": "How many?", "value": 4} | nulls
    assert read(tmp_path, row, answer_field="value").answer == "4"
    assert read(tmp_path, row | {"answer": 5}, problem_field="prompt").answer == "5"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("She has 1,000 + 234.\n#### 1,234", "1,234"),
        ("so\n#### (1, 2)", "(1, 2)"),
        ("so\n#### 1, 2", "1, 2"),
        ("so\n#### 12\n\nCheck: 3 * 4", "12"),
        ("#### Step 1\n3 * 4\n#### 12  \r\nSource: a book", "12"),
        ("so\n  ####12\nend", "12"),
        ("##### Heading\n#### 3\n##### Notes", "3"),
        ("so 3 * 4 #### 12", "12"),
        ("so\n####\n12", "12"),
        ("####\n#### 7", "7"),
        ("12", "12"),
    ],
)
def test_the_answer_of_gsm8k_is_behind_its_last_mark(
    tmp_path: Path, text: str, answer: str
) -> None:
    assert read(tmp_path, {"question": "How many?", "answer": text}).answer == answer


@pytest.mark.parametrize(
    ("marked", "equal", "other"),
    [("1,234", "1234", "1"), ("1,080,000", "1080000", "1080"), ("(1, 2)", "(1,2)", "12")],
)
def test_commas_of_gsm8k_are_read_where_answers_are_compared(
    tmp_path: Path, marked: str, equal: str, other: str
) -> None:
    known = read(tmp_path, {"question": "?", "answer": f"so\n#### {marked}"}).answer
    assert answers_equal(equal, known)
    assert not answers_equal(other, known)
