"""The command line and the demonstration as a newcomer starts them, on the bundled models."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fasttts import SearchResult
from fasttts.check import Report
from fasttts.cli import app
from fasttts.demo.problems import generate_problems

pytestmark = pytest.mark.vllm

ROOT = Path(__file__).parents[2]
MAIN = "from fasttts.cli import main; main()"


def started(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "80", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        text=True,
        timeout=280,
    )


def run_here(*arguments: str) -> Result:
    """The same without a new process, which spends most of its time on importing vLLM."""
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "80"})


@pytest.mark.slow
def test_solve_json_is_one_document_and_stderr_stays_quiet() -> None:
    problem = generate_problems("test", 0, 1, min_operations=2, max_operations=2)[0]
    done = started("-c", MAIN, "solve", problem.text, "-n", "8", "--json")
    assert done.returncode == 0, done.stderr
    result = SearchResult.from_json(done.stdout)
    assert done.stdout == result.to_json() + "\n"
    assert result.answer == str(problem.answer)
    assert result.usage.generated_tokens > result.usage.returned_tokens > 0
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verifier", "name"), [("judge", "judge(demo)"), ("always_right:score", "always_right:score")]
)
def test_solve_says_which_verifier_was_used(
    verifier: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "always_right.py").write_text("def score(problem, steps): return 1.0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # the command puts the directory there
    done = run_here("solve", "2 + 2?", "-n", "4", "--verifier", verifier)
    assert done.exit_code == 0, done.stderr
    assert f"verifier: {name}, " in done.stdout


@pytest.mark.slow
def test_check_finds_out_that_the_demonstration_verifier_helps() -> None:
    done = run_here("check", "--json", "--latency", "60")
    assert done.exit_code == 0, done.stderr
    report = Report.from_json(done.stdout)
    assert [speed.wanted for speed in report.speeds] == [1, 16, 64]
    assert report.step_rules[0].suits
    assert report.summary.announced_share == 1.0
    assert report.summary.separation is not None
    assert report.summary.separation.is_proven
    assert report.suggestion.options["search"] == "beam_search"
    assert "step_pattern" not in report.suggestion.options


def test_a_function_that_is_not_there_is_named() -> None:
    done = started("-c", MAIN, "solve", "2 + 2?", "--verifier", "no_such_module:score")
    assert done.returncode == 2
    assert "verifier='no_such_module:score' cannot be imported" in done.stderr


def test_eval_json_gives_all_rows(capfd: pytest.CaptureFixture[str]) -> None:
    done = run_here("eval", "demo", "--num-problems", "4", "-n", "4", "--json")
    assert done.exit_code == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [row["method"] for row in rows] == ["greedy", "majority", "best_of_n", "beam_search"]
    assert all(row["tokens"] > 0 and 0 <= row["accuracy"] <= 1 for row in rows)
    assert done.stderr == ""
    assert capfd.readouterr() == ("", ""), "nothing gets past Python's streams"


@pytest.mark.slow
def test_the_demonstration_shows_a_search_that_helps() -> None:
    done = started("examples/demo.py")
    assert done.returncode == 0, done.stderr
    greedy, search = done.stdout.split("Greedy decoding")[1].split("Beam search")
    assert "is wrong: the exact answer is" in greedy
    assert "is right" in search
    assert "is wrong" not in search
    assert done.stderr == ""
