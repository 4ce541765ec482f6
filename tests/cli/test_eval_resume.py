"""`fasttts eval --output`: killed, interrupted or limited, and continued."""

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
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.evaluation import Journal, Record
from tests.engines import OpenWith
from tests.searches import UNTIMED

Run = Callable[..., Result]

METHODS = ("greedy", "majority", "best_of_n", "beam_search")
NUM_PROBLEMS = 6
COMMAND = ("eval", "demo", "--num-problems", str(NUM_PROBLEMS), "-n", "4", "--max-tokens", "200")

KILLED = """
import sys
from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from tests.killing import run_until_done

generator = FakeGenerator()
FastTTS.from_config = lambda settings: FastTTS(generator, FakeVerifier())
run_until_done(generator, sys.argv[1:], shortest=20, longest=400)
"""


def header_and_records(file: Path) -> tuple[Any, list[dict[str, Any]]]:
    """The header, and the records in an order of their own, without the cost of their runs."""
    header, *records = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    for record in records:
        assert record.pop("run")["generated_tokens"] >= 0
    return header, sorted(records, key=lambda record: (record["method"], record["index"]))


@pytest.fixture
def whole(run: Run, engines: list[FastTTS], tmp_path: Path) -> Path:
    """The file of an evaluation that nothing has stopped."""
    file = tmp_path / "whole.jsonl"
    done = run(*COMMAND, "--output", str(file))
    assert done.exit_code == 0, done.output
    return file


def test_an_evaluation_that_is_killed_continues(
    run: Run, open_with: OpenWith, tmp_path: Path
) -> None:
    """Kills at random iterations; the file ends up as that of a run without kills."""
    killed, whole = tmp_path / "killed.jsonl", tmp_path / "whole.jsonl"
    command = [*COMMAND, "--in-flight", "2", "--output", str(killed)]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *command],
        capture_output=True,
        check=True,
        text=True,
        timeout=100,
    )
    statuses = json.loads(done.stderr.splitlines()[-1])
    assert statuses[-1] == 0, done.stderr
    assert len(statuses) > 5
    assert set(statuses[:-1]) == {-signal.SIGKILL}

    open_with(lambda _: FastTTS(FakeGenerator(), FakeVerifier()))
    assert run(*COMMAND, "--output", str(whole)).exit_code == 0
    header, records = header_and_records(killed)
    assert (header, records) == header_and_records(whole)
    found = [(record["method"], record["index"]) for record in records]
    assert found == sorted((method, index) for method in METHODS for index in range(NUM_PROBLEMS))


def test_a_line_in_part_is_done_again(
    run: Run, engines: list[FastTTS], whole: Path, tmp_path: Path
) -> None:
    content = whole.read_bytes()
    lines = content.splitlines(keepends=True)
    expected = header_and_records(whole)
    for end in (0, 10, len(lines[0]) - 1, len(lines[0]), len(content) - 1, len(content) - 700):
        file = tmp_path / f"cut-{end}.jsonl"
        file.write_bytes(content[:end])
        assert run(*COMMAND, "--output", str(file)).exit_code == 0
        assert header_and_records(file) == expected, end


def test_what_is_done_is_not_loaded_for_again(
    run: Run, engines: list[FastTTS], whole: Path
) -> None:
    num_engines, content = len(engines), whole.read_bytes()
    again = run(*COMMAND, "--output", str(whole), "--json")
    assert again.exit_code == 0
    assert len(engines) == num_engines
    assert whole.read_bytes() == content
    assert json.loads(again.stdout)["is_complete"]


CHANGES = {
    ("-n", "8"): ["methods.beam_search.n was 4 and is 8", "methods.majority.n was 4 and is 8"],
    ("--seed", "1"): ["methods.greedy.seed was 0 and is 1", "problems.digest was"],
    ("--num-problems", "7"): ["problems.num was 6 and is 7"],
    ("--system", "Be brief."): ['system was null and is "Be brief."'],
    ("--generator", "some/model", "--verifier", "judge"): ['engine.generator was "demo"'],
    ("--methods", "greedy"): ["methods.beam_search was {"],
}


def test_another_evaluation_does_not_continue(
    run: Run, engines: list[FastTTS], whole: Path
) -> None:
    num_engines, content = len(engines), whole.read_bytes()
    for changes, names in CHANGES.items():
        done = run(*COMMAND, *changes, "--output", str(whole))
        assert done.exit_code == 2
        assert [name for name in names if name not in done.stderr] == []
    assert len(engines) == num_engines
    assert whole.read_bytes() == content


