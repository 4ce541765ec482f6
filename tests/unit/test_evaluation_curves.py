"""Curves of an evaluation: what fewer samples would have given."""

import itertools
import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttts.config import Selection
from fasttts.evaluation import (
    AnswerJudge,
    GradedCandidate,
    Problem,
    grade,
    method_config,
    pass_at_k,
    problem_curves,
)
from fasttts.evaluation import curves as curves_module
from fasttts.evaluation.methods import curve_sizes
from fasttts.search.aggregation import rank
from fasttts.types import Candidate, SearchResult, Timings, Usage

ANSWERS = ("1", "2", "3", None)


def graded(index: int, answer: str | None, score: float | None, **others: Any) -> GradedCandidate:
    values: dict[str, Any] = {
        "finish_reason": "stop",
        "is_announced": True,
        "is_malformed": False,
        **others,
    }
    return GradedCandidate(
        path=(index,),
        text="",
        answer=answer,
        is_right=answer == "1",
        group=None if answer is None else int(answer) - 1,
        score=score,
        num_tokens=1,
        **values,
    )


def as_candidate(each: GradedCandidate) -> Candidate:
    return Candidate(
        path=each.path,
        text="",
        steps=(),
        score=each.score,
        answer=each.answer,
        finish_reason=each.finish_reason,
        num_tokens=1,
        is_malformed=each.is_malformed,
        is_announced=each.is_announced,
    )


