"""The speculator of vLLM's second runner: whose text is drafted from, and when nothing is."""

import gc
import weakref
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fasttts.backends.vllm.sampler import GROUP
from fasttts.backends.vllm.speculator import TextSpeculator
from fasttts.decoding.drafts import MAX_DRAFTED_BATCH

pytestmark = pytest.mark.vllm

NUM_SLOTS, MAX_LEN, MOST = 4, 64, 4


class States:
    """The runner's state of its slots, as far as the speculator knows it."""

    def __init__(self) -> None:
        self.req_id_to_index: dict[str, int] = {}
        self.index_to_req_id: dict[int, str] = {}
        self.prefill_len = SimpleNamespace(np=np.zeros(NUM_SLOTS, dtype=np.int32))
        self.num_computed_tokens_np = np.zeros(NUM_SLOTS, dtype=np.int32)
        self.total_len = SimpleNamespace(gpu=torch.zeros(NUM_SLOTS, dtype=torch.int32))
        self.all_token_ids = SimpleNamespace(
            gpu=torch.zeros((NUM_SLOTS, MAX_LEN), dtype=torch.int32)
        )
        self.last_sampled_tokens = torch.zeros((NUM_SLOTS, 1), dtype=torch.int64)

    def add_request(self, *, req_id: str, all_token_ids: list[int]) -> None:
        slot = min(set(range(NUM_SLOTS)) - set(self.index_to_req_id))
        self.req_id_to_index[req_id], self.index_to_req_id[slot] = slot, req_id
        self.prefill_len.np[slot] = len(all_token_ids)
        self.write(req_id, all_token_ids)

    def write(self, req_id: str, token_ids: list[int]) -> None:
        """Gives a slot all of its tokens."""
        slot = self.req_id_to_index[req_id]
        self.total_len.gpu[slot] = len(token_ids)
        self.num_computed_tokens_np[slot] = len(token_ids)
        self.all_token_ids.gpu[slot, : len(token_ids)] = torch.tensor(token_ids, dtype=torch.int32)


class Runner:
    """A runner with a speculator."""

    def __init__(self) -> None:
        self.req_states = States()
        self.sampler = SimpleNamespace(add_request=lambda *arguments: None)
        config = SimpleNamespace(
            scheduler_config=SimpleNamespace(max_num_seqs=NUM_SLOTS),
            num_speculative_tokens=MOST,
            model_config=SimpleNamespace(enforce_eager=True, max_model_len=MAX_LEN),
        )
        self.speculator = TextSpeculator(config, torch.device("cpu"))
        self.speculator.follow(self)

    def begin(self, req_id: str, group: int | None, token_ids: list[int]) -> None:
        self.req_states.add_request(req_id=req_id, all_token_ids=token_ids)
        slot = self.req_states.req_id_to_index[req_id]
        arguments = None if group is None else {GROUP: group}
        self.sampler.add_request(slot, len(token_ids), SimpleNamespace(extra_args=arguments))

    def end(self, req_id: str) -> None:
        del self.req_states.index_to_req_id[self.req_states.req_id_to_index.pop(req_id)]

    def drafts(self, num_reqs: int | None = None) -> dict[str, list[int]]:
        """Runs an iteration; returns what is drafted for each request."""
        found = self.req_states.req_id_to_index
        slots = torch.tensor(list(found.values()))
        batch: Any = SimpleNamespace(num_reqs=num_reqs or len(found), idx_mapping=slots)
        proposed = self.speculator.propose(batch, num_sampled=None)
        return dict(zip(found, proposed.tolist(), strict=False))


@pytest.fixture
def runner() -> Runner:
    runner = Runner()
    runner.speculator.turn(is_on=True)
    return runner


def test_requests_of_a_group_draft_from_each_other(runner: Runner) -> None:
    runner.begin("a", 1, [1, 2, 3, 4, 5, 6])
    runner.begin("b", 1, [9, 1, 2])
    runner.begin("c", None, [9, 1, 2])
    assert runner.drafts() == {"a": [0] * 4, "b": [3, 4, 5, 6], "c": [0] * 4}
    runner.req_states.write("b", [9, 1, 2, 3, 8])
    runner.req_states.write("a", [1, 2, 3, 4, 5, 6, 9, 1])
    assert runner.drafts()["a"] == [2, 3, 8, 0]
    assert runner.req_states.last_sampled_tokens[:3, 0].tolist() == [6, 2, 2]


def test_nothing_is_drafted_while_it_is_off_or_too_many_run(runner: Runner) -> None:
    runner.begin("a", 1, [1, 2, 1, 2])
    assert runner.drafts()["a"][:2] == [1, 2]
    runner.speculator.turn(is_on=False)
    runner.req_states.write("a", [1, 2, 1, 2, 7, 8, 9, 5, 7, 8, 9, 3, 3])
    before = runner.drafts()
    runner.speculator.turn(is_on=True)
    assert runner.drafts(num_reqs=MAX_DRAFTED_BATCH // 2 + 1) == before
    runner.req_states.write("a", [1, 2, 1, 2, 7, 8, 9, 5, 7, 8, 9])
    assert runner.drafts()["a"] == [5, 7, 8, 9], "all that was written meanwhile is known"


def test_a_slot_that_others_used_meanwhile_is_not_drafted_from(runner: Runner) -> None:
    """Of two searches the second used a slot while nothing was drafted."""
    runner.begin("a", 7, [1, 2, 3])
    runner.begin("b", 7, [4, 5])
    runner.drafts()
    runner.speculator.turn(is_on=False)
    runner.end("b")
    runner.begin("c", 8, [1, 2, 900, 901, 902, 903])
    runner.drafts()
    runner.end("c")
    runner.speculator.turn(is_on=True)
    runner.req_states.write("a", [1, 2, 3, 1, 2])
    assert runner.drafts()["a"] == [3, 1, 2, 0]
    runner.begin("d", 7, [900])
    assert runner.drafts()["d"] == [0] * 4


def test_a_closed_engine_leaves_nothing_behind(runner: Runner) -> None:
    runner.begin("a", 1, [1, 2, 1])
    runner.drafts()
    speculator, gone = runner.speculator, weakref.ref(runner.req_states)
    speculator.close()
    del runner.sampler, runner.req_states, runner.speculator
    gc.collect()
    assert gone() is None
