"""The verifier of programs: its scores, its place beside the loop, and a search with it."""

import itertools
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fasttts import BackendError, ConfigurationError, FastTTS
from fasttts.backends.fake import FakeGenerator
from fasttts.code import Behaviour, CodeRunner, CodeVerifier, call_tests, judge
from fasttts.interfaces import GenerationRequest, VerificationRequest
from fasttts.verifiers import Gate, Mean
from fasttts.verifiers.resolve import is_batched

SHOWN = call_tests("add", [((1, 2), 3), ((2, 2), 4), ((0, 0), 0), ((5, 5), 10)])
HIDDEN = call_tests("add", [((-7, 9), 2), ((100, 1), 101)])
PROBLEM = "Write a function add of two numbers."
UNFINISHED = 0.1


def scores(verifier: Any, *steps: str, num_scored: int = 0) -> tuple[float, ...]:
    request = VerificationRequest(problem=PROBLEM, steps=steps, num_scored=num_scored)
    (found,) = verifier.score([request])
    assert isinstance(found.scores, tuple)
    return found.scores


def fenced(code: str, end: str = "\n```") -> str:
    return f"```python\n{code}{end}"


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (["Let me think."], [UNFINISHED]),
        (["Let me think.", fenced("def add(a, b):\n    return a + b")], [UNFINISHED, 1.0]),
        ([fenced("def add(a, b):\n    return a * b"), "Done."], [0.5, 0.5]),
        ([fenced("def add(a, b):\n\n    return a - b")], [0.25]),
        ([fenced("def add(a, b) return a")], [0.0]),
        ([fenced("def add(a, b):\n    return", end="")], [UNFINISHED]),
        ([fenced("import nothing_of_that_name\ndef ad", end="")], [0.0]),
        ([fenced("def add(a, b):\n    return a +\n    b = ", end="")], [0.0]),
        ([fenced("def add(a, b):\n    return a * b\n\ndef main(", end="")], [0.5]),
        ([fenced("def add(a, b):\n    return a - 9\n\ndef main(", end="")], [UNFINISHED]),
        ([fenced("def add(a, b):\n    while True: pass")], [0.0]),
    ],
)
def test_scores(code_runner: CodeRunner, steps: Sequence[str], expected: Sequence[float]) -> None:
    verifier = CodeVerifier(SHOWN, runner=code_runner)
    assert list(scores(verifier, *steps)) == expected
    assert list(scores(verifier, *steps, num_scored=len(steps) - 1)) == expected[-1:]


@pytest.mark.sandbox
def test_a_step_that_ends_in_code_is_no_mistake_of_the_program(
    code_runner: CodeRunner, caplog: pytest.LogCaptureFixture
) -> None:
    verifier = CodeVerifier(SHOWN, runner=code_runner)
    cut = [fenced("def add(a, b):\n    return a", end=""), "+ b\n```"]
    assert scores(verifier, *cut) == (0.25, UNFINISHED)
    assert scores(verifier, *cut, "It adds.")[-1] == UNFINISHED
    assert scores(verifier, "".join(cut)) == (1.0,)
    assert [record.message.count("aggregation='model'") for record in caplog.records] == [1]


@pytest.mark.sandbox
def test_a_closed_verifier_refuses(code_runner: CodeRunner) -> None:
    verifier = CodeVerifier(SHOWN, runner=CodeRunner(sandbox=code_runner.sandbox))
    verifier.close()
    with pytest.raises(BackendError, match="closed"):
        scores(verifier, "x")


@pytest.mark.sandbox
def test_in_combinations(code_runner: CodeRunner) -> None:
    verifier = CodeVerifier(SHOWN, runner=code_runner)
    program = fenced("def add(a, b):\n    return a * b")

    def short(problem: str, steps: tuple[str, ...]) -> float:
        return 1.0

    assert scores(Mean(verifier, short), "Well.", program) == (0.55, 0.75)
    assert scores(Gate(verifier, short, threshold=0.5), "Well.", program) == (0.1, 1.0)
    assert not is_batched(Mean(verifier, short))


@pytest.mark.sandbox
def test_tests_by_problem(code_runner: CodeRunner) -> None:
    verifier = CodeVerifier({PROBLEM: SHOWN}, runner=code_runner)
    assert scores(verifier, fenced("def add(a, b):\n    return a + b")) == (1.0,)
    request = VerificationRequest(problem="Another.", steps=("x",))
    with pytest.raises(BackendError, match=r"no tests for the problem 'Another\.'"):
        verifier.score([request])


@pytest.mark.sandbox
def test_fingerprints_follow_the_tests(code_runner: CodeRunner) -> None:
    made = [CodeVerifier(tests, runner=code_runner) for tests in (SHOWN, SHOWN, HIDDEN)]
    made.append(CodeVerifier({"a": SHOWN}, runner=code_runner))
    first, second, third, fourth = (verifier.fingerprint for verifier in made)
    assert first == second
    assert len({first, third, fourth}) == 3
    assert made[0].name == "code(bubblewrap)"


