"""`fasttts eval` on problems about programs: where they run, what scores and what judges them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import cast

from fasttts.code import CodeRunner, CodeVerifier
from fasttts.code.sandbox import SandboxName, check_sandbox_name
from fasttts.config import EngineConfig
from fasttts.errors import ConfigurationError
from fasttts.evaluation import TESTS, ProblemSet, ProgramJudge, has_programs, shown_tests
from fasttts.interfaces import Verifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Problems with their judge, and the verifier that runs their tests.

    Attributes:
        problems: The problems, with a judge that runs programs where there are any.
        verifier: In place of the verifier that the engine's options name; None for that one.
    """

    problems: ProblemSet
    verifier: Verifier | None


@contextmanager
def open_programs(problems: ProblemSet, settings: EngineConfig, sandbox: str) -> Iterator[Programs]:
    """Lets programs run while the body does; problems without programs need nothing.

    Judging and scoring do not wait for each other: each has as many places as there are cores.

    Args:
        problems: The problems.
        settings: Whose verifier may be "tests".
        sandbox: Name of the sandbox.

    Raises:
        ConfigurationError: Programs cannot be run here, or the tests to score with are missing.
    """
    is_scored = settings.verifier == TESTS
    check_sandbox_name(sandbox)
    if not has_programs(problems.problems):
        if is_scored:
            raise ConfigurationError(
                f"--verifier {TESTS}: {problems.name} has no problems about programs; name a "
                "model, 'judge' or module:function"
            )
        if sandbox != "auto":
            raise ConfigurationError(
                f"--sandbox is about programs, so it does not go with {problems.name}"
            )
        yield Programs(problems=problems, verifier=None)
        return
    shown = shown_tests(problems.problems) if is_scored else {}
    name = cast(SandboxName, sandbox)
    with CodeRunner(sandbox=name) as judging, CodeRunner(sandbox=name) as scoring:
        yield Programs(
            problems=replace(problems, judge=ProgramJudge(judging, problems.judge)),
            verifier=CodeVerifier(shown, runner=scoring) if is_scored else None,
        )
