"""Problems with known answers, or with tests for programs, wherever they come from."""

import hashlib
import json
from dataclasses import asdict, dataclass

from fasttts.code import CodeTests


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A problem to solve.

    Attributes:
        id: Its name in its file or data set, else its number.
        text: What the model is asked.
        answer: The known answer; None where it is not known, or tests decide.
        tests: Hidden tests that decide about a program; None where the answer is no program.
        shown: Tests that the text shows, or that a search may use; None where there are none.
    """

    id: str
    text: str
    answer: str | None = None
    tests: CodeTests | None = None
    shown: CodeTests | None = None


def digest(problems: tuple[Problem, ...]) -> str:
    """A fingerprint of problems, their order included."""
    text = json.dumps([asdict(problem) for problem in problems], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
