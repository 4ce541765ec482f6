"""Reads problems from files: JSON lines, JSON and CSV, in any of the known layouts."""

import csv
import gzip
import io
import json
import random
from collections.abc import Iterator, Sequence
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
    except (OSError, EOFError, ValueError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from error


def _rows(file: Path, content: str) -> Iterator[tuple[str, int, Any]]:
    """The rows of a file: where each stands, its number, and its value."""
    ending = Path(file.stem if file.suffix == _COMPRESSED else file.name).suffix.lower()
    if ending == ".csv":
        return _csv_rows(file, content)
    document = None if ending in {".jsonl", ".ndjson"} else _document(content)
    if document is None:
        return _lines(file, content)
    return ((f"row {number}", number, row) for number, row in enumerate(document, 1))


def _document(content: str) -> list[Any] | None:
    """The rows of a JSON document; None where it is none, as JSON lines are."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, dict):
        found = next((found[name] for name in _LISTS if name in found), None)
    return found if isinstance(found, list) else None


def _lines(file: Path, content: str) -> Iterator[tuple[str, int, Any]]:
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield f"line {number}", number, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(
                f"{file}, line {number}: {line[:60]!r} is not of the form "
                '{"problem": ..., "answer": ...}'
            ) from error


def _csv_rows(file: Path, content: str) -> Iterator[tuple[str, int, Any]]:
    reader = csv.DictReader(io.StringIO(content, newline=""), strict=True)
    try:
        for row in reader:
            whole = {name: value for name, value in row.items() if name is not None and value}
            yield f"line {reader.line_num}", reader.line_num, whole
    except csv.Error as error:
        place = f"line {reader.reader.line_num}"
        raise ConfigurationError(f"{file}, {place}: {error}") from error


def _told_apart(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """The problems with names of their own: numbers where names occur twice."""
    if len({problem.id for problem in problems}) == len(problems):
        return tuple(problems)
    return tuple(replace(problem, id=str(n)) for n, problem in enumerate(problems, 1))
