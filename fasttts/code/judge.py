"""Whether final answers that are programs are right, and which of them do the same."""

import functools
import hashlib
from collections.abc import Sequence

from fasttts.code.processes import Cancellation
from fasttts.code.programs import extract_program
from fasttts.code.runner import CodeRunner, Verdict
from fasttts.code.tests import CodeTests
from fasttts.errors import ConfigurationError

_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")


def judge(text: str, tests: CodeTests, *, runner: CodeRunner) -> Verdict:
    """Runs the program in a text against tests.

    Args:
        text: The answer of a model; one without a program passes no test.
        tests: The tests, hidden ones for an evaluation.
        runner: Where it runs.
    """
    return _judge(text, tests, runner, None)


def judge_many(
    texts: Sequence[str], tests: Sequence[CodeTests], *, runner: CodeRunner
) -> list[Verdict]:
    """Judges texts, as many at a time as the runner has places; in their order.

    Args:
        texts: Answers of a model.
        tests: The tests of each.
        runner: Where they run.
    """
    pairs = zip(texts, tests, strict=True)
    calls = runner.submit([functools.partial(_judge, text, each, runner) for text, each in pairs])
    try:
        return [call.result() for call, _ in calls]
    finally:
        for call, cancellation in calls:
            call.cancel()
            cancellation.cancel()


def _judge(
    text: str, tests: CodeTests, runner: CodeRunner, cancellation: Cancellation | None
) -> Verdict:
    program = extract_program(text, tests)
    if program is None:
        problem = "there is no program in the text"
        return Verdict(num_passed=0, num_tests=len(tests.tests), problem=problem, is_loaded=False)
    return runner.run(program, tests, cancellation=cancellation)


class Behaviour:
    """Finds answers that are equal where programs do the same: an `extract` for searches.

    An answer is a name for what calls of the program give; programs of different texts that give
    equal values, or raise exceptions of the same names, have the same one. A text without a
    program, and a program that no call gets a value of, has none.

    Args:
        tests: Whose names and setup the calls use. Their expected values are not used.
        runner: Where programs run.
        calls: Expressions, such as `add(1, 2)`; None takes the calls with constant arguments that
            stand in the tests.

    Raises:
        ConfigurationError: There are no calls.
    """

    def __init__(
        self, tests: CodeTests, *, runner: CodeRunner, calls: Sequence[str] | None = None
    ) -> None:
        self._tests = tests
        self._runner = runner
        self._calls = tuple(tests.calls() if calls is None else calls)
        if not self._calls:
            raise ConfigurationError(
                "calls=[]: behaviour is what calls give; the tests have none with constant "
                "arguments, so name some"
            )

    @property
    def fingerprint(self) -> str:
        """The identity of what decides about equality."""
        return f"behaviour {self._calls} {self._tests!r} {self._runner.fingerprint}"

    def look_ahead(self, texts: Sequence[str]) -> None:
        """Runs the programs of many texts at once, whose values the runner keeps.

        Args:
            texts: Texts of which the names are going to be asked for.
        """
        calls = self._runner.submit([functools.partial(self._name, text) for text in texts])
        try:
            for call, _ in calls:
                call.exception()  # waits; it is raised where the name is asked for
        finally:
            for call, cancellation in calls:
                call.cancel()
                cancellation.cancel()

    def __call__(self, text: str) -> str | None:
        """The name of what the program in a text does."""
        return self._name(text, None)

    def _name(self, text: str, cancellation: Cancellation | None) -> str | None:
        program = extract_program(text, self._tests)
        if program is None:
            return None
        found = self._runner.behaviour(program, self._tests, self._calls, cancellation=cancellation)
        if found is None:
            return None
        # Letters alone: nothing that the equality of answers could take for mathematics.
        digest = hashlib.sha256(repr(found).encode()).hexdigest()[:32]
        return f"behaviour {digest.translate(_LETTERS)}"