@pytest.mark.parametrize("content", ['{"problem": "1 + 1?", "answer": 2}\n', "notes", "[]\n"])
def test_files_of_others_are_left_alone(run: Run, tmp_path: Path, content: str) -> None:
    file = tmp_path / "problems.jsonl"
    file.write_text(content, encoding="utf-8")
    done = run(*COMMAND, "--output", str(file))
    assert done.exit_code == 2
    assert "no file of an evaluation" in done.stderr
    assert file.read_text(encoding="utf-8") == content


def test_a_damaged_line_is_named(run: Run, engines: list[FastTTS], whole: Path) -> None:
    lines = whole.read_text(encoding="utf-8").splitlines(keepends=True)
    lines[2] = lines[2].replace('"verdict"', '"verdigt"')
    whole.write_text("".join(lines), encoding="utf-8")
    done = run(*COMMAND, "--output", str(whole))
    assert done.exit_code == 2
    assert "line 3" in done.stderr


def test_two_processes_do_not_write_to_one_file(
    run: Run, engines: list[FastTTS], whole: Path
) -> None:
    program = (
        "import fcntl, sys\n"
        "file = open(sys.argv[1], 'ab')\n"
        "fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(whole)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        done = run(*COMMAND, "--output", str(whole))
    assert done.exit_code == 2
    assert "another process writes to it" in done.stderr


def test_ctrl_c_shows_what_is_done_and_keeps_it(
    run: Run, open_with: OpenWith, whole: Path, tmp_path: Path
) -> None:
    file = tmp_path / "interrupted.jsonl"
    command = (*COMMAND, "--in-flight", "1", "--output", str(file))
    append, written = Journal.append, []

    def interrupted(journal: Journal, record: Record) -> None:
        append(journal, record)
        written.append(record)
        if len(written) == NUM_PROBLEMS:
            raise KeyboardInterrupt  # as the handler of SIGINT does, where it is not ignored

    open_with(lambda _: FastTTS(FakeGenerator(), FakeVerifier(), scheduling=UNTIMED))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "append", interrupted)
        done = run(*command)
    assert done.exit_code == 130
    assert done.stdout.startswith("6 problems, seed 0, not all of them done")
    assert "the same command continues from" in done.stderr
    assert "fasttts: interrupted" in done.stderr
    num_done = len(file.read_text("utf-8").splitlines()) - 1
    assert 0 < num_done < NUM_PROBLEMS * len(METHODS)
    open_with(lambda _: FastTTS(FakeGenerator(), FakeVerifier(), scheduling=UNTIMED))
    assert run(*command).exit_code == 0
    _, records = header_and_records(file)
    assert len(records) == NUM_PROBLEMS * len(METHODS)


@pytest.mark.parametrize("limit", [("--max-tokens-total", "2000"), ("--max-seconds", "0.2")])
def test_a_limit_ends_the_run_and_the_same_command_continues(
    run: Run, engines: list[FastTTS], whole: Path, tmp_path: Path, limit: tuple[str, ...]
) -> None:
    file = tmp_path / "limited.jsonl"
    counts = []
    for _ in range(200):
        done = run(*COMMAND, *limit, "--in-flight", "2", "--json", "--output", str(file))
        assert done.exit_code == 0, done.output
        document = json.loads(done.stdout)
        counts.append(sum(row["num_problems"] for row in document["rows"]))
        if document["is_complete"]:
            break
        assert "stopped at its limit after" in done.stderr
    assert counts[-1] == NUM_PROBLEMS * len(METHODS)
    assert len(counts) > 1
    assert counts == sorted(counts)
    assert header_and_records(file) == header_and_records(whole)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--max-seconds", "0"), "--max-seconds 0.0: a number of seconds above 0"),
        (("--max-tokens-total", "0"), "--max-tokens-total 0: at least 1"),
        (("--in-flight", "0"), "--in-flight 0: at least 1"),
        (("--output", "absent/file.jsonl"), "--output absent/file.jsonl: "),
    ],
)
def test_mistakes_are_told_before_models_are_loaded(
    run: Run, arguments: tuple[str, ...], message: str
) -> None:
    done = run(*COMMAND, *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
