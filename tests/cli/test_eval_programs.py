"""`fasttts eval` on problems whose answers are programs, which run in the sandbox."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from fasttts import EngineConfig, FastTTS
from fasttts.demo.programs import generate_program_problems
from fasttts.interfaces import Verifier
from tests.code_problems import HUMANEVAL, MBPP, WRONG
from tests.engines import OpenWith
from tests.program_writer import ProgramWriter, fenced
from tests.searches import UNTIMED

Run = Callable[..., Result]
Records = Mapping[tuple[str, int], dict[str, Any]]

METHODS = ("greedy", "majority", "best_of_n", "beam_search")
SHRUG = "I do not know."

pytestmark = [pytest.mark.sandbox, pytest.mark.usefixtures("code_runner")]


def right_and_wrong(record: Mapping[str, Any]) -> tuple[str, str]:
    """A program that solves a problem, and one that does not."""
    if "test_list" not in record:
        prompt, name = record["prompt"], record["entry_point"]
        return prompt + record["canonical_solution"], prompt + WRONG[name]
    code = record["code"]
    last = code.rindex("    return ")
    return code, f"{code[:last]}    return 'nothing'"


def answers_to(records: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Answers to each problem, by a text that its prompt alone has."""
    found = {}
    for record in records:
        right, wrong = right_and_wrong(record)
        key = record["test_list"][0] if "test_list" in record else record["prompt"].strip()
        spaced = right.replace("    return ", "    # as asked\n    return ")
        found[key] = [fenced(right), fenced(spaced), fenced(wrong), SHRUG]
    return found


def opened(answers: Mapping[str, Sequence[str]]) -> Callable[..., FastTTS]:
    """Opens engines whose model writes these answers."""

    def open_engine(settings: EngineConfig, verifier: Verifier | None = None) -> FastTTS:
        return FastTTS(ProgramWriter(answers), verifier, scheduling=UNTIMED)

    return open_engine


def written(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    file = folder / "problems.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return file


def records_of(file: Path) -> Records:
    _, *records = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    found = {(record["method"], record["index"]): record for record in records}
    assert len(found) == len(records)
    return found


@pytest.mark.parametrize("layout", [HUMANEVAL, MBPP], ids=["humaneval", "mbpp"])
def test_published_layouts_run_end_to_end(
    run: Run, open_with: OpenWith, tmp_path: Path, layout: Sequence[Mapping[str, Any]]
) -> None:
    open_with(opened(answers_to(layout)))
    output = tmp_path / "out.jsonl"
    command = ("eval", str(written(tmp_path, layout)), "-n", "8", "--methods", ",".join(METHODS))
    done = run(*command, "--verifier", "tests", "--json", "--output", str(output))
    assert done.exit_code == 0, done.output
    found = records_of(output)
    assert sorted(found) == sorted((method, index) for method in METHODS for index in range(5))
    for (method, index), record in found.items():
        right, _ = right_and_wrong(layout[index])
        for candidate in record["candidates"]:
            is_right = right in candidate["text"] or "# as asked" in candidate["text"]
            assert candidate["is_right"] == is_right, (method, index)
            # Prose may be what HumanEval's prompt goes on with, and is then no Python.
            is_shrug = candidate["text"] == SHRUG
            assert (candidate["answer"] is None) == (is_shrug and layout is MBPP)
            assert candidate["group"] is None or not is_shrug
        groups = {c["group"] for c in record["candidates"] if c["is_right"]}
        assert len(groups) <= 1, "programs that do the same vote together"
        chosen = record["candidates"][0]
        expected = "right" if chosen["is_right"] else "wrong" if chosen["answer"] else "no answer"
        assert record["verdict"] == expected
        assert record["answer"] == chosen["answer"]
        assert record["expected"] is None
    document = json.loads(done.stdout)
    curves = {(c["method"], c["rule"]): c["points"] for c in document["curves"]}
    accuracy = {row["method"]: row["accuracy"] for row in document["rows"]}
    assert curves["best_of_n", "pass"][-1]["accuracy"] == 1.0
    assert curves["best_of_n", "best"][-1]["accuracy"] == accuracy["best_of_n"]
    assert curves["majority", "majority"][-1]["accuracy"] == accuracy["majority"]
    assert accuracy["best_of_n"] >= 0.6


OWN = {
    "problem": "Write a function double(x).",
    "shown_tests": ["assert double(2) == 4"],
    "hidden_tests": ["assert double(3) == 6", "assert double(0) == 0"],
}


def test_shown_tests_score_and_hidden_ones_decide(
    run: Run, open_with: OpenWith, tmp_path: Path
) -> None:
    open_with(opened({"double": [fenced("def double(x):\n    return x * x")]}))
    output = tmp_path / "out.jsonl"
    command = ("eval", str(written(tmp_path, [OWN])), "-n", "4", "--methods", "best_of_n")
    done = run(*command, "--verifier", "tests", "--output", str(output))
    assert done.exit_code == 0, done.output
    (record,) = records_of(output).values()
    assert record["verdict"] == "wrong"
    assert {candidate["score"] for candidate in record["candidates"]} == {1.0}
    header = json.loads(output.read_text("utf-8").splitlines()[0])["settings"]
    assert header["engine"]["verifier"] == "tests"
    assert header["methods"]["best_of_n"]["aggregation"] == "model"


def test_programs_and_answers_in_one_file(run: Run, open_with: OpenWith, tmp_path: Path) -> None:
    rows = [OWN, {"problem": "What is 1 + 1?", "answer": "2"}]
    right = fenced("def double(x):\n    return 2 * x")
    open_with(opened({"double": [right], "1 + 1": ["It is \\boxed{2}."]}))
    done = run(
        "eval", str(written(tmp_path, rows)), "-n", "4", "--methods", "greedy,majority", "--json"
    )
    assert done.exit_code == 0, done.output
    assert [row["num_right"] for row in json.loads(done.stdout)["rows"]] == [2, 2]


def test_a_text_that_was_cut_behind_its_program_counts_as_what_it_is(
    run: Run, open_with: OpenWith, tmp_path: Path
) -> None:
    whole = fenced("def double(x):\n    return 2 * x") + " And so on." * 200
    begun = "```python\ndef double(x):\n" + "    x = x + 0\n" * 200
    open_with(opened({"double": [whole], "triple": [begun]}))
    triple = json.loads(json.dumps(OWN).replace("double", "triple"))
    done = run(
        *("eval", str(written(tmp_path, [OWN, triple])), "--max-tokens", "400"),
        *("--methods", "greedy", "--json"),
    )
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)["rows"]
    assert (row["num_right"], row["num_cut"]) == (1, 1)


