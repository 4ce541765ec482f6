"""`fasttts eval` on fake models."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result

from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier, Script
from fasttts.decoding.sampling import derive_seed
from fasttts.demo.problems import Problem
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
        del row["seconds"]
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


def test_a_search_that_fails_is_a_wrong_answer(run: Run, open_with: OpenWith) -> None:
    """Where no candidate is complete the run goes on and the problem counts as not solved."""
    open_with(lambda _: FastTTS(FakeGenerator(lambda prompt: "a" * 1100), FakeVerifier()))
    found = rows(run, "--search", "best_of_n")
    assert found["best_of_n"]["accuracy"] == 0
