"""Programs as answers: what scores them in a search, what judges them, and how they vote."""

from collections.abc import Mapping, Sequence

from fasttts.answers.extraction import Extractor
from fasttts.code import Behaviour, CodeRunner, CodeTests, extract_program, judge_many
from fasttts.config import SearchConfig
from fasttts.errors import BackendError, ConfigurationError
from fasttts.evaluation.grading import AnswerJudge, Judge
from fasttts.evaluation.problems import Problem
from fasttts.types import Candidate

TESTS = "tests"
"""The name of the verifier that runs the shown tests of each problem."""


def has_programs(problems: Sequence[Problem]) -> bool:
    """Whether tests decide about answers to any of the problems."""
    return any(problem.tests is not None for problem in problems)


def shown_tests(problems: Sequence[Problem]) -> Mapping[str, CodeTests]:
    """The shown tests of problems by their texts, as `CodeVerifier` takes them.

    Args:
        problems: Problems about programs.

    Raises:
        ConfigurationError: A problem has none, or two problems of one text have different ones.
    """
    found: dict[str, CodeTests] = {}
    for problem in problems:
        if problem.shown is None:
            raise ConfigurationError(
                f"--verifier {TESTS}: problem {problem.id!r} has no tests that a search may use: "
                "give it shown_tests, or name another verifier"
            )
        if found.setdefault(problem.text, problem.shown) != problem.shown:
            raise ConfigurationError(
                f"--verifier {TESTS}: problem {problem.id!r} has the text of another problem, and "
                "other tests: tell them apart in their texts"
            )
    return found


class ProgramJudge:
    """Runs programs against the hidden tests of their problems; equal behaviour votes together.

    Programs behave equally where they give equal values on the inputs of the shown tests, or of the
    hidden ones where there are no others; expected values are not looked at. Where the tests name
    no inputs, programs of equal text vote together.

    Args:
        runner: Where programs run; belongs to the caller.
        others: Decides about problems without tests.
    """

    def __init__(self, runner: CodeRunner, others: Judge | None = None) -> None:
        self._runner = runner
        self._others = others or AnswerJudge()

    @property
    def name(self) -> str:
        """Where programs run and within which limits, and the judge of other problems."""
        return f"{self._runner.fingerprint}, {self._others.name}"

    def extractor(self, problem: Problem, config: SearchConfig) -> Extractor | None:
        """Finds the program in a text, or the name of its behaviour where the search votes.

        Args:
            problem: The problem.
            config: The search.
        """
        if problem.tests is None:
            return self._others.extractor(problem, config)
        if config.selection in ("majority", "weighted"):
            return self._voter(problem, problem.tests)
        return _ProgramText(problem.tests)

    def answers(self, problem: Problem, candidates: Sequence[Candidate]) -> Sequence[str | None]:
        """The programs in candidates' texts.

        Args:
            problem: The problem.
            candidates: The candidates.
        """
        if problem.tests is None:
            return self._others.answers(problem, candidates)
        return [extract_program(candidate.text, problem.tests) for candidate in candidates]

    def right(self, problem: Problem, candidates: Sequence[Candidate]) -> Sequence[bool]:
        """Those that pass all hidden tests.

        Args:
            problem: The problem.
            candidates: The candidates.

        Raises:
            BackendError: A program could not be run.
        """
        if problem.tests is None:
            return self._others.right(problem, candidates)
        texts = [candidate.text for candidate in candidates]
        try:
            found = judge_many(texts, [problem.tests] * len(texts), runner=self._runner)
        except OSError as error:
            raise BackendError(f"a program could not be run: {error}", role="verifier") from error
        return [verdict.is_right for verdict in found]

    def groups(self, problem: Problem, candidates: Sequence[Candidate]) -> Sequence[Sequence[int]]:
        """Programs that behave equally.

        Args:
            problem: The problem.
            candidates: The candidates.

        Raises:
            BackendError: A program could not be run.
        """
        if problem.tests is None:
            return self._others.groups(problem, candidates)
        voter = self._voter(problem, problem.tests)
        texts = [candidate.text for candidate in candidates]
        groups: dict[str, list[int]] = {}
        try:
            if isinstance(voter, Behaviour):
                voter.look_ahead(texts)
            for index, text in enumerate(texts):
                if (name := voter(text)) is not None:
                    groups.setdefault(name, []).append(index)
        except OSError as error:
            raise BackendError(f"a program could not be run: {error}", role="verifier") from error
        return list(groups.values())

    def _voter(self, problem: Problem, tests: CodeTests) -> Extractor:
        for given in (problem.shown, tests):
            if given is not None and given.calls():
                return Behaviour(given, runner=self._runner)
        return _ProgramText(tests)


class _ProgramText:
    """Finds the program in a text.

    Args:
        tests: What it is for.
    """

    def __init__(self, tests: CodeTests) -> None:
        self._tests = tests

    def __call__(self, text: str) -> str | None:
        """The program; None where there is none."""
        return extract_program(text, self._tests)
