"""Prefix order, counted: fewer prompt tokens are computed again when the KV cache is small."""

import pytest

from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.config import PLAIN, SchedulingConfig, search_config
from fasttts.scheduling.loop import Loop
from tests.searches import Recorder, Snapshot, drive, make_run, snapshot


def search(scheduling: SchedulingConfig, num_blocks: int) -> tuple[int, Snapshot]:
    generator = FakeGenerator(block_size=4, num_blocks=num_blocks, mean_step_tokens=12)
    loop = Loop(generator, FakeVerifier(), scheduling)
    run = make_run(generator, "What is it?", search_config(n=64, seed=1, max_tokens=150))
    loop.submit(run, Recorder())
    drive(loop)
    counts = run.counts
    return counts.requested_tokens - counts.cached_tokens, snapshot(run)


def test_siblings_together_recompute_less_on_a_small_pool() -> None:
    ordered = PLAIN.model_copy(update={"prefix_order": True, "slots": 8})
    repeated = PLAIN.model_copy(update={"prefix_order": False, "slots": 8})
    num_ordered, tree = search(ordered, num_blocks=60)
    num_repeated, same_tree = search(repeated, num_blocks=60)
    assert tree == same_tree
    assert num_ordered < 0.5 * num_repeated


@pytest.mark.parametrize("prefix_order", [True, False])
def test_a_large_pool_recomputes_only_partial_blocks(prefix_order: bool) -> None:
    scheduling = PLAIN.model_copy(update={"prefix_order": prefix_order})
    num_computed, tree = search(scheduling, num_blocks=100_000)
    num_prompt_tokens, block_size = 100, 4
    assert num_computed <= num_prompt_tokens + len(tree) * block_size
