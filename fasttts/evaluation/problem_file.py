"""Reads problems from files: JSON lines, JSON and CSV, in any of the known layouts."""

import csv
import gzip
import io
import json
import random
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fasttts.config.unicode_text import check_text
from fasttts.errors import ConfigurationError
from fasttts.evaluation.layouts import LayoutError, read_row
from fasttts.evaluation.problems import Problem

_LISTS = ("data", "problems", "rows", "examples")
"""Fields of a JSON document that may hold its rows."""

_COMPRESSED = ".gz"
_FORM = '{"problem": ..., "answer": ...}'
_TOO_DEEP = "nested too deeply to be read"
_UNREADABLE = (ValueError, RecursionError)
"""What the decoder of JSON raises, of numbers with too many digits as well."""


def read_problems(
    file: Path,
    *,
    problem_field: str | None = None,
    answer_field: str | None = None,
    needs_answers: bool = True,
    hint: str = "",
) -> tuple[Problem, ...]:
    """Reads the problems of a file.

    Args:
        file: JSON lines, JSON (a list, or an object with one), or CSV with a header; `.gz` behind
            the ending for a compressed one.
        problem_field: The field with the text; None takes the layout's.
        answer_field: The field with the answer; None takes the layout's.
        needs_answers: Whether each has to have an answer or tests.
        hint: Added to the message about a row that is no problem.

    Raises:
        ConfigurationError: There are none, or a row is no problem; names file and line.
    """
    problems = []
    for place, number, row in _rows(file, _content(file)):
        if isinstance(row, _Repeating):
            raise ConfigurationError(f"{file}, {place}: it has two fields of one name")
        try:
            problem = read_row(
                row,
                number=number,
                problem_field=problem_field,
                answer_field=answer_field,
                needs_answer=needs_answers,
            )
        except LayoutError as error:
            raise ConfigurationError(f"{file}, {place}: {error}{hint}") from error
        except (RecursionError, MemoryError) as error:  # of Python's parser, on tests
            raise ConfigurationError(f"{file}, {place}: it is {_TOO_DEEP}") from error
        check_text(f"{problem.text}{problem.answer}", f"{file}, {place}")
        problems.append(problem)
    if not problems:
        raise ConfigurationError(f"{file} holds no problems")
    return _told_apart(problems)


def sample(problems: Sequence[Problem], count: int | None, seed: int) -> tuple[Problem, ...]:
    """Draws some of the problems, in their order; the same seed draws the same ones.

    Args:
        problems: All of them.
        count: How many to draw; None, or as many as there are, takes all.
        seed: Any integer.
    """
    if count is None or count >= len(problems):
        return tuple(problems)
    chosen = random.Random(f"eval/{seed}").sample(range(len(problems)), count)
    return tuple(problems[index] for index in sorted(chosen))


def _content(file: Path) -> str:
    try:
        data = file.read_bytes()
        return (gzip.decompress(data) if file.suffix == _COMPRESSED else data).decode("utf-8-sig")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from error


def _rows(file: Path, content: str) -> Iterator[tuple[str, int, Any]]:
    """The rows of a file: where each stands, its number, and its value."""
    ending = Path(file.stem if file.suffix == _COMPRESSED else file.name).suffix.lower()
    if ending == ".csv":
        return _csv_rows(file, content)
    document = None if ending in {".jsonl", ".ndjson"} else _document(file, content)
    if document is None:
        return _lines(file, content)
    return ((f"row {number}", number, row) for number, row in enumerate(document, 1))


class _Repeating(dict[str, Any]):
    """An object of JSON with fields of one name, of which a dict keeps the last."""


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _Repeating(found)


def _document(file: Path, content: str) -> list[Any] | None:
    """The rows of a JSON document; None where the content is JSON lines.

    Raises:
        ConfigurationError: It is neither, or a document without rows.
    """
    lines = [line for line in content.split("\n") if line.strip()]
    try:
        found = _json(content)
    except _UNREADABLE as error:
        if not lines or _is_object(lines[0]):
            return None
        place = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ConfigurationError(
            f"{file}{place}: it cannot be read as JSON: {_reason(error)}"
        ) from error
    if isinstance(found, dict):
        rows = next((found[name] for name in _LISTS if name in found), None)
    else:
        rows = found
    if isinstance(rows, list):
        return rows
    if len(lines) > 1:
        raise ConfigurationError(
            f"{file} is a JSON document without a list of problems: give a list, or an object with "
            f"one under {', '.join(_LISTS)}"
        )
    return None


def _is_object(line: str) -> bool:
    """Whether a line is an object of its own, as the lines of JSON lines are."""
    try:
        return isinstance(_json(line), dict)
    except _UNREADABLE:
        return False


def _reason(error: Exception) -> str:
    """The words of the decoder for an error of a line or a document."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}: column {error.colno}"
    return _TOO_DEEP if isinstance(error, RecursionError) else str(error)


def _lines(file: Path, content: str) -> Iterator[tuple[str, int, Any]]:
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield f"line {number}", number, _json(line)
        except _UNREADABLE as error:
            raise ConfigurationError(
                f"{file}, line {number}: {line[:60]!r} is not of the form {_FORM}: {_reason(error)}"
            ) from error


def _csv_rows(file: Path, content: str) -> Iterator[tuple[str, int, Any]]:
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    rows = filter(None, reader)
    try:
        header = _header(next(rows, []))
        for row in rows:
            if any(cell.strip() for cell in row[len(header) :]):
                raise LayoutError(
                    f"the row has {len(row)} cells, and the header {len(header)}: put texts that "
                    "contain commas in quotes"
                )
            cells = zip(header, row, strict=False)
            whole = {name: value for name, value in cells if name and value}
            yield f"line {reader.line_num}", reader.line_num, whole
    except (csv.Error, LayoutError) as error:
        raise ConfigurationError(f"{file}, line {reader.line_num}: {error}") from error


def _header(cells: Iterable[str]) -> list[str]:
    """The names of the columns, without empty ones behind the last name.

    Raises:
        LayoutError: A name occurs twice.
    """
    names = list(cells)
    while names and not names[-1].strip():
        names.pop()
    known = [name.lower() for name in names if name.strip()]
    for name in known:
        if known.count(name) > 1:
            raise LayoutError(f"the header has {name!r} twice: give each column a name of its own")
    return names


def _told_apart(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """The problems with names of their own: numbers where names occur twice."""
    if len({problem.id for problem in problems}) == len(problems):
        return tuple(problems)
    return tuple(replace(problem, id=str(n)) for n, problem in enumerate(problems, 1))