@pytest.mark.parametrize(
    ("options", "message"),
    [({"unfinished": 2}, "unfinished=2"), ({"tests": {}}, "tests")],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with CodeRunner(sandbox="none") as runner, pytest.raises(ConfigurationError, match=message):
        CodeVerifier(**{"tests": SHOWN, "runner": runner, **options})


def children() -> set[str]:
    """Processes that this one has started."""
    return {
        each
        for thread in Path("/proc/self/task").iterdir()
        for each in (thread / "children").read_text().split()
    }


@pytest.mark.sandbox
def test_a_search_that_ends_takes_its_processes_along(code_runner: CodeRunner) -> None:
    before = children()
    with CodeRunner(sandbox=code_runner.sandbox) as runner:
        verifier = CodeVerifier(SHOWN, runner=runner)
        sleeps = "import time\ntime.sleep({})\ndef add(a, b):\n    return 0"
        requests = [
            VerificationRequest(problem=PROBLEM, steps=(fenced(sleeps.format(100 + number)),))
            for number in range(6)
        ]
        flow = verifier.score_async(requests)
        assert not next(flow).done()
        deadline = time.monotonic() + 30
        while not children() - before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert children() - before
        flow.close()
        while children() - before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert children() - before == set()


@pytest.mark.sandbox
def test_many_run_at_once(code_runner: CodeRunner) -> None:
    with CodeRunner(sandbox=code_runner.sandbox, num_parallel=8) as runner:
        verifier = CodeVerifier(SHOWN, runner=runner)
        program = "import time\ntime.sleep(1)\ndef add(a, b):\n    return a + b + {}"
        started = time.monotonic()
        found = verifier.score(
            [
                VerificationRequest(problem=PROBLEM, steps=(fenced(program.format(number)),))
                for number in range(8)
            ]
        )
        assert time.monotonic() - started < 8
    assert [one.scores[0] for one in found] == [1.0, *[0.0] * 7]


class Writer(FakeGenerator):
    """Writes one of several texts: for each sequence one that goes on as it has begun."""

    def __init__(self, texts: Sequence[str]) -> None:
        super().__init__(self._write, max_model_len=8192)
        self._texts = texts
        self._turns = itertools.count()
        self._begun = ""

    def add(self, request: GenerationRequest) -> None:
        text = self.tokenizer.decode(request.prompt_token_ids)
        self._begun = text.rpartition("assistant: ")[2]
        super().add(request)

    def _write(self, prompt: str) -> str | None:
        fitting = [text for text in self._texts if text.startswith(self._begun)]
        return fitting[next(self._turns) % len(fitting)] if fitting else None


TEXTS = [
    "I add.\n\n" + fenced("def add(a, b):\n\n    return a * b"),
    "I add.\n\n" + fenced("def add(a, b):\n\n    return a + b") + "\n\nIt adds.",
    "I add.\n\n" + fenced("def add(a, b):\n\n    return b + a\n\n\nadd(1, 2)"),
    "I add.\n\n" + fenced("def add(a, b)\n\n    return a + b"),
]


@pytest.mark.sandbox
@pytest.mark.parametrize("aggregation", ["last", "model"])
def test_a_beam_search_finds_the_program(code_runner: CodeRunner, aggregation: str) -> None:
    verifier = CodeVerifier({PROBLEM: SHOWN}, runner=code_runner)
    with FastTTS(Writer(TEXTS), verifier) as engine:
        result = engine.search(
            PROBLEM, search="beam_search", n=4, beam_width=4, aggregation=aggregation
        )
    assert result.score == 1.0
    assert judge(result.text, HIDDEN, runner=code_runner).is_right
    steps = [step.text for step in result.candidates[0].steps]
    assert steps[0] == "I add."
    assert steps[1].startswith("```python\n")  # a block with blank lines is one step
    assert steps[1].endswith("\n```")


@pytest.mark.sandbox
@pytest.mark.parametrize("search", ["best_of_n", "self_consistency"])
def test_votes_go_by_behaviour(code_runner: CodeRunner, search: str) -> None:
    behaviour = Behaviour(SHOWN, runner=code_runner)
    with FastTTS(Writer(TEXTS)) as engine:
        result = engine.search(PROBLEM, search=search, n=4, extract=behaviour)
    assert judge(result.text, HIDDEN, runner=code_runner).is_right
    assert result.votes[0].weight == 2


def test_without_a_sandbox_it_refuses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"not installed.*sandbox='none' runs.*your"):
        CodeVerifier(SHOWN)
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho 'no namespaces for you' >&2; exit 1\n")
    os.chmod(tmp_path / "bwrap", 0o755)
    with pytest.raises(ConfigurationError, match=r"does not work here \(no namespaces for you\)"):
        CodeVerifier(SHOWN)
