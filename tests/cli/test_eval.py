"""`fasttts eval` on fake models."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier, Script
from fasttts.decoding.sampling import derive_seed
from fasttts.demo.problems import Problem
from fasttts.evaluation import METHODS
from tests.engines import OpenWith
from tests.searches import UNTIMED

Run = Callable[..., Result]

SMALL = ("--num-problems", "8", "-n", "4")


def rows(run: Run, *arguments: str) -> dict[str, dict[str, Any]]:
    done = run("eval", "demo", *SMALL, "--json", *arguments)
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert (document["seed"], document["num_problems"]) == (0, 8)
    return {row["method"]: row for row in document["rows"]}


def test_eval_compares_all_four_methods(run: Run, engines: list[FastTTS]) -> None:
    found = rows(run)
    assert list(found) == ["greedy", "majority", "best_of_n", "beam_search"]
    assert [row["n"] for row in found.values()] == [1, 4, 4, 4]
    for row in found.values():
        assert 0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1
        assert row["seconds"] > 0


def test_accuracy_is_the_share_of_problems_solved(
    run: Run, engines: list[FastTTS], problems: list[Problem]
) -> None:
    num_scripted = sum(problem.answer % 2 == 0 for problem in problems)
    assert 0 < num_scripted < 8
    found = rows(run)
    assert {row["accuracy"] for row in found.values()} == {num_scripted / 8}


def test_majority_and_best_of_n_judge_the_same_samples(run: Run, engines: list[FastTTS]) -> None:
    found = rows(run)
    assert found["majority"]["tokens"] == found["best_of_n"]["tokens"]


def test_tokens_are_those_of_the_searches_with_the_problems_own_seeds(
    run: Run, engines: list[FastTTS], problems: list[Problem], script: Script
) -> None:
    with FastTTS(FakeGenerator(script), FakeVerifier(), scheduling=UNTIMED) as engine:
        results = [
            engine.search(problem.text, search="best_of_n", n=4, seed=derive_seed(0, index))
            for index, problem in enumerate(problems)
        ]
    expected = sum(result.usage.generated_tokens for result in results)
    assert rows(run, "--search", "best_of_n")["best_of_n"]["tokens"] == expected


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        (["beam_search"], ["greedy", "majority", "best_of_n", "beam_search"]),
        (["greedy"], ["greedy", "majority", "best_of_n"]),
        (["best_of_n", "majority"], ["greedy", "majority", "best_of_n"]),
    ],
)
def test_search_names_what_is_compared_with_the_baselines(
    run: Run, engines: list[FastTTS], methods: list[str], expected: list[str]
) -> None:
    flags = [part for name in methods for part in ("--search", name)]
    assert list(rows(run, *flags)) == expected


def test_without_a_verifier_its_baseline_is_left_out(run: Run, engines: list[FastTTS]) -> None:
    found = rows(run, "--generator", "some/model", "--search", "majority")
    assert list(found) == ["greedy", "majority"]


def test_eval_is_reproducible(run: Run, engines: list[FastTTS]) -> None:
    first, second = (rows(run, "--search", "beam_search") for _ in range(2))
    for row in (*first.values(), *second.values()):
        for name in ("seconds", "goodput", "tokens", "verifier_tokens"):
            del row[name]  # they depend on the schedule
    assert first == second


def test_stderr_stays_empty_on_a_pipe(run: Run, engines: list[FastTTS]) -> None:
    assert run("eval", "demo", *SMALL, "--json").stderr == ""


def test_the_table_reads_well(
    run: Run, engines: list[FastTTS], named: list[tuple[str, str | None]]
) -> None:
    done = run("eval", "demo", *SMALL)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("8 problems, seed 0")
    assert "greedy" in done.stdout
    assert "95 % interval" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert named == [("demo", "demo")]


def test_all_methods_fit_a_terminal(run: Run, engines: list[FastTTS]) -> None:
    command = ("eval", "demo", "--num-problems", "2", "-n", "4", "--max-tokens", "100")
    done = run(*command, "--methods", ",".join(METHODS))
    assert done.exit_code == 0, done.output
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert [method for method in METHODS if f"\n {method} " not in done.stdout] == []
    differences = done.stdout.partition("differences on the same problems")[2]
    assert differences.count(" - ") == len(METHODS) - 1, "those to the best method"


def test_a_search_that_fails_is_a_wrong_answer(run: Run, open_with: OpenWith) -> None:
    """Where no candidate is complete the run goes on and the problem counts as not solved."""
    open_with(lambda _: FastTTS(FakeGenerator(lambda prompt: "a" * 1100), FakeVerifier()))
    found = rows(run, "--search", "best_of_n")
    assert found["best_of_n"]["accuracy"] == 0
    assert found["best_of_n"]["num_cut"] == 8


def test_methods_are_exactly_those_that_are_named(run: Run, engines: list[FastTTS]) -> None:
    assert list(rows(run, "--methods", "beam_search, greedy")) == ["greedy", "beam_search"]


def curves(run: Run, *arguments: str) -> dict[tuple[str, str], list[dict[str, Any]]]:
    done = run("eval", "demo", *SMALL, "--json", *arguments)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["curves"]
    return {(curve["method"], curve["rule"]): curve["points"] for curve in found}


def test_one_run_tells_of_every_power_of_two(run: Run, engines: list[FastTTS]) -> None:
    found = curves(run, "-n", "8")
    assert list(found) == [
        ("majority", "pass"),
        ("majority", "majority"),
        ("best_of_n", "pass"),
        ("best_of_n", "majority"),
        ("best_of_n", "best"),
        ("best_of_n", "weighted"),
    ]
    for points in found.values():
        assert [point["k"] for point in points] == [1, 2, 4, 8]
        assert all(p["low"] <= p["accuracy"] <= p["high"] for p in points)
    passes = [point["accuracy"] for point in found["best_of_n", "pass"]]
    assert passes == sorted(passes)
    assert len({points[0]["accuracy"] for points in found.values()}) == 1, "one sample is one"


@pytest.mark.parametrize("rule", ["best", "majority", "weighted"])
def test_the_end_of_a_curve_is_what_the_search_chose(
    run: Run, open_with: OpenWith, problems: list[Problem], rule: str
) -> None:
    """Scores of chance, answers that are often right: the vote and the score often disagree."""
    known = {problem.text: problem.answer % 10 for problem in problems}

    def digit(prompt: str) -> str | None:
        text = next(text for text in known if text in prompt)
        return None if known[text] % 3 else f"\\boxed{{{known[text]}}}"

    open_with(lambda _: FastTTS(FakeGenerator(digit), FakeVerifier(), scheduling=UNTIMED))
    done = run(
        "eval", "demo", *SMALL, "-n", "16", "--json", "--methods", "best_of_n", "--selection", rule
    )
    document = json.loads(done.stdout)
    (points,) = (curve["points"] for curve in document["curves"] if curve["rule"] == rule)
    assert points[-1]["accuracy"] == document["rows"][0]["accuracy"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Ten problems, of which the fake model says the digit at once."""
    path = tmp_path / "digits.jsonl"
    digits = [{"question": f"Say the digit {n}", "answer": f"It is.\n#### {n}"} for n in range(10)]
    path.write_text("\n".join(map(json.dumps, digits)), encoding="utf-8")
    return path


