"""Problems with known answers, or with tests for programs, wherever they come from."""

import hashlib
import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeTests:
    """Tests of a problem whose answer is a Python program; each is Python that raises if it fails.

    Attributes:
        entry_point: The function to write; None where the tests name it themselves.
        setup: Python that runs before the program, such as imports.
        shown: Tests that the problem's text shows, or that a search may use.
        hidden: Tests that decide whether the answer is right.
    """

    entry_point: str | None
    setup: str
    shown: tuple[str, ...]
    hidden: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A problem to solve.

    Attributes:
        id: Its name in its file or data set, else its number.
        text: What the model is asked.
        answer: The known answer; None where it is not known, or tests decide.
        tests: The tests of a program; None where the answer is no program.
    """

    id: str
    text: str
    answer: str | None = None
    tests: CodeTests | None = None


def digest(problems: tuple[Problem, ...]) -> str:
    """A fingerprint of problems, their order included."""
    text = json.dumps([asdict(problem) for problem in problems], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
