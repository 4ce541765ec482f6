"""The pure functions behind `fasttts eval`."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttts import ConfigurationError, SearchResult
from fasttts.errors import SearchError
from fasttts.evaluation import (
    METHODS,
    Evaluation,
    ProblemOutcome,
    is_correct,
    method_config,
    summarize,
    wilson_interval,
)
from fasttts.types import Candidate, Step, Timings, Usage


def result(answer: str | None, *, generated_tokens: int = 10) -> SearchResult:
    text = f"\\boxed{{{answer}}}"
    candidate = Candidate(
        path=(0,),
        text=text,
        steps=(Step(text=text),),
        score=None,
        answer=answer,
        finish_reason="stop",
        num_tokens=3,
    )
    return SearchResult(
        text=text,
        answer=answer,
        score=None,
        finish_reason="stop",
        candidates=(candidate,),
        usage=Usage(generated_tokens=generated_tokens),
        timings=Timings(),
        seed=0,
        config={},
        generator="fake",
        verifier=None,
    )


@pytest.mark.parametrize(
    ("num_correct", "num_problems", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),  # the textbook values of the score interval without correction
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
        (50, 100, 0.4038, 0.5962),
    ],
)
def test_wilson_intervals_are_the_published_ones(
    num_correct: int, num_problems: int, low: float, high: float
) -> None:
    assert wilson_interval(num_correct, num_problems) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_intervals_hold_the_share_and_mirror(counts: tuple[int, int]) -> None:
    num_correct, num_problems = counts
    low, high = wilson_interval(num_correct, num_problems)
    assert 0 <= low <= num_correct / num_problems <= high <= 1
    assert low < high
    mirrored = wilson_interval(num_problems - num_correct, num_problems)
    assert mirrored == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(("num_correct", "num_problems"), [(0, 0), (-1, 5), (6, 5), (0, -1)])
def test_wilson_intervals_need_a_share(num_correct: int, num_problems: int) -> None:
    with pytest.raises(ValueError, match="is not a share"):
        wilson_interval(num_correct, num_problems)


@pytest.mark.parametrize(
    ("answer", "expected"), [("42", True), ("42.0", True), ("41", False), (None, False)]
)
def test_an_answer_is_right_if_it_equals_the_known_one(answer: str | None, expected: bool) -> None:
    assert is_correct(result(answer), 42) is expected


def test_text_answers_are_graded_by_value() -> None:
    assert is_correct(result("\\frac{1}{2}"), "0.5")


def test_a_search_without_a_complete_candidate_is_wrong() -> None:
    assert not is_correct(SearchError("nothing finished"), 42)


def test_a_row_sums_up_its_outcomes() -> None:
    outcomes: list[ProblemOutcome] = [
        result("1"),
        result("2", generated_tokens=32),
        SearchError("nothing finished"),
    ]
    row = summarize("best_of_n", outcomes, [True, True, False], n=4, seconds=1.5)
    assert (row.method, row.n, row.tokens, row.seconds) == ("best_of_n", 4, 42, 1.5)
    assert math.isclose(row.accuracy, 2 / 3)
    assert (row.low, row.high) == wilson_interval(2, 3)


@pytest.mark.parametrize("correct", [[], [True, False]])
def test_a_row_needs_one_grade_for_each_outcome(correct: list[bool]) -> None:
    with pytest.raises(ValueError, match="1 outcomes but"):
        summarize("greedy", [result("1")], correct, n=1, seconds=0.0)


def test_the_document_has_the_promised_shape() -> None:
    row = summarize("greedy", [result("1")], [True], n=1, seconds=0.25)
    document = json.loads(Evaluation(seed=3, num_problems=1, rows=(row,)).to_json())
    assert list(document) == ["seed", "num_problems", "rows"]
    assert list(document["rows"][0]) == [
        "method",
        "n",
        "accuracy",
        "low",
        "high",
        "tokens",
        "seconds",
    ]
    assert document["rows"][0]["tokens"] == 10


def test_methods_fix_what_makes_them_comparable() -> None:
    configs = {method: method_config(method, n=8, beam_width=2, seed=5) for method in METHODS}
    assert {config.seed for config in configs.values()} == {5}
    assert configs["greedy"].sampling.temperature == 0
    assert configs["greedy"].n == 1
    assert configs["majority"].search == configs["best_of_n"].search == "best_of_n"
    assert configs["majority"].selection == "majority"
    assert configs["best_of_n"].selection == configs["beam_search"].selection == "best"
    assert configs["beam_search"].n == 8


def test_methods_check_their_options() -> None:
    with pytest.raises(ConfigurationError, match="unknown option 'beamwidth'"):
        method_config("beam_search", beamwidth=2)
