"""Curves of an evaluation: what fewer samples would have given."""

import itertools
import math
import statistics
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttts.evaluation import GradedCandidate, method_config, pass_at_k, problem_curves
from fasttts.evaluation import curves as curves_module
from fasttts.evaluation.methods import curve_sizes
from fasttts.search.aggregation import rank
from fasttts.types import Candidate

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
