"""Reads problems and their answers from a file of JSON lines."""

import json
from pathlib import Path

from fasttts.cli.unicode_text import check_text
from fasttts.errors import ConfigurationError

Question = tuple[str, str | None]
"""A problem, and its answer where it is known."""


def read_questions(file: Path, count: int, *, needs_answers: bool) -> list[Question]:
    """Reads the first problems of a file.

    Args:
        file: A JSON object with "problem" and "answer" a line; blank lines do not count.
        count: Most problems to return.
        needs_answers: Whether each has to have an answer.

    Raises:
        ConfigurationError: There are none, or a line is not a problem.
    """
    try:
        lines = file.read_text(encoding="utf-8").split("\n")  # JSON may hold other ends of lines
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from error
    questions = [
        _question(file, number, line, needs_answers=needs_answers)
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not questions:
        raise ConfigurationError(f"{file} holds no problems")
    return questions[:count]


def _question(file: Path, number: int, line: str, *, needs_answers: bool) -> Question:
    try:
        found = json.loads(line)
        answer = found["answer"] if needs_answers else found.get("answer")
        problem = str(found["problem"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        form = '{"problem": ..., "answer": ...}' if needs_answers else '{"problem": ...}'
        raise ConfigurationError(
            f"{file}, line {number}: {line[:60]!r} is not of the form {form}"
        ) from error
    check_text(f"{problem}{answer}", f"{file}, line {number}")
    return problem, None if answer is None else str(answer)