def says_the_digit(prompt: str) -> str | None:
    """Right on all but the last two, of which one has no answer and one no end."""
    digit = int(prompt.split("Say the digit ")[1][0])
    if digit == 8:
        return "I do not know"
    return "a" * 3000 if digit == 9 else f"It is \\boxed{{{digit}}}"


def test_a_file_of_problems(run: Run, open_with: OpenWith, file: Path, tmp_path: Path) -> None:
    open_with(lambda _: FastTTS(FakeGenerator(says_the_digit), FakeVerifier(), scheduling=UNTIMED))
    output = tmp_path / "out.jsonl"
    command = ("eval", str(file), "-n", "4", "--methods", "greedy,best_of_n")
    done = run(*command, "--json", "--output", str(output))
    assert done.exit_code == 0, done.output
    for row in json.loads(done.stdout)["rows"]:
        assert (row["num_right"], row["num_no_answer"], row["num_cut"]) == (8, 1, 1)
        assert (row["num_wrong"], row["num_errors"]) == (0, 0)
    header, *records = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert header["settings"]["problems"]["num"] == 10
    found = {(record["method"], record["index"]): record for record in records}
    assert len(found) == len(records) == 20
    record = found["best_of_n", 3]
    assert (record["text"], record["expected"], record["answer"]) == ("Say the digit 3", "3", "3")
    assert [candidate["text"] for candidate in record["candidates"]] == ["It is \\boxed{3}"] * 4
    assert record["verdict"] == "right"
    assert set(record["run"]) >= {"total_s", "generated_tokens", "verifier_tokens"}


