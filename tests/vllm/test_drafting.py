"""Iterations with drafts: who gets how many, and which drafted tokens are kept."""

import enum
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fasttts.backends.vllm.arguments import VllmDevice
from fasttts.backends.vllm.drafting import (
    Drafting,
    fits,
    schedule_no_drafts,
    why_not,
)
from fasttts.backends.vllm.generator import _merged
from fasttts.config import engine_config
from fasttts.decoding.drafts import MAX_DRAFTED_BATCH
from fasttts.interfaces import GenerationOutput

pytestmark = pytest.mark.vllm

MOST = 4
GPU = VllmDevice(is_cpu=False, name="H200", memory_bytes=1 << 37, capability=(9, 0))


def request(num_tokens: int, num_computed: int, num_placeholders: int = 0) -> Any:
    """What the scheduler knows of a request before an iteration."""
    return SimpleNamespace(
        num_tokens=num_tokens,
        num_computed_tokens=num_computed,
        num_output_placeholders=num_placeholders,
        is_prefill_chunk=False,
        async_tokens_to_discard=0,
    )


class Core:
    """An engine core whose scheduler notes what it is told."""

    def __init__(self, requests: dict[str, Any], max_model_len: int = 1000) -> None:
        self.noted: list[Any] = []
        self.turns: list[bool] = []
        self.scheduler: Any = SimpleNamespace(
            requests=requests,
            max_model_len=max_model_len,
            max_num_scheduled_tokens=2048,
            _update_after_schedule=self.noted.append,
            update_from_output=lambda scheduled, output: output,
            reset_prefix_cache=lambda resets_running: resets_running,
            running=list(requests.values()),
            num_lookahead_tokens=0,
        )
        speculator = SimpleNamespace(turn=self.turn)
        runner = SimpleNamespace(speculator=speculator)
        worker = SimpleNamespace(worker=SimpleNamespace(model_runner=runner))
        self.model_executor = SimpleNamespace(driver_worker=worker)

    def turn(self, *, is_on: bool) -> None:
        self.turns.append(is_on)

    def schedule(self, drafting: Drafting, numbers: dict[str, int]) -> Any:
        """An iteration, with drafts if there are any."""
        scheduled = SimpleNamespace(
            num_scheduled_tokens=dict(numbers),
            total_num_scheduled_tokens=sum(numbers.values()),
            scheduled_spec_decode_tokens={},
        )
        self.scheduler._update_after_schedule(scheduled)
        assert self.noted[-1] is scheduled
        assert scheduled.total_num_scheduled_tokens == sum(scheduled.num_scheduled_tokens.values())
        return scheduled


def lengths(scheduled: Any) -> dict[str, int]:
    return {
        core_id: len(drafts) for core_id, drafts in scheduled.scheduled_spec_decode_tokens.items()
    }


def test_all_sequences_of_an_iteration_compute_as_many_tokens() -> None:
    requests = {
        "decodes": request(40, 39),
        "is ahead": request(40, 44, 5),
        "ends its prompt": request(19, 16),
        "is in its prompt": request(30, 16),
    }
    core = Core(requests)
    drafting = Drafting(core, MOST)
    drafting.set(MOST, {})
    numbers = {"decodes": 1, "is ahead": 1, "ends its prompt": 3, "is in its prompt": 5}
    scheduled = core.schedule(drafting, numbers)
    assert set(scheduled.num_scheduled_tokens.values()) == {MOST + 1}
    assert lengths(scheduled) == {"decodes": 4, "is ahead": 4, "ends its prompt": 2}
    core.scheduler.update_from_output(scheduled, "output")
    assert [drafting.num_drafted(core_id) for core_id in numbers] == [4, 4, 2, 0]
    assert core.scheduler.num_lookahead_tokens == MOST
    assert core.scheduler.dynamic_sd_lookup[17] == 0