samples = st.lists(
    st.tuples(
        st.sampled_from(ANSWERS),
        st.integers(0, 4).map(lambda score: score / 4),
        st.sampled_from(["stop", "stop", "length"]),
        st.booleans(),
        st.sampled_from([False, False, True]),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(samples)
def test_choices_are_those_of_the_search_on_every_subset(drawn: list[tuple[Any, ...]]) -> None:
    found = [
        graded(
            index,
            answer,
            score,
            finish_reason=reason,
            is_announced=announced,
            is_malformed=malformed,
        )
        for index, (answer, score, reason, announced, malformed) in enumerate(drawn)
    ]
    n = len(found)
    curves = problem_curves(found, n, range(1, n + 1))
    right = {each.path: each.is_right for each in found}
    for k, rule in itertools.product(range(1, n + 1), ("majority", "best", "weighted")):
        chosen = [
            right[rank([as_candidate(each) for each in subset], rule)[0].path]
            for subset in itertools.combinations(found, k)
        ]
        assert curves[rule][k - 1] == pytest.approx(statistics.fmean(chosen)), (k, rule)


def voter(index: int, answer: str | None, score: float | None = None, **others: Any) -> Candidate:
    return as_candidate(replace(graded(index, None, score, **others), answer=answer))


def result_of(candidates: Sequence[Candidate]) -> SearchResult:
    return SearchResult(
        text="",
        answer=None,
        score=None,
        finish_reason="stop",
        candidates=tuple(candidates),
        usage=Usage(),
        timings=Timings(),
        seed=0,
        config={},
        generator="fake",
        verifier=None,
    )


def assert_curves_are_the_searchs(candidates: Sequence[Candidate], known: str) -> None:
    """Compares every point with what the search chooses among each subset."""
    problem, n = Problem(id="0", text="", answer=known), len(candidates)
    found = grade(problem, result_of(candidates), AnswerJudge())
    curves = problem_curves(found, n, range(1, n + 1), has_scores=True)
    right = {each.path: each.is_right for each in found}
    rules: tuple[Selection, ...] = get_args(Selection)
    for k, rule in itertools.product(range(1, n + 1), rules):
        subsets = itertools.combinations(candidates, k)
        chosen = [right[rank(subset, rule)[0].path] for subset in subsets]
        assert curves[rule][k - 1] == pytest.approx(statistics.fmean(chosen)), (k, rule)


VALUES = (
    ("5", "5.0", "5 cm", "5 kg", "7", "7 m", "", None),
    ("50", "50%", "0.5", "0.5 m", "50 m", "1/2", None),
    ("x=5", "5", "y=5", "(1, 5 cm)", "(1, 5)", "(1, 5 kg)"),
)
votes = st.sampled_from(VALUES).flatmap(
    lambda values: st.lists(
        st.tuples(
            st.sampled_from(values),
            st.one_of(st.none(), st.integers(0, 4).map(lambda score: score / 4)),
            st.sampled_from(["stop", "stop", "stop", "length"]),
            st.sampled_from([True, True, False]),
            st.sampled_from([False, False, False, True]),
        ),
        min_size=1,
        max_size=7,
    )
)


@settings(max_examples=200, deadline=None)
@given(votes, st.integers(0, 6))
def test_decorated_answers_vote_as_in_the_search(drawn: list[tuple[Any, ...]], known: int) -> None:
    names = ("finish_reason", "is_announced", "is_malformed")
    candidates = [
        voter(index, answer, score, **dict(zip(names, others, strict=True)))
        for index, (answer, score, *others) in enumerate(drawn)
    ]
    assert_curves_are_the_searchs(candidates, drawn[known % len(drawn)][0] or "5")


@pytest.mark.parametrize(
    "others", [{"is_announced": False}, {"finish_reason": "length"}, {"is_malformed": True}]
)
@pytest.mark.parametrize(
    ("bare", "decorated", "rival", "other"),
    [("5", "5 cm", "5 kg", "7"), ("12", "x=12", "y=12", "3"), ("0.5", "50%", "0.5 m", "1")],
)
def test_who_has_no_vote_parts_no_votes(
    bare: str, decorated: str, rival: str, other: str, others: dict[str, Any]
) -> None:
    answers = (other, bare, decorated)
    candidates = [voter(index, answer) for index, answer in enumerate(answers)]
    candidates.append(voter(3, rival, **others))
    assert rank(candidates, "majority")[0].answer == bare
    problem = Problem(id="0", text="", answer=bare)
    found = grade(problem, result_of(candidates), AnswerJudge())
    assert problem_curves(found, 4, (4,))["majority"] == (1.0,)
    assert_curves_are_the_searchs(candidates, bare)


@pytest.mark.parametrize("num_candidates", [4, 6, 24])
@pytest.mark.parametrize("values", VALUES)
def test_curves_end_at_the_choice_of_the_search(
    values: tuple[str | None, ...], num_candidates: int
) -> None:
    rng = random.Random(num_candidates)
    for _ in range(200):
        candidates = [
            voter(
                index,
                rng.choice(values),
                rng.randrange(5) / 4,
                finish_reason=rng.choice(["stop", "stop", "stop", "length"]),
                is_announced=rng.random() < 0.7,
                is_malformed=rng.random() < 0.1,
            )
            for index in range(num_candidates)
        ]
        problem = Problem(id="0", text="", answer=candidates[0].answer or "5")
        found = grade(problem, result_of(candidates), AnswerJudge())
        curves = problem_curves(found, num_candidates, (num_candidates,))
        right = {each.path: float(each.is_right) for each in found}
        for rule in get_args(Selection):
            assert curves[rule] == (right[rank(candidates, rule)[0].path],)


class OneGroup(AnswerJudge):
    """One to build on: its groups are its own."""

    def groups(self, problem: Problem, candidates: Sequence[Candidate]) -> Sequence[Sequence[int]]:
        return [list(range(len(candidates)))]


def test_a_judge_may_group_in_its_own_way() -> None:
    candidates = [voter(0, "7", 0.1), voter(1, "5", 0.2), voter(2, "5 cm", 0.1)]
    problem = Problem(id="0", text="", answer="7")
    found = grade(problem, result_of(candidates), OneGroup())
    assert [(each.group, each.ballot) for each in found] == [(0, ())] * 3
    assert problem_curves(found, 3, (3,))["majority"] == (0.0,)


def test_a_record_from_before_there_were_ballots_votes_by_groups() -> None:
    candidates = [voter(0, "5"), voter(1, "7"), voter(2, "7 m")]
    found = grade(Problem(id="0", text="", answer="7"), result_of(candidates), AnswerJudge())
    older = [replace(each, ballot=()) for each in found]
    assert problem_curves(older, 3, (1, 2, 3)) == problem_curves(found, 3, (1, 2, 3))


@pytest.mark.parametrize(("n", "num_right"), [(8, 0), (8, 1), (8, 3), (8, 8), (64, 5)])
def test_pass_at_k_is_the_published_estimator(n: int, num_right: int) -> None:
    for k in (1, 2, 4, 8):
        numbers = np.arange(n - num_right + 1, n + 1)
        published = 1.0 if n - num_right < k else 1.0 - np.prod(1.0 - k / numbers)
        assert pass_at_k(n, num_right, k) == pytest.approx(published)


def test_pass_at_k_is_unbiased() -> None:
    rng = np.random.default_rng(0)
    estimates = [pass_at_k(16, int(rng.binomial(16, 0.2)), 4) for _ in range(20_000)]
    assert statistics.fmean(estimates) == pytest.approx(1 - 0.8**4, abs=0.005)


def test_missing_samples_are_wrong() -> None:
    curves = problem_curves([graded(0, "1", 0.5)], 4, (1, 2, 4))
    assert curves["pass"] == pytest.approx((0.25, 0.5, 1.0))
    assert curves["majority"] == pytest.approx((0.25, 0.5, 1.0))
    assert problem_curves([], 4, (1, 4)) == {"pass": (0.0, 0.0), "majority": (0.0, 0.0)}


def test_samples_without_a_score_have_zero_where_others_have_one() -> None:
    found = [graded(0, "2", None), graded(1, "1", None)]
    curves = problem_curves(found, 2, (1, 2), has_scores=True)
    assert curves["best"] == curves["weighted"] == (0.5, 0.0)
    assert problem_curves([], 2, (1, 2), has_scores=True)["weighted"] == (0.0, 0.0)
    assert set(problem_curves([graded(0, "1", 0.5)], 1, (1,), has_scores=False)) == {
        "pass",
        "majority",
    }


def test_drawn_subsets_come_close_to_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    drawn = rng.choice([0, 1, 2], p=[0.4, 0.3, 0.3], size=14)
    found = [graded(index, str(one + 1), float(rng.random())) for index, one in enumerate(drawn)]
    assert math.comb(14, 4) <= curves_module.MOST_SUBSETS < math.comb(14, 7)
    estimated = problem_curves(found, 14, (7,))
    monkeypatch.setattr(curves_module, "MOST_SUBSETS", 10_000)
    curves_module._subsets.cache_clear()
    exact = problem_curves(found, 14, (7,))
    curves_module._subsets.cache_clear()
    assert estimated["best"] == exact["best"]
    for rule in ("majority", "weighted"):
        assert estimated[rule] == pytest.approx(exact[rule], abs=0.05)


def test_curves_without_scores_need_none() -> None:
    found = [replace(graded(index, "1", None)) for index in range(4)]
    assert set(problem_curves(found, 4, (1, 2, 4))) == {"pass", "majority"}


@pytest.mark.parametrize(
    ("method", "n", "sizes"),
    [
        ("best_of_n", 16, (1, 2, 4, 8, 16)),
        ("majority", 12, (1, 2, 4, 8, 12)),
        ("greedy", 16, ()),
        ("beam_search", 16, ()),
        ("self_consistency", 16, ()),
    ],
)
def test_independent_samples_have_curves(method: Any, n: int, sizes: tuple[int, ...]) -> None:
    assert curve_sizes(method_config(method, n=n)) == sizes
