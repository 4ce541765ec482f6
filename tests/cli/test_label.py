"""`fasttts label` on fake models: killed and continued, programs, mistakes."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator
from fasttts.evaluation import Journal, load_problems
from fasttts.prm import read_labels
from tests.engines import OpenWith
from tests.searches import UNTIMED

Run = Callable[..., Result]

NUM_PROBLEMS = 4
COMMAND = ("label", "demo", "--num-problems", str(NUM_PROBLEMS), "--max-tokens", "120")
COMMAND += ("--rollouts", "3", "--continuations", "3")

KILLED = """
import sys
from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator
from tests.killing import run_until_done

generator = FakeGenerator()
FastTTS.from_config = lambda settings: FastTTS(generator)
run_until_done(generator, sys.argv[1:], shortest=40, longest=500)
"""


@pytest.fixture
def engines(run: Run, open_with: OpenWith) -> list[FastTTS]:
    """Lets the command line load a fake generator; the engines it was given."""
    engines: list[FastTTS] = []

    def open_engine(settings: object) -> FastTTS:
        assert getattr(settings, "verifier", "") is None, "labels need no verifier"
        engines.append(FastTTS(FakeGenerator(), scheduling=UNTIMED))
        return engines[-1]

    open_with(open_engine)
    return engines


def header_and_records(file: Path) -> tuple[Any, list[dict[str, Any]]]:
    """The header, and the records in order, without the cost of their runs."""
    header, *records = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    for record in records:
        assert record.pop("run")["generated_tokens"] > 0
    return header, sorted(records, key=lambda record: record["index"])


def test_a_labelling_that_is_killed_continues(
    run: Run, engines: list[FastTTS], tmp_path: Path
) -> None:
    """Kills at random iterations; the file ends up as that of a run without kills."""
    killed, whole = tmp_path / "killed.jsonl", tmp_path / "whole.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *COMMAND, "--in-flight", "1", "--output", str(killed)],
        capture_output=True,
        check=True,
        text=True,
        timeout=100,
    )
    statuses = json.loads(done.stderr.splitlines()[-1])
    assert statuses[-1] == 0, done.stderr
    assert len(statuses) > 2
    assert set(statuses[:-1]) == {-signal.SIGKILL}
    assert run(*COMMAND, "--output", str(whole)).exit_code == 0
    assert header_and_records(killed) == header_and_records(whole)
    assert [record.index for record in read_labels(killed)] == list(range(NUM_PROBLEMS))


def test_what_is_done_is_not_done_again(run: Run, engines: list[FastTTS], tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    first = run(*COMMAND, "--output", str(file))
    assert first.exit_code == 0, first.output
    assert "labels of 4 of 4 problems" in first.stdout
    content, num_engines = file.read_bytes(), len(engines)
    again = run(*COMMAND, "--output", str(file), "--json")
    assert (again.exit_code, len(engines), file.read_bytes()) == (0, num_engines, content)
    summary = json.loads(again.stdout)
    assert (summary["num_done"], summary["num_rollouts"]) == (NUM_PROBLEMS, 3 * NUM_PROBLEMS)
    other = run(*COMMAND, "--seed", "1", "--labels", "hard", "--output", str(file))
    assert other.exit_code == 2
    assert "of another labelling" in other.stderr
    assert 'labels was "soft" and is "hard"' in other.stderr
    evaluated = run("eval", "demo", "--methods", "greedy", "--output", str(file))
    assert "no file of an evaluation" in evaluated.stderr


def test_a_limit_ends_the_run_and_the_same_command_continues(
    run: Run, engines: list[FastTTS], tmp_path: Path
) -> None:
    file = tmp_path / "labels.jsonl"
    limited = run(*COMMAND, "--max-seconds", "1e-9", "--output", str(file))
    assert limited.exit_code == 0, limited.output
    assert "stopped at its limit after 0 of 4 problems" in limited.stderr
    assert run(*COMMAND, "--output", str(file)).exit_code == 0
    assert len(read_labels(file)) == NUM_PROBLEMS


def test_problems_are_not_those_of_the_evaluation(
    run: Run, engines: list[FastTTS], tmp_path: Path
) -> None:
    assert run(*COMMAND, "--output", str(tmp_path / "labels.jsonl")).exit_code == 0
    texts = {record.text for record in read_labels(tmp_path / "labels.jsonl")}
    assert not texts & {problem.text for problem in load_problems("demo", count=50).problems}


def test_tests_decide_about_programs(run: Run, open_with: OpenWith, tmp_path: Path) -> None:
    """A program is right where it passes its hidden tests; no sandbox is needed to see that."""
    problems = [
        {
            "problem": f"Write {name}(x).",
            "entry_point": name,
            "hidden_tests": [f"assert {name}(4) == 8"],
        }
        for name in ("double", "wrong")
    ]
    file = tmp_path / "programs.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in problems), encoding="utf-8")

    def script(prompt: str) -> str:
        name, factor = ("double", 2) if "double" in prompt else ("wrong", 3)
        return f"Let me think.\n\n```python\ndef {name}(x):\n    return {factor} * x\n```\n"

    open_with(lambda settings: FastTTS(FakeGenerator(script), scheduling=UNTIMED))
    labels = tmp_path / "labels.jsonl"
    sizes = ("--rollouts", "2", "--continuations", "3")
    done = run("label", str(file), *sizes, "--sandbox", "none", "--output", str(labels))
    assert done.exit_code == 0, done.output
    right, wrong = read_labels(labels)
    assert [rollout.is_right for rollout in (*right.rollouts, *wrong.rollouts)] == [
        *[True] * 2,
        *[False] * 2,
    ]
    assert {step.hard for rollout in right.rollouts for step in rollout.steps} == {True}
    assert {step.soft for rollout in wrong.rollouts for step in rollout.steps} == {0.0}


def test_ctrl_c_keeps_what_is_done(run: Run, open_with: OpenWith, tmp_path: Path) -> None:
    append, file, written = Journal.append, tmp_path / "labels.jsonl", list[Any]()

    def interrupted(journal: Any, record: Any) -> None:
        if written:
            raise KeyboardInterrupt  # as the handler of SIGINT does, where it is not ignored
        append(journal, record)
        written.append(record)

    open_with(lambda settings: FastTTS(FakeGenerator(), scheduling=UNTIMED))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "append", interrupted)
        done = run(*COMMAND, "--in-flight", "1", "--output", str(file))
    assert done.exit_code == 130
    assert "interrupted after 1 of 4 problems; the same command continues from" in done.stderr
    assert run(*COMMAND, "--in-flight", "1", "--output", str(file)).exit_code == 0
    assert [record.index for record in read_labels(file)] == list(range(NUM_PROBLEMS))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rollouts", "0"), "--rollouts 0: at least 1"),
        (("--continuations", "0"), "--continuations 0: at least 1"),
        (("--labels", "sofd"), "--labels sofd: did you mean 'soft'?"),
        (("--temperature", "0"), "rollouts have to differ"),
        (("--in-flight", "0"), "--in-flight 0: at least 1"),
        (("--max-seconds", "0"), "--max-seconds 0.0: a number of seconds above 0"),
        (("--output", "absent/file.jsonl"), "--output absent/file.jsonl: "),
        (("--num-problems", "0"), "--num-problems 0: at least 1"),
    ],
)
def test_mistakes_are_told_before_models_are_loaded(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = run(*COMMAND, "--output", str(tmp_path / "labels.jsonl"), *arguments)
    assert done.exit_code == 2
    assert message in done.stderr


def test_files_that_cannot_be_continued_are_refused(
    run: Run, engines: list[FastTTS], tmp_path: Path
) -> None:
    """A device that never ends, and a file of a version to come; before a model is loaded."""
    file = tmp_path / "labels.jsonl"
    assert run(*COMMAND, "--output", str(file), "--max-seconds", "1e-9").exit_code == 0
    newer = file.read_text("utf-8").replace('"version": 1', '"version": 7')
    file.write_text(newer, encoding="utf-8")
    engines.clear()
    for output, message in (("/dev/zero", "is a device"), (str(file), "this FastTTS reads")):
        done = run(*COMMAND, "--output", output)
        assert done.exit_code == 2, done.output
        assert message in " ".join(done.stderr.split())
    assert file.read_text("utf-8") == newer
    assert not engines
