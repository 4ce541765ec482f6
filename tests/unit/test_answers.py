"""Extraction and equality of answers, and the choice among candidates."""

import time

import pytest

from fasttts.config import Selection
from fasttts.search.answers import answers_equal, canonical_answer, extract_boxed, group_equal
from fasttts.search.selection import rank
from fasttts.types import Candidate, FinishReason


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"The answer is \boxed{31}.", "31"),
        (r"\boxed{1} and then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{ 7 }", "7"),
        (r"\boxed{7} \boxed{8", "7"),  # the last one never closes
        (r"\boxed{", None),
        ("31", None),
        ("", None),
        (r"\boxed{}", ""),
    ],
)
def test_extract_boxed(text: str, answer: str | None) -> None:
    assert extract_boxed(text) == answer


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("31", "31.0"),
        ("1,234", "1234"),
        ("$31$", "31"),
        ("-0", "0"),
        ("1e3", "1000"),
        (r"\frac{1}{2}", "0.5"),
        (r"\frac12", r"\frac{1}{2}"),
        ("x+1", "1+x"),
        (r"\sqrt{8}", r"2\sqrt{2}"),
        ("50\\%", "50\\%"),
    ],
)
def test_equal_answers(left: str, right: str) -> None:
    assert answers_equal(left, right)
    assert answers_equal(right, left)


@pytest.mark.parametrize(
    ("left", "right"),
    [("31", "32"), ("1,2", "12"), ("x", "y"), ("", "0"), (None, "1"), (None, None), ("31", "abc")],
)
def test_different_answers(left: str | None, right: str | None) -> None:
    assert not answers_equal(left, right)
    assert not answers_equal(right, left)


def test_a_very_long_answer_is_compared_as_text() -> None:
    nested = "(" * 500 + "1" + ")" * 500
    started = time.monotonic()
    assert answers_equal(nested, nested)
    assert not answers_equal(nested, "1")
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("huge", ["1e999999999", "9" * 5000, "nan", "inf"])
def test_extreme_numbers_neither_hang_nor_explode(huge: str) -> None:
    assert len(canonical_answer(huge)) <= 5001
    assert answers_equal(huge, huge)


def test_equal_answers_are_grouped_in_order_of_appearance() -> None:
    assert group_equal(["2", None, "1/2", "2.0", r"\frac{1}{2}", "3"]) == [[0, 3], [2, 4], [5]]


def candidate(
    index: int, answer: str | None, score: float | None, reason: FinishReason = "stop"
) -> Candidate:
    return Candidate(
        path=(index,),
        text=f"text {index}",
        steps=(),
        score=score,
        answer=answer,
        finish_reason=reason,
        num_tokens=1,
    )


CANDIDATES = [
    candidate(0, "1", 0.5),
    candidate(1, "2", 0.9),
    candidate(2, "1", 0.6),
    candidate(3, None, 0.95),
    candidate(4, "2", 0.1, "length"),
    candidate(5, "3", 0.9),
]


@pytest.mark.parametrize(
    ("selection", "order"),
    [
        ("best", [3, 1, 5, 2, 0, 4]),
        ("majority", [2, 0, 1, 5, 3, 4]),
        ("weighted", [2, 0, 1, 5, 3, 4]),
    ],
)
def test_rank(selection: Selection, order: list[int]) -> None:
    ranked = rank(CANDIDATES, selection)
    assert [c.path[0] for c in ranked] == order


def test_weighted_votes_may_overrule_the_majority() -> None:
    votes = [candidate(0, "1", 0.2), candidate(1, "1", 0.2), candidate(2, "2", 0.9)]
    assert rank(votes, "weighted")[0].answer == "2"
    assert rank(votes, "majority")[0].answer == "1"


def test_votes_work_without_scores() -> None:
    votes = [candidate(0, "1", None), candidate(1, "2", None), candidate(2, "2", None)]
    assert rank(votes, "majority")[0].path == (1,)
