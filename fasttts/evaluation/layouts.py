"""The layouts of problems in files, recognised from the fields of a row.

HumanEval (Chen et al. 2021, arXiv 2107.03374), MBPP (Austin et al. 2021, arXiv 2108.07732), GSM8K
(Cobbe et al. 2021, arXiv 2110.14168), MATH (Hendrycks et al. 2021, arXiv 2103.03874), AIME, and any
row with a problem and an answer.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fasttts.answers.boxes import boxed
from fasttts.code import CodeTests, assert_tests, humaneval_examples, humaneval_tests, mbpp_tests
from fasttts.errors import ConfigurationError
from fasttts.evaluation.problems import Problem

_TEXT_FIELDS = ("problem", "question", "prompt", "text")
_ANSWER_FIELDS = ("answer", "final_answer", "expected_answer", "target")
_ID_FIELDS = ("id", "task_id", "unique_id")
_GSM8K_ANSWER = re.compile(r"####\s*(\S.*?)\s*$")

Row = Mapping[str, Any]


class LayoutError(ValueError):
    """A row is no problem; the message says why."""


def read_row(
    row: object,
    *,
    number: int,
    problem_field: str | None = None,
    answer_field: str | None = None,
    needs_answer: bool = True,
) -> Problem:
    """Reads a row of a file in whatever layout it has.

    Args:
        row: The row: an object with fields, whose names may be in upper or lower case.
        number: Its number, its name where no field has one.
        problem_field: The field with the text; None takes the layout's.
        answer_field: The field with the answer; None takes the layout's.
        needs_answer: Whether it has to have an answer or tests.

    Raises:
        LayoutError: The row is no problem.
    """
    if not isinstance(row, Mapping) or not all(isinstance(name, str) for name in row):
        raise LayoutError("it is no object with fields")
    fields = {name.lower(): value for name, value in row.items()}
    if problem_field is None and answer_field is None:
        for read in (_humaneval, _mbpp, _own_tests):
            try:
                found = read(fields)
            except ConfigurationError as error:  # of the tests
                raise LayoutError(str(error)) from error
            if found is not None:
                text, tests, shown = found
                return Problem(id=_id(fields, number), text=text, tests=tests, shown=shown)
    text = _text(fields, _names(problem_field, _TEXT_FIELDS, fields))
    answer = _answer(fields, answer_field)
    if answer is None and needs_answer:
        names = answer_field or ", ".join(_ANSWER_FIELDS)
        raise LayoutError(f"it has no answer ({names}); its fields are {', '.join(row)}")
    return Problem(id=_id(fields, number), text=text, answer=answer)


_Programming = tuple[str, CodeTests, CodeTests | None]
"""A text, the tests that decide, and those that a search may use."""


def _humaneval(fields: Row) -> _Programming | None:
    if not {"prompt", "test", "entry_point"} <= fields.keys():
        return None
    name = _text(fields, "entry_point")
    if not name.isidentifier():
        raise LayoutError(f"entry_point {name!r} is no name of a function")
    _text(fields, "test")
    begun = str(fields["prompt"]).strip("\n")
    text = f"Write this Python function, all of it:\n\n```python\n{begun}\n```"
    return text, humaneval_tests(fields), humaneval_examples(fields)


def _mbpp(fields: Row) -> _Programming | None:
    if "test_list" not in fields or not {"text", "prompt"} & fields.keys():
        return None
    for name in ("test_list", "test_imports", "challenge_test_list"):
        if name == "test_list" or fields.get(name):
            _texts(fields, name)
    tests = mbpp_tests(fields, with_challenges=True)
    text = _text(fields, "text" if fields.get("text") else "prompt")
    shown = replace(tests, tests=tests.tests[:1])
    return f"{text}\nYour Python code has to pass this test:\n\n{shown.tests[0]}", tests, shown


def _own_tests(fields: Row) -> _Programming | None:
    if "hidden_tests" not in fields:
        return None
    setup = str(fields.get("setup") or "")
    names = (_text(fields, "entry_point"),) if fields.get("entry_point") else ()
    tests = assert_tests(_texts(fields, "hidden_tests"), setup=setup, names=names)
    shown = None
    if fields.get("shown_tests"):
        shown = assert_tests(_texts(fields, "shown_tests"), setup=setup, names=names)
    return _text(fields, _names(None, _TEXT_FIELDS, fields)), tests, shown


def _names(given: str | None, known: tuple[str, ...], fields: Row) -> str:
    """The given field, else the first known one that the row has."""
    if given is not None:
        return given.lower()
    return next((name for name in known if name in fields), known[0])


def _text(fields: Row, name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        shown = "missing" if name not in fields else f"{value!r:.40}"
        raise LayoutError(f"the field {name!r} is {shown}, not a text")
    return value.strip()


def _texts(fields: Row, name: str) -> tuple[str, ...]:
    value = fields[name]
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise LayoutError(f"the field {name!r} is {value!r:.40}, not a list of texts")
    return tuple(value)


def _answer(fields: Row, given: str | None) -> str | None:
    """The known answer; in GSM8K it follows `####`, in MATH it is the box of the solution."""
    name = _names(given, _ANSWER_FIELDS, fields)
    value = fields.get(name)
    if value is None:
        solution = fields.get("solution")
        return boxed(solution) if given is None and isinstance(solution, str) else None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise LayoutError(f"the field {name!r} is {value!r:.40}, not a text or a number")
    text = str(value).strip()
    marked = _GSM8K_ANSWER.search(text)
    return (marked[1].replace(",", "") if marked else text) or None


def _id(fields: Row, number: int) -> str:
    found = (fields[name] for name in _ID_FIELDS if isinstance(fields.get(name), str | int))
    return str(next(found, number))
