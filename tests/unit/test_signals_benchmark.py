"""The benchmark of signals: choices among one run's samples are those of searches of their own."""

from typing import Any

import pytest

from benchmarks.signal_rows import SAMPLES, Books, chosen, rows
from benchmarks.signals import Everyone, made
from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator
from fasttts.evaluation import Comparison, Problem, ProblemSet, Record, method_config
from fasttts.evaluation.grading import AnswerJudge

PROBLEMS = [Problem(id=str(i), text=f"What is {i} + 2?", answer=str(i + 2)) for i in range(8)]
VERIFIERS = ("sums", "entropy", "self_certainty", "lowest_confidence")


def searched(verifier: Any, method: str, **options: Any) -> list[Record]:
    config = method_config("best_of_n", n=6, aggregation="model", max_tokens=80, **options)
    with FastTTS(FakeGenerator(), verifier) as engine:
        comparison = Comparison(engine=engine, problems=PROBLEMS, configs={method: config})
        found = [evaluated.record for evaluated in comparison.run()]
    return sorted(found, key=lambda record: record.index)


@pytest.fixture(scope="module")
def books() -> Books:
    everyone, books = Everyone((*VERIFIERS, "judge")), Books()
    for record in searched(everyone, SAMPLES):
        books.add(record)
        for scores in everyone.scores(record):
            books.add(scores)
    return books


@pytest.mark.parametrize("selection", ["best", "weighted", "majority"])
@pytest.mark.parametrize("name", VERIFIERS)
def test_a_choice_is_that_of_a_search_with_the_verifier(
    name: str, selection: Any, books: Books
) -> None:
    for expected in searched(made(name), "arm", selection=selection):
        samples, scores = (
            books.searches[SAMPLES, expected.index],
            books.scores[name, expected.index],
        )
        found = chosen(samples, "arm", selection, scores if selection != "majority" else None)
        assert (found.answer, found.verdict) == (expected.answer, expected.verdict)
        paths = [[each.path for each in one.candidates] for one in (found, expected)]
        assert paths[0] == paths[1]
        assert found.run.elapsed_s >= samples.run.elapsed_s
        if selection != "majority":
            found_scores = [[each.score for each in one.candidates] for one in (found, expected)]
            assert found_scores[0] == found_scores[1]


def test_rows_have_every_arm_with_what_it_is_compared_to(books: Books) -> None:
    samples = method_config("best_of_n", n=6)
    arms = ["majority", *(f"{rule}, {name}" for name in VERIFIERS for rule in ("best", "weighted"))]
    problems = ProblemSet(name="p", problems=tuple(PROBLEMS), judge=AnswerJudge())
    found = rows(books, dict.fromkeys(arms, samples), VERIFIERS, problems, seed=0)
    assert [row["arm"] for row in found] == [*arms, "one of n is right"]
    for row in found[1:-1]:
        assert row["against_majority"]["num_problems"] == row["num_problems"] == len(PROBLEMS)
        assert row["right"].startswith(f"{row['accuracy']:.2f} (")
