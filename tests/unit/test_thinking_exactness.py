"""One tree for every search of a model that thinks, whatever runs beside it."""

from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from fasttts.backends.fake import FakeGenerator
from fasttts.config import SchedulingConfig, SearchConfig, SearchMethod, search_config
from fasttts.interfaces import Generator
from fasttts.scheduling.loop import Loop
from fasttts.verifiers.resolve import as_verifier, joint_num_logprobs
from tests.searches import (
    LateVerifier,
    Recorder,
    alone,
    drive,
    make_run,
    marked_generator,
    same_tree,
)
from tests.unit.test_exactness import POOLS, SCHEDULING
from tests.unit.test_signal_exactness import Bunched, failing

OPENED: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": True}}

STEPS: list[dict[str, Any]] = [
    {},
    {"thinking": True},
    {"score_thoughts": False},
    {"step_tokens": 3},
    {"step_separator": "</th"},
    {"stop": ("\n</think", "aa", "e")},
    {"structured_outputs": {"regex": "[a-z ]{3,30}"}},
]

BUDGETS = st.sampled_from(
    [{}, {"tokens": 90, "grace_tokens": 30}, {"tokens": 150, "verifier_calls": 9}]
)

CONFIGS = st.builds(
    lambda method, steps, limit, survivors, seed, depth, budget: search_config(
        search=method,
        **steps,
        **OPENED,
        thinking_token_budget=limit,
        n=survivors * 2,
        beam_width=2,
        seed=seed,
        max_depth=depth,
        max_tokens=90 if seed else 12,
        max_step_tokens=11,
        probe="Result: ",
        probe_tokens=1 + seed % 2,
        probe_interval=7,
        probe_window=1 + seed % 3,
        budget=budget,
    ),
    st.sampled_from([*get_args(SearchMethod), "dynasor", "dynasor", "dynasor", "none"]),
    st.sampled_from(STEPS),
    st.sampled_from([None, 0, 1, 7, 14, 21, 30]),
    st.integers(1, 3),
    st.integers(0, 8),
    st.integers(1, 8),
    BUDGETS,
)


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
@pytest.mark.timeout(300)
@hypothesis_settings(max_examples=100)
@given(
    scheduling=SCHEDULING,
    num_ticks=st.sampled_from([0, 0, 3]),
    is_late=st.booleans(),
    pool=POOLS,
    searches=st.lists(st.tuples(st.sampled_from("abc"), CONFIGS), min_size=1, max_size=3),
    preemptions=st.sets(st.integers(0, 60), max_size=5),
)
def test_a_search_of_thoughts_is_a_pure_function_of_its_inputs(
    *,
    scheduling: SchedulingConfig,
    num_ticks: int,
    is_late: bool,
    pool: tuple[int, int],
    searches: list[tuple[str, SearchConfig]],
    preemptions: set[int],
) -> None:
    generator = marked_generator(is_late=is_late, block_size=pool[0], num_blocks=pool[1])
    verifier = LateVerifier(num_ticks, is_serial=False)
    loop = Loop(generator, verifier, scheduling, longest_wait_s=0)
    runs = [make_run(generator, text, config) for text, config in searches]
    recorders = [Recorder() for _ in runs]
    for run, recorder in zip(runs, recorders, strict=True):
        loop.submit(run, recorder)

    def disturb(iteration: int) -> None:
        verifier.tick()
        if iteration in preemptions:
            generator.preempt_all()

    disturb(-1)
    drive(loop, disturb)
    for run, recorder, (text, config) in zip(runs, recorders, searches, strict=True):
        assert recorder.outcomes == [None]
        assert same_tree(run, alone(text, config, marked_generator()))
    assert generator.num_unfinished() == 0
    assert generator.pressure().kv_cache_usage == 0


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("make_generator", [Bunched, failing])
@pytest.mark.parametrize(
    "options",
    [
        {"search": "beam_search"},
        {"search": "best_of_n", "selection": "weighted", "score_thoughts": False},
        {"search": "dynasor", "selection": "best"},
        {"search": "none"},
    ],
    ids=str,
)
def test_interrupted_and_bunched_tokens_end_thoughts_at_the_same_places(
    options: dict[str, Any], make_generator: Callable[[], Generator]
) -> None:
    signal = as_verifier("mean_confidence")
    for seed in range(3):
        config = search_config(
            **options,
            **OPENED,
            n=4,
            seed=seed,
            max_tokens=100,
            thinking_token_budget=25 + seed,
            probe_interval=6,
            probe_window=2,
            probe="Result: ",
            probe_tokens=1,
        )
        scheduling = SchedulingConfig(slots=5, draft_rule="always")
        loop = Loop(make_generator(), signal, scheduling)
        recorder = Recorder()
        run = make_run(FakeGenerator(), "a", config, joint_num_logprobs(signal))
        loop.submit(run, recorder)
        drive(loop)
        assert recorder.outcomes == [None]
        assert same_tree(run, alone("a", config, verifier=signal))
