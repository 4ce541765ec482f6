"""The layouts of problems in files, recognised from the fields of a row.

HumanEval (Chen et al. 2021, arXiv 2107.03374), MBPP (Austin et al. 2021, arXiv 2108.07732), GSM8K
(Cobbe et al. 2021, arXiv 2110.14168), MATH (Hendrycks et al. 2021, arXiv 2103.03874), AIME, and any
row with a problem and an answer.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from fasttts.answers.boxes import boxed
from fasttts.code import CodeTests, assert_tests, humaneval_examples, humaneval_tests, mbpp_tests
from fasttts.errors import ConfigurationError
from fasttts.evaluation.problems import Problem

_TEXT_FIELDS = ("problem", "question", "prompt", "text")
_ANSWER_FIELDS = ("answer", "final_answer", "expected_answer", "target")
_ID_FIELDS = ("id", "task_id", "unique_id")
_GSM8K_LINE = re.compile(r"^[ \t]*####(?!#)[ \t]*+(.*\S)", re.MULTILINE)
_GSM8K_ANSWER = re.compile(r"####\s*+(.+)$")
"""The same in a text whose lines were joined, and where the answer stands in the next line."""

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

    The first layout of tests that fits decides, whatever field holds the text.

    Args:
        row: The row: an object with fields, whose names may be in upper or lower case.
        number: Its number, its name where no field has one.
        problem_field: The field with the text; None takes the layout's. Of a row in HumanEval's
            layout without `prompt`, it is the beginning of the function.
        answer_field: The field with the answer; None takes the layout's. A row with tests has none.
        needs_answer: Whether it has to have an answer or tests.

    Raises:
        LayoutError: The row is no problem.
    """
    if not isinstance(row, Mapping) or not all(isinstance(name, str) for name in row):
        raise LayoutError("it is no object with fields")
    fields = _fields(row)
    named = None if problem_field is None else problem_field.lower()
    read = _reader(fields, named)
    if read is not None:
        if answer_field is not None:
            raise LayoutError(
                f"it has tests, which decide about it, so the answer field {answer_field!r} does "
                "not go with it: name no answer field"
            )
        try:
            text, tests, shown = read(fields, named)
        except ConfigurationError as error:  # of the tests
            raise LayoutError(str(error)) from error
        return Problem(id=_id(fields, number), text=text, tests=tests, shown=shown)
    text = _text(fields, _names(named, _TEXT_FIELDS, fields))
    answer = _answer(fields, answer_field)
    if answer is None and needs_answer:
        names = answer_field or ", ".join(_ANSWER_FIELDS)
        raise LayoutError(f"it has no answer ({names}); its fields are {', '.join(row)}")
    return Problem(id=_id(fields, number), text=text, answer=answer)


_Programming = tuple[str, CodeTests, CodeTests | None]
"""A text, the tests that decide, and those that a search may use."""

_Reader = Callable[[Row, str | None], _Programming]


def _fields(row: Row) -> Row:
    """The fields of a row by names in lower case; NaN and infinity are null."""
    fields: dict[str, Any] = {}
    for name, value in row.items():
        if name.lower() in fields:
            raise LayoutError(f"it has the field {name.lower()!r} twice, in upper and lower case")
        is_null = isinstance(value, float) and not math.isfinite(value)
        fields[name.lower()] = None if is_null else value
    return fields


def _reader(fields: Row, named: str | None) -> _Reader | None:
    """The function that reads the tests of a row; None where they are missing, or null."""
    given = {name for name, value in fields.items() if value is not None}
    is_named = named is not None
    if "test" in given and "entry_point" in fields and (is_named or "prompt" in fields):
        return _humaneval
    if "test_list" in given and (is_named or {"text", "prompt"} & fields.keys()):
        return _mbpp
    return _own_tests if "hidden_tests" in given else None


def _humaneval(fields: Row, named: str | None) -> _Programming:
    has_prompt = fields.get("prompt") is not None
    beginning = "prompt" if named is None or has_prompt else named
    _text(fields, beginning)
    _text(fields, "test")
    prompt = fields[beginning]
    record = {**fields, "prompt": prompt, "entry_point": _function(fields)}
    begun = prompt.strip("\n")
    text = f"Write this Python function, all of it:\n\n```python\n{begun}\n```"
    if named is not None and named != beginning:
        text = _text(fields, named)
    return text, humaneval_tests(record), humaneval_examples(record)


def _mbpp(fields: Row, named: str | None) -> _Programming:
    _texts(fields, "test_list")
    if fields.get("challenge_test_list"):
        _texts(fields, "challenge_test_list")
    if fields.get("code") is not None and not isinstance(fields["code"], str):
        raise LayoutError(f"the field 'code' is {fields['code']!r:.40}, not a text")
    imports, setup = _code(fields, "test_imports"), _code(fields, "test_setup_code")
    record = {**fields, "test_imports": [imports] if imports else [], "test_setup_code": setup}
    tests = mbpp_tests(record, with_challenges=True)
    default = "text" if fields.get("text") else "prompt"
    text = _text(fields, default if named is None else named)
    shown = replace(tests, tests=tests.tests[:1])
    return f"{text}\nYour Python code has to pass this test:\n\n{shown.tests[0]}", tests, shown


def _own_tests(fields: Row, named: str | None) -> _Programming:
    setup = _code(fields, "setup")
    names = () if fields.get("entry_point") in (None, "") else (_function(fields),)
    tests = assert_tests(_texts(fields, "hidden_tests"), setup=setup, names=names)
    shown = None
    if fields.get("shown_tests"):
        shown = assert_tests(_texts(fields, "shown_tests"), setup=setup, names=names)
    return _text(fields, _names(named, _TEXT_FIELDS, fields)), tests, shown


def _function(fields: Row) -> str:
    name = _text(fields, "entry_point")
    if not name.isidentifier():
        raise LayoutError(f"entry_point {name!r} is no name of a function")
    return name


def _code(fields: Row, name: str) -> str:
    """Statements that a row may have: one text, or a list of texts; empty for none."""
    value = fields.get(name)
    lines = [value or ""] if value is None or isinstance(value, str) else value
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise LayoutError(f"the field {name!r} is {value!r:.40}, not a text or a list of texts")
    return "\n".join(lines)


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
    """The known answer; in GSM8K it follows `####`, in MATH it is the box of the solution.

    Of several lines that begin with `####` the last one counts, whatever follows it.
    """
    name = _names(given, _ANSWER_FIELDS, fields)
    value = fields.get(name)
    if value is None:
        solution = fields.get("solution")
        return boxed(solution) if given is None and isinstance(solution, str) else None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise LayoutError(f"the field {name!r} is {value!r:.40}, not a text or a number")
    text = str(value).strip()
    lines = _GSM8K_LINE.findall(text)
    marked = _GSM8K_ANSWER.search(text)
    return (lines[-1] if lines else marked[1] if marked else text) or None


def _id(fields: Row, number: int) -> str:
    found = (fields[name] for name in _ID_FIELDS if isinstance(fields.get(name), str | int))
    return str(next(found, number))