def test_a_problem_beyond_the_context_is_an_error_of_its_own(
    run: Run, open_with: OpenWith, file: Path
) -> None:
    with file.open("a", encoding="utf-8") as lines:
        lines.write("\n" + json.dumps({"question": "Say the digit 1" * 400, "answer": 1}))
    open_with(lambda _: FastTTS(FakeGenerator(says_the_digit), FakeVerifier()))
    done = run("eval", str(file), "--methods", "greedy", "--json")
    (row,) = json.loads(done.stdout)["rows"]
    assert (row["num_problems"], row["num_right"], row["num_errors"]) == (11, 8, 1)


def test_a_part_of_a_file_is_drawn_by_the_seed(
    run: Run, open_with: OpenWith, file: Path, tmp_path: Path
) -> None:
    open_with(lambda _: FastTTS(FakeGenerator(says_the_digit), FakeVerifier()))

    def drawn(seed: str) -> set[str]:
        output = tmp_path / f"{seed}.jsonl"
        command = ("eval", str(file), "--methods", "greedy", "--limit", "5", "--seed", seed)
        assert run(*command, "--output", str(output)).exit_code == 0
        lines = output.read_text("utf-8").splitlines()[1:]
        return {json.loads(line)["text"] for line in lines}

    assert len(drawn("0")) == 5
    assert drawn("0") != drawn("1")


