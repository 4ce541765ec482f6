"""When a full batch is cheap, and what runs ahead where it is not."""

from typing import Any

import pytest

from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.config import PLAIN, SchedulingConfig, search_config
from fasttts.interfaces import GenerationRequest
from fasttts.scheduling.latency import IterationLatency
from fasttts.scheduling.loop import Loop
from fasttts.scheduling.run import SearchRun
from tests.searches import Recorder, drive, make_run, same_tree, snapshot


def measured(alone_s: float, each_s: float, *sizes: int) -> IterationLatency:
    cost = IterationLatency()
    for size in sizes:
        cost.measured(size, alone_s + each_s * (size - 1))
    return cost


def test_nothing_is_known_from_one_size_of_batch() -> None:
    assert not IterationLatency().is_cheap(64)
    assert not measured(5e-3, 0.0, 40, 50, 60).is_cheap(64)
    assert not measured(5e-3, 0.0, 31, 60).is_cheap(64)


@pytest.mark.parametrize(
    ("alone_s", "each_s", "is_cheap"),
    [
        (5e-3, 20e-6, True),  # a GPU: 64 sequences take a quarter longer than one
        (2.2e-3, 180e-6, False),  # a CPU: they take six times as long
        (1e-6, 10e-6, True),  # a fake: what costs nothing is cheap
        (5e-3, 0.0, True),
    ],
)
def test_a_full_batch_is_cheap_where_sequences_cost_little(
    alone_s: float, each_s: float, is_cheap: bool
) -> None:
    assert measured(alone_s, each_s, 64, 32, 10).is_cheap(64) == is_cheap


def test_larger_batches_than_were_seen_are_extrapolated() -> None:
    cost = measured(5e-3, 20e-6, 10, 30)
    assert cost.is_cheap(64)
    assert not cost.is_cheap(1024)


def test_what_else_the_machine_does_is_left_out() -> None:
    cost = measured(5e-3, 20e-6, 64, 63, 10)
    cost.measured(62, 2.0)
    assert cost.is_cheap(64)


def test_old_times_do_not_stay() -> None:
    cost = measured(1e-3, 0.0, 64, 10)
    for _ in range(8):
        cost.measured(64, 12e-3)
    assert not cost.is_cheap(64)


def test_what_was_costly_is_cheap_again_by_a_margin() -> None:
    cost = measured(2e-3, 180e-6, 64, 10)
    assert not cost.is_cheap(64)
    for alone_s, is_cheap in ((6e-3, False), (40e-3, True)):
        for _ in range(8):
            cost.measured(10, alone_s)
            cost.measured(64, alone_s + 3e-3)
        assert cost.is_cheap(64) == is_cheap


class Gentle(FakeGenerator):
    """Computes the prompt of a new sequence a token at a time, beside the others."""

    NUM_ITERATIONS = 8
    BLOCK_SIZE = 4

    def __init__(self) -> None:
        super().__init__(max_num_seqs=32, block_size=self.BLOCK_SIZE)
        self._missing: dict[str, int] = {}

    def add(self, request: GenerationRequest) -> None:
        super().add(request)
        self._missing[request.request_id] = self.NUM_ITERATIONS

    def _schedule(self) -> list[Any]:
        return [one for one in super()._schedule() if self._has_begun(one.request.request_id)]

    def _has_begun(self, request_id: str) -> bool:
        self._missing[request_id] -= 1
        return self._missing[request_id] < 0


def search(rule: str, *, seconds_a_step: float = 0.0) -> SearchRun:
    scheduling = SchedulingConfig.model_validate({"speculation_rule": rule})
    return run_search(scheduling, seconds_a_step)


def run_search(
    scheduling: SchedulingConfig,
    seconds_a_step: float = 0.0,
    generator: FakeGenerator | None = None,
) -> SearchRun:
    generator = generator or FakeGenerator(max_num_seqs=32)
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += seconds_a_step * generator.num_unfinished()
        return now

    loop, recorder = Loop(generator, FakeVerifier(), scheduling, clock=clock), Recorder()
    run = make_run(generator, "What is 2 + 2?", search_config(n=32, max_tokens=200))
    loop.submit(run, recorder)
    drive(loop)
    assert recorder.outcomes == [None]
    return run


def test_likely_steps_waste_fewer_tokens_and_find_the_same_tree() -> None:
    every, likely, plain = search("score"), search("likely"), snapshot(run_search(PLAIN))
    assert same_tree(every, plain)
    assert same_tree(likely, plain)
    assert likely.counts.generated_tokens < every.counts.generated_tokens
    assert sum(likely.counts.num_speculative) > 0


def test_the_measured_rule_is_the_one_that_fits() -> None:
    costly, cheap = search("measured", seconds_a_step=1e-3), search("measured")
    assert costly.counts.num_speculative == search("likely").counts.num_speculative
    assert sum(cheap.counts.num_speculative) > sum(costly.counts.num_speculative)


def test_long_starts_do_not_hide_what_a_batch_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(IterationLatency, "measured", lambda _, size, seconds: sizes.append(size))
    run = run_search(SchedulingConfig(speculation_rule="score"), generator=Gentle())
    assert len(sizes) > run.counts.num_iterations / 3
    assert same_tree(run, snapshot(run_search(PLAIN)))


def test_a_prompt_counts_once_its_sequence_has_a_token() -> None:
    generator = Gentle()
    run = run_search(SchedulingConfig(speculation_rule="score"), generator=generator)
    num_begun = sum(missing < 0 for missing in generator._missing.values())
    num_added = len(generator._missing)
    assert num_begun < num_added, "some are aborted before"
    recomputed = run.counts.requested_tokens - run.counts.cached_tokens
    num_first = 32 * len(run.tree.prompt_token_ids)
    assert 0 <= recomputed <= num_first + num_begun * generator.BLOCK_SIZE
