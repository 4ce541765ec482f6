"""Exactness on the fake backend: one tree for every policy, whatever runs beside it."""

import itertools
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from fasttts.backends.fake import Drafter
from fasttts.config import Aggregation, SchedulingConfig, SearchConfig, SearchMethod, search_config
from fasttts.scheduling.loop import Loop
from tests.drafters import Mixed, wrong
from tests.searches import (
    LateVerifier,
    Recorder,
    alone,
    drive,
    make_run,
    marked_generator,
    same_tree,
)

STEPS: list[dict[str, Any]] = [
    {},
    {"step_separator": ". "},
    {"step_pattern": r"[aeiou] |[.]\s"},
    {"step_tokens": 5},
    {"thinking": True},
    {"keep_code_blocks": False},
]

STOPS = [
    (),
    ("e\n\nr", "a\n\no", "\n\nu", "s. t"),
    tuple(f"{a}\n\n{b}" for a in "aeiou" for b in "aeioulrst"),
]

CONFIGS = st.builds(
    lambda method, steps, stop, survivors, width, seed, depth, aggregation: search_config(
        search=method,
        **steps,
        stop=stop,
        n=survivors * width,
        beam_width=width,
        seed=seed,
        max_depth=depth,
        max_tokens=120,
        max_step_tokens=20,
        aggregation=aggregation,
        stopping=("agreement", "beta")[seed % 2],
        wave_size=1 + seed % 3,
        granularity=(1, 2) if seed % 2 else (2, 1, 3),
        lookahead_steps=1 + seed % 2,
        repetition_penalty=(None, 1.3, 0.9)[seed % 3],
    ),
    st.sampled_from(get_args(SearchMethod)),
    st.sampled_from(STEPS),
    st.sampled_from(STOPS),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(0, 5),
    st.integers(1, 8),
    st.sampled_from(get_args(Aggregation)),
)


SCHEDULING = st.builds(
    SchedulingConfig,
    slots=st.integers(1, 40),
    speculation=st.booleans(),
    speculation_depth=st.sampled_from([None, 1, 2]),
    speculation_rule=st.sampled_from(["measured", "score", "likely", "paper"]),
    num_bins=st.integers(1, 5),
    early_verification=st.booleans(),
    verification_batch_tokens=st.sampled_from([1, 20, 200]),
    lookahead_verification=st.booleans(),
    prefix_order=st.booleans(),
    early_stop=st.booleans(),
    two_phase=st.booleans(),
    kv_usage_threshold=st.sampled_from([0.1, 0.5, 0.95]),
    draft_tokens=st.sampled_from([0, 1, 4, 16]),
    draft_rule=st.sampled_from(["measured", "always"]),
)
DRAFTERS = st.sampled_from([None, None, wrong]) | st.builds(Mixed, st.integers(0, 1000))
VERIFIERS = st.builds(LateVerifier, st.sampled_from([0, 0, 1, 3, 9]), is_serial=st.booleans())
POOLS = st.sampled_from([(16, 4096), (8, 60), (16, 20)])


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
@pytest.mark.timeout(300)
@hypothesis_settings(max_examples=300)
@given(
    scheduling=SCHEDULING,
    verifier=VERIFIERS,
    is_late=st.booleans(),
    pool=POOLS,
    drafter=DRAFTERS,
    searches=st.lists(st.tuples(st.sampled_from("abc"), CONFIGS), min_size=1, max_size=4),
    arrivals=st.lists(st.integers(0, 30), min_size=4, max_size=4),
    preemptions=st.sets(st.integers(0, 60), max_size=5),
)
def test_a_search_is_a_pure_function_of_its_inputs(
    *,
    scheduling: SchedulingConfig,
    verifier: LateVerifier,
    is_late: bool,
    pool: tuple[int, int],
    drafter: Drafter | None,
    searches: list[tuple[str, SearchConfig]],
    arrivals: list[int],
    preemptions: set[int],
) -> None:
    options = {"block_size": pool[0], "num_blocks": pool[1]}
    generator = marked_generator(is_late=is_late, max_draft_tokens=8, drafter=drafter, **options)
    # For the verifier, time passes between the loop's steps: to wait within one is of no use.
    loop = Loop(generator, verifier, scheduling, longest_wait_s=0)
    runs = [make_run(generator, text, config) for text, config in searches]
    pending = sorted(zip(arrivals, range(len(runs)), strict=False))

    def disturb(iteration: int) -> None:
        verifier.tick()
        if iteration in preemptions:
            generator.preempt_all()
        while pending and (pending[0][0] <= iteration or not loop.has_work):
            loop.submit(runs[pending.pop(0)[1]], Recorder())

    disturb(-1)
    drive(loop, disturb)
    for run, (text, config) in zip(runs, searches, strict=True):
        assert same_tree(run, alone(text, config, marked_generator()))
    assert verifier.most_at_once <= 1 or not verifier.is_serial
    assert generator.num_unfinished() == 0
    assert generator.pressure().kv_cache_usage == 0


@pytest.mark.parametrize("aggregation", get_args(Aggregation))
def test_early_stop_counts_all_steps_of_a_node(aggregation: Any) -> None:
    """Three steps of the best score raise a mean by more than one does."""
    scheduling = SchedulingConfig(slots=1, speculation=False, verification_batch_tokens=1)
    num_given_up = 0
    for seed, text in itertools.product(range(12), "ab"):
        config = search_config(
            search="varying_granularity",
            n=2,
            beam_width=2,
            seed=seed,
            step_tokens=5,
            max_depth=4,
            max_tokens=120,
            aggregation=aggregation,
            granularity=(2, 1, 3),
        )
        generator = marked_generator()
        run = make_run(generator, text, config)
        loop = Loop(generator, LateVerifier(0, is_serial=False), scheduling, longest_wait_s=0)
        loop.submit(run, Recorder())
        drive(loop)
        assert same_tree(run, alone(text, config, marked_generator())), (seed, text)
        num_given_up += sum(node.is_dominated for node in run.tree)
    assert num_given_up > 0
