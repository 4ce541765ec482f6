"""Policies and aggregation as pure functions."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttts.config import Aggregation, search_config
from fasttts.decoding.steps import WHOLE_ANSWER
from fasttts.search import Beam, BeamSearch, BestOfNPolicy, Branch, make_policy
from fasttts.search.aggregation import aggregate, on_grid

pytestmark = pytest.mark.usefixtures("unmeasured")


def beams(*scores: float, ended: tuple[int, ...] = ()) -> list[Beam]:
    return [Beam(path=(i,), score=s, is_answer_ended=i in ended) for i, s in enumerate(scores)]


def test_beam_search_keeps_the_best_and_refills() -> None:
    policy = BeamSearch(n=4, beam_width=2)
    assert policy.num_roots == 4
    assert policy.expand(beams(0.1, 0.9, 0.3, 0.8), []) == [
        Branch(path=(1,), num_children=2),
        Branch(path=(3,), num_children=2),
    ]


def test_ended_beams_leave_the_pool_and_the_rest_refill_it() -> None:
    policy = BeamSearch(n=6, beam_width=2)
    frontier = beams(0.1, 0.9, 0.3, 0.8, 0.2, 0.7, ended=(0, 1, 2, 3))
    assert policy.expand(frontier, []) == [
        Branch(path=(5,), num_children=3),
        Branch(path=(4,), num_children=3),
    ]


def test_what_does_not_divide_evenly_goes_to_the_best() -> None:
    frontier = beams(0.1, 0.9, 0.3, 0.8, 0.2, 0.7, 0.6, 0.5, ended=(1, 6, 7, 5, 4))
    assert [b.num_children for b in BeamSearch(n=8, beam_width=2).expand(frontier, [])] == [3, 3, 2]


def test_ties_go_to_the_smaller_path() -> None:
    branches = BeamSearch(n=4, beam_width=4).expand(beams(0.5, 0.5, 0.5, 0.5), [])
    assert branches == [Branch(path=(0,), num_children=4)]


def test_beam_search_ends_when_nothing_is_alive_or_n_have_ended() -> None:
    policy = BeamSearch(n=4, beam_width=2)
    assert policy.expand(beams(0.1, 0.2, ended=(0, 1)), []) == ()
    three = beams(0.1, 0.2, 0.3)
    assert policy.expand(beams(0.1, 0.2, ended=(0,)), three) == ()
    assert policy.expand(beams(0.1, 0.2), three) != ()


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=24),
    st.integers(1, 4),
    st.randoms(),
)
def test_beam_search_is_pure_and_never_exceeds_the_pool(
    scored: list[tuple[float, bool]], beam_width: int, random: Random
) -> None:
    n = beam_width * 6
    policy = BeamSearch(n=n, beam_width=beam_width)
    frontier = [
        Beam(path=(i,), score=on_grid(s), is_answer_ended=e) for i, (s, e) in enumerate(scored)
    ]
    branches = policy.expand(frontier, [])
    shuffled = list(frontier)
    random.shuffle(shuffled)
    assert policy.expand(shuffled, []) == branches
    alive = {b.path for b in frontier if not b.is_answer_ended}
    assert {b.path for b in branches} <= alive
    assert sum(b.num_children for b in branches) == (n if branches else 0)


def test_samples_are_whole_answers_that_wait_for_nobody() -> None:
    policy = make_policy(search_config(search="best_of_n", n=3))
    assert policy == BestOfNPolicy(n=3)
    assert policy.num_roots == 3
    assert policy.step_shape(1) == WHOLE_ANSWER
    assert {policy.group((i,)) for i in range(3)} == {(0,), (1,), (2,)}
    assert policy.expand(beams(0.5), []) == ()
    assert make_policy(search_config(search="none", n=16)) == BestOfNPolicy(n=1)


@pytest.mark.parametrize(
    ("rule", "score"), [("last", 0.5), ("min", 0.25), ("prod", 0.125), ("mean", 0.5833)]
)
def test_aggregation(rule: Aggregation, score: float) -> None:
    assert aggregate([1.0, 0.25, 0.5], rule) == score
    assert aggregate([], rule) == 0.0


@given(st.floats(0, 1))
def test_the_grid_absorbs_the_last_bits(score: float) -> None:
    assert on_grid(on_grid(score)) == on_grid(score)
    assert abs(on_grid(score) - score) <= 0.5001e-4