@pytest.mark.parametrize(
    ("requests", "numbers", "most", "longest"),
    [
        pytest.param({"a": request(40, 39)}, {"a": 1}, 0, 1000, id="not wanted"),
        pytest.param(
            {"a": request(40, 39), "b": request(60, 0)}, {"a": 1, "b": 60}, 4, 1000, id="a prompt"
        ),
        pytest.param(
            {"a": request(40, 39), "b": request(97, 96)},
            {"a": 1, "b": 1},
            4,
            101,
            id="full context",
        ),
        pytest.param(
            {str(n): request(40, 39) for n in range(MAX_DRAFTED_BATCH // 2 + 1)},
            {str(n): 1 for n in range(MAX_DRAFTED_BATCH // 2 + 1)},
            4,
            1000,
            id="many sequences",
        ),
        pytest.param({}, {}, 4, 1000, id="nothing to compute"),
    ],
)
def test_an_iteration_drafts_for_all_or_for_none(
    requests: dict[str, Any], numbers: dict[str, int], most: int, longest: int
) -> None:
    core = Core(requests, longest)
    drafting = Drafting(core, MOST)
    drafting.set(most, {})
    scheduled = core.schedule(drafting, numbers)
    assert scheduled.num_scheduled_tokens == numbers
    assert scheduled.scheduled_spec_decode_tokens == {}
    assert core.turns == [most > 0]


@pytest.mark.parametrize(
    ("number", "num_sequences", "length"),
    [
        (4, 102, 4),
        (4, 103, 2),
        (4, 170, 2),
        (4, 171, 1),
        (4, 256, 1),
        (4, 257, 0),
        (3, 9, 2),
        (2, 102, 2),
        (1, 102, 1),
        (0, 1, 0),
    ],
)
def test_drafts_have_the_longest_length_that_there_are_graphs_for(
    number: int, num_sequences: int, length: int
) -> None:
    ids = [str(n) for n in range(num_sequences)]
    core = Core({core_id: request(40, 39) for core_id in ids})
    drafting = Drafting(core, MOST)
    drafting.set(number, {})
    assert drafting.num_tokens(num_sequences) == 1 + length
    scheduled = core.schedule(drafting, dict.fromkeys(ids, 1))
    assert set(scheduled.num_scheduled_tokens.values()) == {1 + length}
    assert set(lengths(scheduled).values()) == ({length} if length else set())


def test_sequences_that_get_fewer_have_drafts_of_their_own_length() -> None:
    """Then none is filled up, prompts may be of any length, and the context's end ends a draft."""
    requests = {
        "decodes": request(40, 39),
        "is ahead": request(40, 44, 5),
        "gets one": request(40, 39),
        "gets none": request(40, 39),
        "ends its prompt": request(60, 16),
        "is in its prompt": request(90, 16),
        "ends its context": request(98, 97),
    }
    core = Core(requests, max_model_len=101)
    drafting = Drafting(core, MOST)
    drafting.set(MOST, {"gets one": 1, "gets none": 0, "ended long ago": 0})
    scheduled = core.schedule(
        drafting,
        {**dict.fromkeys(requests, 1), "ends its prompt": 44, "is in its prompt": 30},
    )
    assert lengths(scheduled) == {
        "decodes": 4,
        "is ahead": 4,
        "gets one": 1,
        "ends its prompt": 4,
        "ends its context": 2,
    }
    assert scheduled.num_scheduled_tokens["ends its prompt"] == 48
    assert scheduled.num_scheduled_tokens["gets none"] == 1
    core.scheduler.update_from_output(scheduled, "output")
    assert [drafting.num_drafted(each) for each in requests] == [4, 4, 1, 0, 4, 0, 2]
    drafting.set(MOST, {"ended long ago": 0})
    other = core.schedule(drafting, {"decodes": 1, "gets none": 1})
    assert lengths(other) == {"decodes": 4, "gets none": 4}


def test_drafts_do_not_pass_what_vllm_computes_at_once() -> None:
    core = Core({"a": request(40, 39), "b": request(2000, 4)})
    core.scheduler.max_num_scheduled_tokens = 8
    drafting = Drafting(core, MOST)
    drafting.set(MOST, {})
    scheduled = core.schedule(drafting, {"a": 1, "b": 5})
    assert scheduled.scheduled_spec_decode_tokens == {}


@pytest.mark.parametrize(
    ("options", "arguments", "is_second", "said"),
    [
        ({"scheduling": {"draft_tokens": 0}}, {}, True, "draft_tokens"),
        ({}, {}, False, "first model runner"),
        ({}, {"tensor_parallel_size": 2}, True, "other processes"),
        ({}, {"distributed_executor_backend": "mp"}, True, "other processes"),
        ({}, {"compilation_config": {"cudagraph_capture_sizes": [1, 2, 4]}}, True, "graphs"),
        ({}, {"compilation_config": 3}, True, "graphs"),
        ({}, {"compilation_config": {"max_cudagraph_capture_size": 4}}, True, "graphs"),
        ({}, {"kv_offloading_size": 4}, True, "elsewhere"),
        ({}, {"async_scheduling": False}, True, "schedule otherwise"),
    ],
)
def test_it_says_why_nothing_is_drafted(
    options: dict[str, Any],
    arguments: dict[str, Any],
    is_second: bool,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.24.0")
    config = engine_config(**options)
    assert said in str(why_not(config, arguments, GPU, is_second=is_second, plan=None))
    assert why_not(engine_config(), {}, GPU, is_second=True, plan=None) is None
    usual: dict[str, Any] = {
        "compilation_config": {"mode": 3, "max_cudagraph_capture_size": 64},
        "distributed_executor_backend": "uni",
    }
    assert why_not(engine_config(), usual, GPU, is_second=True, plan=None) is None
    for number, reason in ((0, "no memory is planned for drafts"), (4, None)):
        plan: Any = SimpleNamespace(workload=SimpleNamespace(draft_tokens=number))
        assert why_not(engine_config(), {}, GPU, is_second=True, plan=plan) == reason
    cpu = VllmDevice(is_cpu=True, name="cpu", memory_bytes=0)
    assert "CPU" in str(why_not(engine_config(), {}, cpu, is_second=True, plan=None))
    for version in ("0.99.0", "0.24.1"):
        monkeypatch.setattr("importlib.metadata.version", lambda name, found=version: found)
        assert version in str(why_not(engine_config(), {}, GPU, is_second=True, plan=None))


class FullAttentionManager:
    """Named as vLLM's."""


class SlidingWindowManager:
    """Named as vLLM's."""


class AsyncScheduler:
    """Named as vLLM's; manages layers of these kinds."""

    def __init__(self, *managers: object) -> None:
        coordinator = SimpleNamespace(single_type_managers=managers)
        self.kv_cache_manager = SimpleNamespace(coordinator=coordinator)


def test_only_models_whose_layers_have_full_attention_draft() -> None:
    """A window moves on, and a recurrent state goes on, by drafts that are not kept."""
    full, window = FullAttentionManager(), SlidingWindowManager()
    assert fits(AsyncScheduler(full))
    assert not fits(AsyncScheduler(window))
    assert not fits(AsyncScheduler(full, window))
    synchronous = SimpleNamespace(**vars(AsyncScheduler(full)))
    assert not fits(synchronous)
    schedule_no_drafts(synchronous)
    assert [synchronous.dynamic_sd_lookup[number] for number in (1, 600)] == [0, 0]
    assert synchronous.update_draft_token_ids("drafts") is None


def test_iterations_that_a_question_ran_count_their_drafts() -> None:
    outputs = [
        GenerationOutput("a", (1, 2, 3), False, num_drafted=4, num_kept_drafts=2),
        GenerationOutput("b", (7,), False),
        GenerationOutput("a", (4,), False, num_drafted=4, num_kept_drafts=0),
        GenerationOutput("a", (5, 6), True, num_drafted=4, num_kept_drafts=1),
    ]
    first, second = _merged(outputs)
    assert first == GenerationOutput(
        "a", [1, 2, 3, 4, 5, 6], True, logprobs=[], num_drafted=12, num_kept_drafts=3
    )
    assert second == outputs[1]


def kept(
    drawn: list[int], read: list[int], num_rows: list[int], limits: Any = None
) -> list[list[int]]:
    """The tokens that each sequence keeps of an iteration."""
    from fasttts.backends.vllm.speculator import DraftedRows

    rows = object.__new__(DraftedRows)
    rows._rows_K1 = torch.arange(MOST + 1)
    chain: Any = SimpleNamespace(draft_limits=lambda slots: limits)
    rows._chain = chain
    bounds = np.concatenate([[0], np.cumsum(num_rows)]).astype(np.int32)
    batch = SimpleNamespace(
        cu_num_logits=torch.from_numpy(bounds), idx_mapping_np=np.arange(len(num_rows))
    )
    sampled, numbers = rows._kept(torch.tensor(drawn), torch.tensor(read), batch)
    return [row[:n] for row, n in zip(sampled.tolist(), numbers.tolist(), strict=True)]


def test_drafts_are_kept_while_they_are_what_was_drawn() -> None:
    """A row has the token that it read, and what was drawn behind it."""
    drawn = [11, 12, 13, 14, 15, *(21, 22, 99, 24, 25), *(31, 32, 33), 41]
    read = [10, 11, 12, 13, 14, *(20, 21, 22, 23, 24), *(30, 88, 32), 40]
    assert kept(drawn, read, [5, 5, 3, 1]) == [
        [11, 12, 13, 14, 15],
        [21, 22, 99],
        [31],
        [41],
    ]


def test_a_sequence_with_a_grammar_keeps_one_token() -> None:
    drawn, read = [11, 12, 13, 21, 22, 23], [10, 11, 12, 20, 21, 22]
    limits = np.array([False, True])
    assert kept(drawn, read, [3, 3], limits) == [[11], [21, 22, 23]]


def test_the_next_sequence_is_no_draft() -> None:
    """The token that the next sequence reads may be what was drawn last."""
    assert kept([11, 12, 21], [10, 11, 12], [2, 1]) == [[11, 12], [21]]


def test_iterations_in_flight_are_discarded_as_often_as_there_are_any() -> None:
    """Sequences that are sent back lose what is in flight, and no draft of it counts."""
    requests = {"a": request(40, 39), "b": request(60, 50)}
    requests["b"].is_prefill_chunk = True
    for core_id, each in requests.items():
        each.request_id = core_id
    core = Core(requests)
    drafting = Drafting(core, MOST)
    drafting.set(MOST, {})
    first = core.schedule(drafting, {"a": 1, "b": 5})
    second = core.schedule(drafting, {"a": 1, "b": 5})
    core.scheduler.update_from_output(first, "output")
    assert lengths(first) == {"a": 4}
    assert core.scheduler.reset_prefix_cache(True)
    assert [each.async_tokens_to_discard for each in requests.values()] == [1, 0]
    core.scheduler.update_from_output(second, "output")
    assert lengths(second) == {}
    assert drafting.num_drafted("a") == 0


class Mode(enum.Enum):
    """vLLM's modes of CUDA graphs, as far as they are asked here."""

    PARTS = 1
    BOTH = 2

    def separate_routine(self) -> bool:
        return self is Mode.BOTH

    def decode_mode(self) -> str:
        return "whole"


class Graphs:
    """vLLM's graphs of an engine that captured none yet."""

    def __init__(self, decode_query_len: int, mode: Mode, max_num_reqs: int) -> None:
        self.decode_query_len = decode_query_len
        self.cudagraph_mode = mode
        self.max_num_reqs = max_num_reqs
        self.compilation_config = SimpleNamespace(max_cudagraph_capture_size=40)
        self._candidates: dict[tuple[int, int], list[Any]] = {}
        self._capture_descs: dict[str, list[Any]] = {}
        self._init_candidates()

    def _init_candidates(self) -> None:
        drafted = SimpleNamespace(
            num_tokens=20, num_reqs=4, uniform_token_count=self.decode_query_len
        )
        self._candidates = {(number, 0): [drafted] for number in range(21)}
        self._capture_descs = {"whole": [drafted]}


@pytest.mark.parametrize("max_num_reqs", [1, 6, 16, 300])
def test_graphs_cover_iterations_of_each_length(max_num_reqs: int) -> None:
    from fasttts.backends.vllm.speculator import _graphs_of_each_length

    graphs = _graphs_of_each_length(Graphs)(5, Mode.BOTH, max_num_reqs)
    for num_each in (1, 2, 3, 5):
        for number in range(1, min(max_num_reqs, 40 // num_each) + 1):
            found = next(
                each
                for each in graphs._candidates[number * num_each, 0]
                if each.uniform_token_count == num_each
            )
            assert number <= found.num_reqs <= min(max_num_reqs, 40 // num_each)
            assert found.num_tokens == num_each * found.num_reqs
    captured = [each.num_tokens for each in graphs._capture_descs["whole"]]
    assert captured == sorted(captured, reverse=True)
    largest = min(max_num_reqs, 8)
    if max_num_reqs >= 4:  # else vLLM itself would have made none of its own
        found = [d.num_reqs for d in graphs._capture_descs["whole"] if d.uniform_token_count == 5]
        assert found == sorted({4, largest}, reverse=True)


@pytest.mark.parametrize(("query_len", "mode"), [(1, Mode.BOTH), (5, Mode.PARTS)])
def test_other_engines_have_the_graphs_that_they_had(query_len: int, mode: Mode) -> None:
    """An engine without drafts may be opened by another thread meanwhile."""
    from fasttts.backends.vllm.speculator import _graphs_of_each_length

    graphs = _graphs_of_each_length(Graphs)(query_len, mode, 16)
    assert [len(found) for found in graphs._candidates.values()] == [1] * 21
    assert len(graphs._capture_descs["whole"]) == 1