HOSTILE = (
    "import os\nwhile True:\n    os.fork()",
    "import os\nos.kill(os.getppid(), 9)\nos.kill(-1, 9)",
    "open('{file}', 'w').write('here')\ndef double(x):\n    return 2 * x",
    "def double(x):\n    while True: pass",
    "def double(x):\n    import os\n    os._exit(0)",
    """class Equal:
    def __eq__(self, other):
        return True

def double(x):
    return Equal()
""",
    "double = lambda x: [0] * 10 ** 12",
)


@pytest.mark.slow
def test_hostile_programs_fail_and_leave_nothing_behind(
    run: Run, open_with: OpenWith, tmp_path: Path
) -> None:
    left = tmp_path / "left"
    texts = [fenced(program.replace("{file}", str(left))) for program in HOSTILE]
    rows = [{**OWN, "problem": f"Write double, case {number}."} for number in range(len(texts))]
    open_with(opened({f"case {number}.": [text] for number, text in enumerate(texts)}))
    num_files = len(os.listdir("/proc/self/fd"))
    command = ("eval", str(written(tmp_path, rows)), "-n", "4", "--methods", "greedy,beam_search")
    done = run(*command, "--verifier", "tests", "--json")
    assert done.exit_code == 0, done.output
    for row in json.loads(done.stdout)["rows"]:
        assert (row["num_problems"], row["num_wrong"]) == (len(texts), len(texts))
    assert not left.exists()
    assert wait_for_no_children() == []
    assert len(os.listdir("/proc/self/fd")) <= num_files


def wait_for_no_children() -> list[str]:
    """Sandboxes below this process that are still there after a while."""
    deadline = time.monotonic() + 20
    while (left := sandboxes_of(os.getpid())) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def sandboxes_of(ancestor: int) -> list[str]:
    """Commands of the workers that a process started, or what it started."""
    parents = {}
    for folder in Path("/proc").iterdir():
        try:
            stat = (folder / "stat").read_text()
            parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
        except (OSError, ValueError):  # it has ended, or is no process
            continue
    own = {ancestor}
    while more := {pid for pid, parent in parents.items() if parent in own} - own:
        own |= more
    commands = [command_of(pid) for pid in own - {ancestor}]
    return [command for command in commands if "worker.py" in command and "sympy" not in command]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


KILLED = """
import json, sys
from fasttts import FastTTS
from tests.killing import run_until_done
from tests.program_writer import ProgramWriter

generator = ProgramWriter(json.loads(sys.argv[1]))
FastTTS.from_config = lambda settings, verifier=None: FastTTS(generator, verifier)
run_until_done(generator, sys.argv[2:], shortest=100, longest=1500)
"""


@pytest.mark.slow
def test_an_evaluation_of_programs_that_is_killed_continues(
    run: Run, open_with: OpenWith, tmp_path: Path
) -> None:
    """Kills at random iterations; the file ends up as that of a run without kills."""
    killed, whole = tmp_path / "killed.jsonl", tmp_path / "whole.jsonl"
    answers = answers_to(MBPP)
    command = ("eval", str(written(tmp_path, MBPP)), "-n", "4", "--verifier", "tests")
    done = subprocess.run(
        [
            *(sys.executable, "-c", KILLED, json.dumps(answers)),
            *(*command, "--in-flight", "2", "--output", str(killed)),
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=True,
        text=True,
        timeout=200,
    )
    statuses = json.loads(done.stderr.splitlines()[-1])
    assert statuses[-1] == 0, done.stderr
    assert len(statuses) > 3
    assert set(statuses[:-1]) == {-signal.SIGKILL}

    open_with(opened(answers))
    assert run(*command, "--output", str(whole)).exit_code == 0
    assert without_costs(killed) == without_costs(whole)


def without_costs(file: Path) -> dict[tuple[str, int], dict[str, Any]]:
    records = dict(sorted(records_of(file).items()))
    for record in records.values():
        del record["run"]
    return records


def test_the_generated_programs_are_solved_by_their_reference(
    run: Run, open_with: OpenWith, tmp_path: Path
) -> None:
    """Tables of the calls pass the tests; every other problem is given a wrong program."""
    answers = {}
    for number, problem in enumerate(generate_program_problems(3, 6)):
        table = {repr(value): found for (value,), found in (*problem.shown, *problem.hidden)}
        program = f"def {problem.name}(x):\n    return {table!r}[repr(x)]"
        wrong = f"def {problem.name}(x):\n    return None"
        answers[f"function {problem.name}("] = [fenced(program if number % 2 else wrong)]
    open_with(opened(answers))
    command = ("eval", "programs", "--num-problems", "6", "--seed", "3", "--methods", "greedy")
    done = run(*command, "--max-tokens", "4000", "--json")
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)["rows"]
    assert (row["num_right"], row["num_wrong"]) == (3, 3)
