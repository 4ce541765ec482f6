"""Grades, intervals and tables of an evaluation: pure functions."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttts import ConfigurationError, SearchResult
from fasttts.errors import SearchError
from fasttts.evaluation import (
    METHODS,
    AnswerJudge,
    Problem,
    ProblemOutcome,
    Tally,
    grade,
    is_correct,
    mcnemar_p,
    method_config,
    paired_interval,
    wilson_interval,
)
from fasttts.evaluation.grading import verdict_of
from fasttts.evaluation.intervals import bootstrap_intervals
from fasttts.evaluation.records import make_record
from fasttts.types import Candidate, FinishReason, Step, Timings, Usage

FORTY_TWO = Problem(id="7", text="6 * 7?", answer="42")


def candidate(
    answer: str | None, *, finish_reason: FinishReason = "stop", **others: Any
) -> Candidate:
    text = f"\\boxed{{{answer}}}"
    values: dict[str, Any] = {
        "path": (0,),
        "score": None,
        "num_tokens": 3,
        "is_announced": True,
        **others,
    }
    return Candidate(
        text=text,
        steps=(Step(text=text),),
        answer=answer,
        finish_reason=finish_reason,
        **values,
    )


def result(*candidates: Candidate, generated_tokens: int = 10) -> SearchResult:
    chosen = candidates[0]
    return SearchResult(
        text=chosen.text,
        answer=chosen.answer,
        score=None,
        finish_reason=chosen.finish_reason,
        candidates=candidates,
        usage=Usage(generated_tokens=generated_tokens, verifier_computed_tokens=5),
        timings=Timings(),
        seed=0,
        config={},
        generator="fake",
        verifier=None,
    )


def answered(answer: str | None, **others: Any) -> SearchResult:
    return result(candidate(answer, **others))


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


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 900))
def test_paired_intervals_mirror_and_never_collapse(won: int, lost: int, same: int) -> None:
    total = won + lost + same + 1
    low, high = paired_interval(total, won, lost)
    assert -1 <= low < high <= 1
    assert paired_interval(total, lost, won) == pytest.approx((-high, -low))


@pytest.mark.parametrize(
    ("won", "lost", "p_value"),
    [(0, 0, 1.0), (5, 5, 1.0), (5, 0, 0.0625), (10, 2, 0.03857), (1000, 1000, 1.0)],
)
def test_mcnemars_test_is_that_of_a_fair_coin(won: int, lost: int, p_value: float) -> None:
    assert mcnemar_p(won, lost) == pytest.approx(p_value, abs=1e-5)
    assert mcnemar_p(lost, won) == mcnemar_p(won, lost)


def test_a_bootstrap_is_reproducible_and_about_as_wide_as_the_normal_interval() -> None:
    values = [[float(index % 4 == 0), 1.0] for index in range(400)]
    (low, high), certain = bootstrap_intervals(values)
    assert certain == (1.0, 1.0)
    assert (low, high) == pytest.approx((0.25 - 0.0424, 0.25 + 0.0424), abs=0.006)
    assert bootstrap_intervals(values) == [(low, high), certain]


@pytest.mark.parametrize(
    ("answer", "expected"), [("42", True), ("42.0", True), ("41", False), (None, False)]
)
def test_an_answer_is_right_if_it_equals_the_known_one(answer: str | None, expected: bool) -> None:
    assert is_correct(answered(answer), 42) is expected


def test_text_answers_are_graded_by_value() -> None:
    assert is_correct(answered("\\frac{1}{2}"), "0.5")


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (answered("42"), "right"),
        (answered("42", is_announced=False), "right"),
        (answered("41"), "wrong"),
        (answered(None), "no answer"),
        (answered(""), "no answer"),
        (answered("", is_announced=False), "no answer"),
        (answered("", finish_reason="length"), "cut"),
        (answered("42", finish_reason="length"), "right"),
        (answered("42", finish_reason="length", is_announced=False), "cut"),
        (answered("41", finish_reason="length"), "cut"),
        (answered(None, finish_reason="length"), "cut"),
        (SearchError("nothing finished"), "error"),
    ],
)
def test_outcomes_count_as_what_they_are(outcome: ProblemOutcome, verdict: str) -> None:
    graded = grade(FORTY_TWO, outcome, AnswerJudge())
    assert verdict_of(outcome, graded) == verdict
    assert is_correct(outcome, 42) is (verdict == "right")


def test_equal_answers_are_in_one_group() -> None:
    found = result(candidate("1/2"), candidate(None), candidate("0.5"), candidate("3"))
    groups = [each.group for each in grade(FORTY_TWO, found, AnswerJudge())]
    assert groups[0] == groups[2] != groups[3]
    assert groups[1] is None


def tally_of(outcomes: dict[Any, Sequence[ProblemOutcome]], n: int = 1) -> Tally:
    total = max(map(len, outcomes.values()))
    tally = Tally({method: method_config(method, n=n, beam_width=1) for method in outcomes}, total)
    for method, found in outcomes.items():
        for index, outcome in enumerate(found):
            record = make_record(
                index, FORTY_TWO, method, outcome, judge=AnswerJudge(), elapsed_s=0.5
            )
            tally.add(record)
    return tally


def test_a_row_sums_up_its_outcomes() -> None:
    failed = SearchError("nothing finished", usage=Usage(generated_tokens=7))
    outcomes = [result(candidate("42"), generated_tokens=32), answered("2"), answered(None), failed]
    (row,) = tally_of({"beam_search": outcomes}).evaluation("some", 0).rows
    assert (row.method, row.num_problems, row.accuracy) == ("beam_search", 4, 0.25)
    assert (row.low, row.high) == wilson_interval(1, 4)
    counts = (row.num_right, row.num_wrong, row.num_no_answer, row.num_cut, row.num_errors)
    assert counts == (1, 1, 1, 0, 1)
    assert (row.tokens, row.verifier_tokens, row.seconds) == (32 + 10 + 10 + 7, 15, 2.0)
    assert row.goodput == 9 / 2.0


def curves_of(outcomes: Sequence[ProblemOutcome], n: int) -> dict[str, list[float]]:
    evaluation = tally_of({"best_of_n": outcomes}, n=n).evaluation("some", 0)
    return {curve.rule: [point.accuracy for point in curve.points] for curve in evaluation.curves}


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("score", [None, 0.5])
def test_a_problem_without_candidates_counts_as_unsolved_in_every_curve(
    place: int, score: float | None
) -> None:
    solved = result(candidate("42", score=score), candidate("42", score=score, path=(1,)))
    outcomes: list[ProblemOutcome] = [solved, solved]
    outcomes.insert(place, SearchError("longer than the context"))
    rules = ["pass", "majority"] if score is None else ["pass", "majority", "best", "weighted"]
    assert curves_of(outcomes, 2) == {rule: pytest.approx([2 / 3, 2 / 3]) for rule in rules}
    assert list(curves_of(outcomes, 2)) == rules


def test_errors_alone_have_curves_of_zeros() -> None:
    failed = SearchError("longer than the context")
    assert curves_of([failed, failed], 4) == {"pass": [0.0] * 3, "majority": [0.0] * 3}


def test_a_problem_whose_samples_have_no_scores_keeps_its_choice() -> None:
    scored = result(candidate("42", score=0.9), candidate("1", score=0.1, path=(1,)))
    unscored = result(candidate("42"), candidate("1", path=(1,)))
    assert curves_of([unscored, scored], 2)["best"] == pytest.approx([0.5, 1.0])


@pytest.mark.parametrize(("method", "index"), [("dvts", 0), ("greedy", 1)])
def test_a_record_of_another_evaluation_is_refused(method: str, index: int) -> None:
    tally = tally_of({"greedy": [answered("42")]})
    strange = make_record(
        index, FORTY_TWO, method, answered("1"), judge=AnswerJudge(), elapsed_s=0.5
    )
    with pytest.raises(ConfigurationError, match="is of another evaluation"):
        tally.add(strange)


def test_differences_are_of_the_problems_that_both_have_finished() -> None:
    right, wrong = answered("42"), answered("1")
    tally = tally_of({"greedy": [wrong, wrong, right], "beam_search": [right, right]})
    evaluation = tally.evaluation("some", 0)
    (found,) = evaluation.differences
    assert (found.first, found.second) == ("beam_search", "greedy")
    assert (found.num_problems, found.num_won, found.num_lost) == (2, 2, 0)
    assert found.difference == 1.0
    assert (found.low, found.high) == paired_interval(2, 2, 0)
    assert found.p_value == 0.5
    assert not evaluation.is_complete


def test_the_document_has_the_promised_shape() -> None:
    evaluation = tally_of({"greedy": [answered("42")]}).evaluation("some", 3)
    document = json.loads(evaluation.to_json())
    assert list(document) == [
        "problems",
        "seed",
        "num_problems",
        "is_complete",
        "rows",
        "curves",
        "differences",
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
    assert configs["deepconf"].selection == "weighted"
    assert method_config("deepconf", selection="best").selection == "best"
    assert configs["beam_search"].n == 8


def test_a_selection_is_that_of_methods_which_have_none_of_their_own() -> None:
    chosen = {method: method_config(method, selection="weighted").selection for method in METHODS}
    assert chosen["beam_search"] == chosen["best_of_n"] == "weighted"
    assert chosen["majority"] == chosen["self_consistency"] == "majority"


def test_methods_check_their_options() -> None:
    with pytest.raises(ConfigurationError, match="unknown option 'beamwidth'"):
        method_config("beam_search", beamwidth=2)
