"""Searches on the real models: every optimisation on gives the tree of the plain loop."""

from typing import Any

import pytest

from fasttts.backends.vllm import load_backends
from fasttts.config import PLAIN, SchedulingConfig, engine_config, search_config
from fasttts.demo.problems import generate_problems
from fasttts.scheduling.loop import Loop
from fasttts.scheduling.run import SearchRun
from tests.searches import Recorder, drive, make_run, same_tree, snapshot

pytestmark = [pytest.mark.vllm, pytest.mark.usefixtures("unmeasured")]

NUM_BEAM_SEARCHES, NUM_SEARCHES = 20, 30
PROBLEMS = generate_problems("test", 11, NUM_SEARCHES, min_operations=2, max_operations=6)
OTHERS: list[dict[str, Any]] = [
    {"search": "best_of_n"},
    {"search": "self_consistency", "wave_size": 3},
    {"search": "dvts"},
    {"search": "dynamic_branching"},
    {"search": "varying_granularity", "granularity": (1, 2)},
    {"search": "particle_filtering"},
    {"search": "lookahead", "lookahead_steps": 2},
    {"search": "beam_search", "step_tokens": 12},
    {"search": "beam_search", "step_pattern": r"[.]\s|\n"},
    {"search": "dvts", "thinking": True},
]
CONFIGS = [
    search_config(
        **(OTHERS[seed % len(OTHERS)] if seed >= NUM_BEAM_SEARCHES else {}),
        n=8,
        beam_width=(2, 4)[seed % 2],
        seed=seed,
        temperature=(0.5, 0.8, 1.2)[seed % 3],
        repetition_penalty=(None, 1.1)[seed // 2 % 2],
        aggregation=("last", "min", "prod", "mean")[seed % 4],
        max_tokens=300,
    )
    for seed in range(NUM_SEARCHES)
]


def search_all(scheduling: SchedulingConfig) -> list[SearchRun]:
    """All searches, run together to their end."""
    generator, verifier = load_backends(engine_config(max_num_seqs=64))
    try:
        loop, recorders = Loop(generator, verifier, scheduling), []
        runs = [
            make_run(generator, problem.text, config)
            for problem, config in zip(PROBLEMS, CONFIGS, strict=True)
        ]
        for run in runs:
            recorders.append(Recorder())
            loop.submit(run, recorders[-1])
        drive(loop)
        assert all(recorder.outcomes == [None] for recorder in recorders)
        assert generator.num_unfinished() == 0
        return runs
    finally:
        generator.close()
        if verifier is not None:
            verifier.close()


@pytest.mark.slow
def test_all_optimisations_give_the_tree_of_the_plain_loop() -> None:
    plain = search_all(PLAIN)
    fast = search_all(SchedulingConfig(slots=48, verification_batch_tokens=100))
    for expected, found in zip(plain, fast, strict=True):
        assert same_tree(found, snapshot(expected))
    assert num_generated(fast) > num_generated(plain)  # it did speculate


def num_generated(runs: list[SearchRun]) -> int:
    return sum(run.counts.generated_tokens for run in runs)