def test_every_option_of_a_search_is_passed_on(
    run: Run, engines: list[FastTTS], tmp_path: Path
) -> None:
    output = tmp_path / "out.jsonl"
    given = {
        "--temperature": "0.5",
        "--top-p": "0.9",
        "--top-k": "40",
        "--min-p": "0.01",
        "--repetition-penalty": "1.1",
        "--max-tokens": "300",
        "--step-tokens": "20",
        "--answer": "boxed",
        "--selection": "weighted",
        "--aggregation": "min",
    }
    flags = [part for pair in given.items() for part in pair]
    flags += ["--option", "max_depth=7", "--option", "budget.tokens=5000", "--option", "stop=[]"]
    command = ("eval", "demo", "--num-problems", "1", "-n", "4", "--methods", "beam_search")
    done = run(*command, *flags, "--output", str(output))
    assert done.exit_code == 0, done.output
    header = json.loads(output.read_text("utf-8").splitlines()[0])
    config = header["settings"]["methods"]["beam_search"]
    for flag, value in given.items():
        assert str(config[flag.removeprefix("--").replace("-", "_")]) == value
    assert (config["max_depth"], config["budget"]["tokens"], config["stop"]) == (7, 5000, [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--methods", "greedy,mcts"), "unknown method 'mcts': use greedy"),
        (("--methods", "bestofn"), "did you mean 'best_of_n'?"),
        (("--methods", ","), "name at least one of greedy"),
        (("--methods", "greedy", "--search", "dvts"), "--methods names all methods"),
        (("--option", "lookahead"), "write NAME=VALUE"),
        (("--option", "lookaheads=1"), "did you mean 'lookahead_steps'?"),
        (("--option", "search=dvts"), "say it by --methods or --search"),
        (("--option", "seed=5"), "say it by --seed"),
        (("--option", "budget=5", "--option", "budget.tokens=3"), "budget is 5 already"),
        (("--option", "budget=" + "[" * 5000), "budget"),
        (("--sandbox", "none"), "--sandbox is about programs"),
        (("--sandbox", "bubblwrap"), "sandbox='bubblwrap': choose of"),
        (("--plot", "curve.pdf"), "the picture is a PNG"),
        (("--system", "preset:maths"), "did you mean"),
    ],
)
def test_mistakes_are_reported_in_a_line(
    run: Run, arguments: tuple[str, ...], message: str
) -> None:
    done = run("eval", "demo", *SMALL, *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_bad_rows_are_named_before_models_are_loaded(run: Run, file: Path) -> None:
    with file.open("a", encoding="utf-8") as lines:
        lines.write('\n{"question": "Say the digit 1"}')
    done = run("eval", str(file))
    assert done.exit_code == 2
    assert f"{file}, line 11: it has no answer" in done.stderr
    assert "--answer-field" in done.stderr


PROGRAMS = [
    {"prompt": "Write f.", "test_list": ["assert f() == 1"], "task_id": 5},
    {"prompt": "Write g.", "hidden_tests": ["assert g() == 1"], "task_id": 6},
    {"prompt": "Write h.", "hidden_tests": ["assert h()"], "shown_tests": ["assert h(1)"]},
    {"prompt": "Write h.", "hidden_tests": ["assert h()"], "shown_tests": ["assert h(2)"]},
]


@pytest.fixture
def without_bubblewrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, the only one in which programs are found."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("rows", "arguments", "message"),
    [
        ([0], (), "programs cannot be run safely here: bubblewrap is not installed"),
        ([0], ("--sandbox", "docker"), "sandbox='docker': choose of"),
        ([0, 1], ("--verifier", "tests"), "problem '6' has no tests that a search may use"),
        ([2, 3], ("--verifier", "tests"), "has the text of another problem, and other tests"),
    ],
)
def test_programs_that_cannot_be_run_or_scored_are_refused(
    run: Run,
    without_bubblewrap: Path,
    rows: list[int],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    """Before models are loaded, and without a file of results."""
    tmp_path = without_bubblewrap
    path, output = tmp_path / "code.jsonl", tmp_path / "out.jsonl"
    path.write_text("\n".join(json.dumps(PROGRAMS[row]) for row in rows), encoding="utf-8")
    done = run("eval", str(path), "--output", str(output), *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not output.exists()


def test_programs_run_unprotected_only_if_the_user_says_so(
    run: Run, open_with: OpenWith, without_bubblewrap: Path
) -> None:
    path = without_bubblewrap / "code.jsonl"
    path.write_text(json.dumps(PROGRAMS[0]), encoding="utf-8")
    text = "```python\ndef f():\n    return 1\n```"
    open_with(lambda _: FastTTS(FakeGenerator(lambda prompt: text), FakeVerifier()))
    done = run("eval", str(path), "--sandbox", "none", "--methods", "greedy", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["rows"][0]["num_right"] == 1


def test_tests_score_programs_alone(run: Run) -> None:
    done = run("eval", "demo", "--verifier", "tests")
    assert done.exit_code == 2
    assert "demo has no problems about programs" in done.stderr


def test_a_plot_is_drawn(run: Run, engines: list[FastTTS], tmp_path: Path) -> None:
    picture = tmp_path / "curves.png"
    done = run("eval", "demo", *SMALL, "--plot", str(picture))
    assert done.exit_code == 0, done.output
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_warnings_about_single_searches_stay_away(
    run: Run, open_with: OpenWith, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    open_with(lambda _: FastTTS(FakeGenerator(says_the_digit), FakeVerifier()))
    assert run("eval", str(file), "--methods", "greedy").exit_code == 0
    assert caplog.records == []
