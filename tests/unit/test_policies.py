"""Every policy through the test kit, and what each of them decides."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttts.config import SearchConfig, SearchMethod, search_config
from fasttts.decoding.steps import WHOLE_ANSWER
from fasttts.errors import ConfigurationError
from fasttts.search import (
    Beam,
    BestOfNPolicy,
    Branch,
    ConfidenceStop,
    DiverseTreeSearch,
    DynamicBranching,
    Lookahead,
    ParticleFilter,
    SelfConsistency,
    VaryingGranularity,
    make_policy,
    resolve,
)
from fasttts.search.consistency import probability_of_lead
from fasttts.search.step_policy import share_by_weight, share_systematically
from fasttts.testing import check_policy
from fasttts.types import Path

OPTIONS: list[dict[str, Any]] = [
    {"search": method, "n": 8, "beam_width": 4} for method in get_args(SearchMethod)
] + [
    {"search": "self_consistency", "n": 7, "wave_size": 3, "stopping": "agreement"},
    {"search": "dvts", "n": 6, "beam_width": 1},
    {"search": "dynamic_branching", "n": 5, "score_temperature": 2.0},
    {"search": "particle_filtering", "n": 5, "score_temperature": 0.2, "seed": 7},
    {"search": "lookahead", "n": 4, "beam_width": 2, "lookahead_steps": 3},
    {"search": "deepconf", "n": 6, "warmup": 2, "keep": 0.5},
    {"search": "deepconf", "n": 6, "warmup": 9},
    {"search": "deepconf", "n": 5, "stop_below": 0.6},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(map(str, o.values())))
def test_every_policy_keeps_the_promises(options: dict[str, Any]) -> None:
    config = search_config(**options)
    check_policy(lambda: make_policy(config), num_searches=12)


def beams(scores: dict[Path, float], ended: tuple[Path, ...] = ()) -> list[Beam]:
    return [
        Beam(path=path, score=score, is_answer_ended=path in ended)
        for path, score in scores.items()
    ]


def shares(branches: Any) -> dict[Path, int]:
    return {branch.path: branch.num_children for branch in branches}


def test_dvts_subtrees_decide_alone() -> None:
    policy = DiverseTreeSearch(n=8, beam_width=4)
    assert [policy.group((i,)) for i in range(8)] == [(0,)] * 4 + [(1,)] * 4
    assert policy.group((5, 2, 0)) == (1,)
    frontier = beams({(4,): 0.3, (5,): 0.9, (6,): 0.9, (7,): 0.1}, ended=((4,),))
    assert policy.expand(frontier, []) == [Branch(path=(5,), num_children=4)]


def test_a_dvts_subtree_ends_when_its_best_answer_ended() -> None:
    policy = DiverseTreeSearch(n=4, beam_width=2)
    assert policy.expand(beams({(0,): 0.9, (1,): 0.5}, ended=((0,),)), []) == ()
    assert policy.expand(beams({(0,): 0.5, (1,): 0.9}, ended=((0,),)), []) != ()


def test_a_warm_up_runs_to_its_end_and_sets_the_threshold() -> None:
    policy = ConfidenceStop(n=6, warmup=4, keep=0.5, stop_below=None)
    assert policy.num_roots == 4
    assert policy.is_revisiting
    scores = {(0,): 0.1, (1,): 0.7, (2,): 0.5, (3,): 0.0}
    going = policy.expand(beams(scores, ended=((0,), (2,))), [])
    assert shares(going) == {(1,): 1, (3,): 1}
    ended = beams({(0,): 0.1, (2,): 0.5}, ended=((0,), (2,)))
    last = beams({(1, 0): 0.7, (3, 0): 0.3}, ended=((1, 0), (3, 0)))
    assert policy.expand(last, ended) == [Branch(path=(), num_children=2)]
    ended += last
    others = beams({(4,): 0.5, (5,): 0.4999})
    assert shares(policy.expand(others, ended)) == {(4,): 1}  # two of four reach 0.5
    assert policy.expand(beams({(4, 0): 0.2, (5, 0): 0.9}, ended=((5, 0),)), ended) == []


@pytest.mark.parametrize(
    ("keep", "least"), [(0.01, 0.9), (0.25, 0.9), (0.3, 0.6), (0.5, 0.6), (0.9, 0.2), (1.0, 0.2)]
)
def test_the_threshold_is_what_a_share_of_the_warm_up_reaches(keep: float, least: float) -> None:
    policy = ConfidenceStop(n=5, warmup=4, keep=keep, stop_below=None)
    scores = {(0,): 0.6, (1,): 0.9, (2,): 0.2, (3,): 0.4}
    ended = beams(scores, ended=tuple(scores))
    assert shares(policy.expand(beams({(4,): least}), ended)) == {(4,): 1}
    assert policy.expand(beams({(4,): least - 1e-4}), ended) == []


def test_a_fixed_threshold_needs_no_warm_up_and_spares_one() -> None:
    policy = ConfidenceStop(n=3, warmup=4, keep=0.9, stop_below=0.5)
    assert (policy.num_roots, policy.is_revisiting) == (3, False)
    frontier = beams({(0,): 0.5, (1,): 0.4, (2,): 0.9})
    assert shares(policy.expand(frontier, [])) == {(0,): 1, (2,): 1}
    weak = beams({(0,): 0.2, (1,): 0.4, (2,): 0.4})
    assert shares(policy.expand(weak, [])) == {(1,): 1}
    assert policy.expand(weak, beams({(3,): 0.1}, ended=((3,),))) == []
    assert policy.expand(beams({(0,): 0.2, (1,): 0.9}, ended=((0,),)), [])
    assert policy.expand(beams({(0,): 0.2, (1,): 0.1}, ended=((0,),)), []) == []


def test_a_warm_up_of_all_answers_stops_none() -> None:
    policy = ConfidenceStop(n=3, warmup=9, keep=0.5, stop_below=None)
    assert (policy.num_roots, policy.is_revisiting) == (3, False)
    assert shares(policy.expand(beams({(0,): 0.0, (1,): 0.0, (2,): 1.0}), [])) == {
        (0,): 1,
        (1,): 1,
        (2,): 1,
    }
    assert policy.expand(beams({(0,): 0.0}, ended=((0,),)), []) == []


def test_dynamic_branching_shares_places_by_score() -> None:
    policy = DynamicBranching(n=8, temperature=1.0)
    frontier = beams({(0,): 1.0, (1,): 1.0, (2,): 0.0, (3,): 0.5}, ended=((3,),))
    assert shares(policy.expand(frontier, [])) == {(0,): 3, (1,): 3, (2,): 1}
    sharp = DynamicBranching(n=8, temperature=0.01)
    assert shares(sharp.expand(frontier, [])) == {(0,): 4, (1,): 3}


def test_ended_answers_give_up_their_places() -> None:
    policy = DynamicBranching(n=4, temperature=1.0)
    frontier = beams({(0,): 0.5, (1,): 0.5}, ended=((0,),))
    assert shares(policy.expand(frontier, [])) == {(1,): 3}
    assert shares(policy.expand(frontier, beams({(2,): 0.9, (3,): 0.9}))) == {(1,): 1}
    assert policy.expand(frontier, beams({(2,): 0.9, (3,): 0.9, (4,): 0.1})) == ()


def test_granularity_changes_with_depth() -> None:
    policy = VaryingGranularity(n=4, beam_width=2, granularity=(1, 2, 8))
    depths = [(0,) * depth for depth in (1, 2, 3, 9)]
    assert [policy.step_shape(path).num_steps for path in depths] == [1, 2, 8, 8]
    frontier = beams({(0,): 0.1, (1,): 0.9, (2,): 0.5, (3,): 0.4})
    assert shares(policy.expand(frontier, [])) == {(1,): 2, (2,): 2}


def test_particles_follow_the_odds_and_the_seed() -> None:
    frontier = beams({(i,): 0.5 for i in range(64)})
    even = ParticleFilter(n=64, temperature=1.0, seed=1)
    assert shares(even.expand(frontier, [])) == {(i,): 1 for i in range(64)}
    frontier = beams({(0,): 0.9, (1,): 0.5, (2,): 0.1, (3,): 0.0})
    found = [
        shares(ParticleFilter(n=4, temperature=1.0, seed=seed).expand(frontier, []))
        for seed in range(400)
    ]
    total = 9 + 1 + 1 / 9
    assert all(sum(f.values()) == 4 for f in found)
    assert sum(f[(0,)] for f in found) / 400 == pytest.approx(36 / total, abs=0.03)
    assert sum(f.get((1,), 0) for f in found) / 400 == pytest.approx(4 / total, abs=0.05)


def test_draws_that_fall_on_ended_answers_leave_places_empty() -> None:
    policy = ParticleFilter(n=4, temperature=1.0, seed=3)
    ended = beams({(0,): 0.5, (1,): 0.5}, ended=((0,), (1,)))
    assert shares(policy.expand(beams({(2, 0): 0.5, (3, 0): 0.5}), ended)) == {(2, 0): 1, (3, 0): 1}
    assert policy.expand(beams({(2, 0): 0.0, (3, 0): 0.0}), ended) == []


def test_lookahead_alternates_steps_and_rollouts() -> None:
    policy = Lookahead(n=4, beam_width=2, num_steps=3)
    steps = beams({(0,): 0.9, (1,): 0.8, (2,): 0.1, (3,): 0.2}, ended=((0,),))
    assert shares(policy.expand(steps, [])) == {(1,): 1, (2,): 1, (3,): 1}
    rollout = policy.step_shape((1, 0))
    assert (rollout.num_steps, rollout.is_greedy) == (3, True)
    assert not policy.step_shape((1, 1)).is_greedy
    assert policy.step_shape((1, 1, 0)).is_greedy
    ended = beams({(0,): 0.9}, ended=((0,),))
    rollouts = beams({(1, 0): 0.1, (2, 0): 0.9, (3, 0): 0.5}, ended=((2, 0),))
    assert shares(policy.expand(rollouts, ended)) == {(2,): 2, (3,): 2}


def test_lookahead_ends_once_n_answers_ended_rollouts_aside() -> None:
    policy = Lookahead(n=2, beam_width=2, num_steps=1)
    ended = beams({(0,): 0.9, (1, 0): 0.9}, ended=((0,), (1, 0)))
    frontier = beams({(1, 1): 0.5, (1, 2): 0.5}, ended=((1, 1),))
    assert policy.expand(frontier, ended[:1]) == ()
    assert shares(policy.expand(frontier, ended[1:])) == {(1, 2): 1}


def voters(answers: str) -> list[Beam]:
    """Ended beams with these answers; a dot has none."""
    return [
        Beam(path=(i,), score=0, is_answer_ended=True, answer=None if a == "." else a)
        for i, a in enumerate(answers)
    ]


@pytest.mark.parametrize(
    ("answers", "wave"),
    [
        ("aaaa", 4),
        ("aaaaaaaaa", 0),
        ("aaaaaaab", 4),
        ("aaaaaaaabb", 4),
        ("aaaaaaaaab", 0),
        ("....", 4),
    ],
)
def test_agreement_stops_when_the_lead_cannot_change(answers: str, wave: int) -> None:
    policy = SelfConsistency(n=16, wave_size=4, stopping="agreement", confidence=0.95)
    branches = policy.expand(voters(answers), [])
    assert [b.num_children for b in branches] == ([wave] if wave else [])


@pytest.mark.parametrize(("answers", "stops"), [("aaa", False), ("aaaa", True), ("aaaab", False)])
def test_beta_stops_when_the_lead_is_likely(answers: str, stops: bool) -> None:
    policy = SelfConsistency(n=16, wave_size=1, stopping="beta", confidence=0.95)
    found = voters(answers)
    assert (policy.expand(found[-1:], found[:-1]) == ()) == stops


def test_the_last_wave_is_as_large_as_the_rest() -> None:
    policy = SelfConsistency(n=7, wave_size=3, stopping="beta", confidence=0.99)
    assert policy.num_roots == 3
    assert policy.step_shape((0,)) == WHOLE_ANSWER
    found = voters("abcabc")
    assert policy.expand(found[3:], found[:3]) == [Branch(path=(), num_children=1)]
    found = voters("abcabca")
    assert policy.expand(found[6:], found[:6]) == ()
    assert SelfConsistency(n=2, wave_size=3, stopping="beta", confidence=0.9).num_roots == 2


@given(st.integers(0, 12), st.integers(0, 12))
def test_the_lead_is_the_integral_of_its_posterior(first: int, second: int) -> None:
    grid = [(i + 0.5) / 4000 for i in range(4000)]
    density = [share**first * (1 - share) ** second for share in grid]
    assert probability_of_lead(first, second) == pytest.approx(
        sum(density[2000:]) / sum(density), abs=1e-4
    )


@given(
    st.integers(0, 50), st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=20), st.floats(0, 0.999)
)
def test_shares_add_up_and_stay_within_one_of_their_quota(
    num_places: int, weights: list[float], offset: float
) -> None:
    for found in (
        share_by_weight(num_places, weights),
        share_systematically(num_places, weights, offset),
    ):
        assert sum(found) == num_places
        for share, weight in zip(found, weights, strict=True):
            assert abs(share - num_places * weight / sum(weights)) < 1 + 1e-6


def test_what_methods_need_is_resolved() -> None:
    def resolved(search: str, **options: Any) -> Any:
        return resolve(search_config(search=search, **options), has_verifier=True)

    assert resolved("self_consistency").selection == "majority"
    assert resolved("dvts").selection == "best"
    assert resolved("dynamic_branching").score_temperature == 0.1
    assert resolved("particle_filtering").score_temperature == 1.0
    assert resolved("particle_filtering", score_temperature=3).score_temperature == 3
    assert resolved("beam_search").score_temperature is None


def three_answers(config: SearchConfig) -> BestOfNPolicy:
    return BestOfNPolicy(n=3)


def nothing(config: SearchConfig) -> None:
    return None


def test_a_policy_of_ones_own_is_named_by_its_function() -> None:
    config = search_config(search=f"{__name__}:three_answers")
    assert make_policy(config).num_roots == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no.such.module:f", "cannot be imported: ModuleNotFoundError: No module named 'no'"),
        (f"{__name__}:absent", "cannot be imported: .* has no attribute 'absent'"),
        (f"{__name__}:OPTIONS", "is no function but list"),
        (f"{__name__}:nothing", "made a NoneType, .* it lacks num_roots, needs_scores, "),
    ],
)
def test_a_name_without_a_policy_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make_policy(search_config(search=name))


def test_answers_that_are_stopped_leave_a_weighted_vote() -> None:
    config = search_config(search="deepconf")
    assert resolve(config, has_verifier=True).selection == "weighted"
    best = search_config(config, selection="best")
    assert resolve(best, has_verifier=True).selection == "best"
    with pytest.raises(ConfigurationError, match="needs a verifier"):
        resolve(config, has_verifier=False)
