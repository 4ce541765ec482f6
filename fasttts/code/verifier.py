"""A verifier that runs programs: the score of a step is the share of shown tests that pass."""

import functools
import hashlib
import itertools
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future

from fasttts.code.processes import Cancellation
from fasttts.code.programs import STEP_JOIN, find_program, is_cut_in_code
from fasttts.code.runner import CodeRunner
from fasttts.code.tests import CodeTests
from fasttts.errors import BackendError, ConfigurationError
from fasttts.interfaces import Verification, VerificationRequest
from fasttts.types import Numerics
from fasttts.verifiers.async_scoring import AsyncScoring, finish

logger = logging.getLogger(__name__)


class CodeVerifier:
    """Scores a text by its program: runs it in a sandbox, beside the step loop.

    * A finished program scores the share of the tests that it passes.
    * Text without a program yet, and the beginning of one, scores `unfinished`; what can never
      become Python, or fails when its whole statements run, scores 0. Where the whole statements
      pass tests already, their share counts if it is more.

    Separators never cut fenced code into steps (`keep_code_blocks`), but `max_step_tokens` does,
    and steps have lost the white space around them. With `aggregation="model"` the verifier reads
    the text as it was written, which programs without fences need too.

    Args:
        tests: The shown tests: of all problems, or by the text of the problem.
        runner: Where programs run; None makes one in a sandbox, which this verifier closes.
        unfinished: Score of what may become a program, in [0, 1]. By default it is more than that
            of a program which passes no test, and less than that of most that pass some.

    Raises:
        ConfigurationError: There is no sandbox here, no test, or `unfinished` is outside [0, 1].
    """

    is_batched = False
    numerics: Numerics = "deterministic"

    def __init__(
        self,
        tests: CodeTests | Mapping[str, CodeTests],
        *,
        runner: CodeRunner | None = None,
        unfinished: float = 0.1,
    ) -> None:
        if not 0 <= unfinished <= 1:
            raise ConfigurationError(f"unfinished={unfinished}: give a score in [0, 1]")
        if not tests:
            raise ConfigurationError("tests={}: give the tests of each problem")
        self._tests = tests
        self._runner = runner or CodeRunner()
        self._is_own = runner is None
        self._unfinished = unfinished
        self._has_warned = False
        self._is_closed = False

    @property
    def name(self) -> str:
        """The kind of verifier, and where programs run."""
        return f"code({self._runner.sandbox.name})"

    @property
    def fingerprint(self) -> str:
        """The identity of tests, limits and sandbox."""
        tests = self._tests if isinstance(self._tests, CodeTests) else sorted(self._tests.items())
        digest = hashlib.sha256(repr(tests).encode()).hexdigest()
        return f"{self._runner.fingerprint} {self._unfinished!r} {digest}"

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        """Scores each request's unscored steps; see `interfaces.Verifier.score`.

        Raises:
            BackendError: There are no tests for a problem, or no process could be started.
        """
        return finish(self.score_async(requests))

    def score_async(self, requests: Sequence[VerificationRequest]) -> AsyncScoring:
        """`score` without blocking; a search that ends takes its processes with it.

        Raises:
            BackendError: As for `score`.
        """
        if self._is_closed:
            raise BackendError("the verifier is closed", role="verifier")
        asked = [[r.steps[:end] for end in _ends(r)] for r in requests]
        calls = self._runner.submit(
            [
                functools.partial(self._score, self._tests_of(request), steps)
                for request, beginnings in zip(requests, asked, strict=True)
                for steps in beginnings
            ]
        )
        try:
            scores = []
            for call, _ in calls:
                yield call
                scores.append(_result(call))
            rest = iter(scores)
            return [
                Verification(scores=tuple(itertools.islice(rest, len(beginnings))))
                for beginnings in asked
            ]
        finally:
            for call, cancellation in calls:
                call.cancel()
                cancellation.cancel()

    def close(self) -> None:
        """Ends the processes, where the runner is its own."""
        self._is_closed = True
        if self._is_own:
            self._runner.close()

    def _tests_of(self, request: VerificationRequest) -> CodeTests:
        if isinstance(self._tests, CodeTests):
            return self._tests
        try:
            return self._tests[request.problem]
        except KeyError:
            raise BackendError(
                f"there are no tests for the problem {request.problem!r:.200}: CodeVerifier(tests) "
                "needs them by the text of each problem",
                role="verifier",
            ) from None

    def _score(self, tests: CodeTests, steps: Sequence[str], cancellation: Cancellation) -> float:
        program = find_program(STEP_JOIN.join(steps), tests)
        if program is None:
            return self._unfinished
        if is_cut_in_code(steps):
            self._warn_of_cuts()
            share = self._runner.run(program.text, tests, cancellation=cancellation).share
            return max(self._unfinished, share)
        if program.is_finished:
            return self._runner.run(program.text, tests, cancellation=cancellation).share
        whole = self._runner.whole_part(program.text, cancellation=cancellation)
        if whole is None:
            return 0.0
        verdict = self._runner.run(whole, tests, cancellation=cancellation)
        return max(self._unfinished, verdict.share) if verdict.is_loaded else 0.0

    def _warn_of_cuts(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "a step ends inside fenced code, and what it scores may be wrong: let the verifier "
                "read the text as it was written with aggregation='model', or raise max_step_tokens"
            )


def _ends(request: VerificationRequest) -> range:
    return range(request.num_scored + 1, len(request.steps) + 1)


def _result(call: Future[float]) -> float:
    try:
        return call.result()
    except Exception as error:  # whatever broke the sandbox; what a program does is a result
        raise BackendError(
            f"a program could not be run: {type(error).__name__}: {error}", role="verifier"
        ) from error
