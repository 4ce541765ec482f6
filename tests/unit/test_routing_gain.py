"""Whether searching helps: counts of paired outcomes, their interval, and what follows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttts.routing.calibration import Sample
from fasttts.routing.gain import WORTHWHILE, Gain

COUNTS = st.tuples(*[st.integers(0, 300)] * 4).filter(any)


def gain(both: int, won: int, lost: int, neither: int) -> Gain:
    return Gain(
        num_problems=both + won + lost + neither,
        num_draft_right=both + lost,
        num_won=won,
        num_lost=lost,
    )


def test_outcomes_are_counted_in_pairs() -> None:
    outcomes = [(True, True), (False, True), (False, True), (True, False), (False, False)]
    samples = [
        Sample(
            lowest_score=0.5,
            is_draft_right=draft,
            is_search_right=search,
            draft_tokens=1,
            total_tokens=2,
        )
        for draft, search in outcomes
    ]
    found = Gain.of(samples)
    assert found == gain(both=1, won=2, lost=1, neither=1)
    assert (found.num_draft_right, found.num_search_right) == (2, 3)
    assert found.difference == pytest.approx(0.2)


def test_the_interval_is_that_of_agresti_and_min() -> None:
    """(37 -+ 1.96 * sqrt(70 - 37 * 37 / 197)) / 197, of 195 problems of which 69 change."""
    low, high = gain(both=94, won=53, lost=16, neither=32).interval
    assert (low, high) == pytest.approx((0.10882, 0.26681), abs=1e-4)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (gain(both=177, won=91, lost=0, neither=32), "better"),
        (gain(both=10, won=12, lost=2, neither=16), "better"),
        (gain(both=10, won=8, lost=9, neither=273), "no better"),
        (gain(both=0, won=0, lost=0, neither=96), "no better"),
        (gain(both=20, won=1, lost=12, neither=67), "no better"),
        (gain(both=0, won=0, lost=0, neither=30), "undecided"),
        (gain(both=10, won=6, lost=4, neither=20), "undecided"),
        (gain(both=100, won=30, lost=20, neither=150), "undecided"),
    ],
    ids=str,
)
def test_the_interval_decides(found: Gain, verdict: str) -> None:
    assert found.verdict == verdict


@given(COUNTS)
def test_verdicts_follow_from_the_interval(counts: tuple[int, int, int, int]) -> None:
    found = gain(*counts)
    low, high = found.interval
    assert -1 <= low < high <= 1
    assert (found.verdict == "better") is (low > 0)
    assert (found.verdict == "no better") is (low <= 0 and high < WORTHWHILE)
    assert gain(counts[0], counts[2], counts[1], counts[3]).interval == pytest.approx((-high, -low))


@given(COUNTS)
def test_as_many_problems_as_are_needed_decide(counts: tuple[int, int, int, int]) -> None:
    found = gain(*counts)
    if found.verdict != "undecided":
        return
    assert found.num_needed >= found.num_problems
    times = 2 * found.num_needed // found.num_problems + 1
    assert gain(*(times * count for count in counts)).verdict != "undecided"


def test_a_gain_says_what_was_found() -> None:
    assert str(gain(both=10, won=8, lost=9, neither=273)) == (
        "on 300 problems search solved 18 and the draft 19: -0.3 points, 95 % interval -3.1 to +2.4"
    )
