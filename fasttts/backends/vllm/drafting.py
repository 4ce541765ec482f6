"""Iterations with drafted tokens, in the scheduler of vLLM's engine core.

Whole CUDA graphs cover iterations in which every sequence computes as many tokens. So an iteration
drafts for all of its sequences or for none: each that reaches the end of its known text is given
drafts up to the same number of tokens, and a prompt's last part is filled up likewise. Only where
some sequences are to have fewer drafts than others is each given its own; attention is then outside
of the graphs. What the drafts are is the runner's business (`speculator`); here they are numbers.
"""

import importlib.metadata
import math
from collections import deque
from collections.abc import Mapping
from typing import Any

from fasttts.backends.vllm.arguments import VllmDevice, offloads
from fasttts.config import EngineConfig
from fasttts.decoding.drafts import MAX_DRAFTED_BATCH, draft_lengths
from fasttts.memory import MemoryPlan

LARGEST_GRAPH = "max_cudagraph_capture_size"
"""vLLM's option for the largest of its CUDA graphs, which no size in a list may be beyond."""

_KNOWN_VERSIONS = frozenset({"0.24.0"})
"""Versions of vLLM whose second runner was shown to draft exactly."""


def why_not(
    config: EngineConfig,
    arguments: Mapping[str, Any],
    device: VllmDevice,
    *,
    is_second: bool,
    plan: MemoryPlan | None,
) -> str | None:
    """Why a generator does not draft tokens; None where it can.

    Args:
        config: The engine's options.
        arguments: Those of vLLM's `LLM`.
        device: The device that it runs on.
        is_second: Whether it gets the second model runner.
        plan: How memory is shared; None where it is not planned.
    """
    if config.scheduling.draft_tokens == 0:
        return "draft_tokens is 0"
    if device.is_cpu:
        return "a further token in an iteration costs a CPU nearly as much as a further sequence"
    if not is_second:
        return "the first model runner schedules synchronously beside drafts, which costs more"
    version = importlib.metadata.version("vllm")
    if version.partition("+")[0] not in _KNOWN_VERSIONS:
        return f"drafts are not known to be exact with vLLM {version}"
    ranks = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
    executor = arguments.get("distributed_executor_backend")
    if any(arguments.get(name, 1) != 1 for name in ranks) or executor not in {None, "uni"}:
        return "the model is computed in other processes"
    if offloads(arguments):
        return "KV blocks are kept elsewhere as well"
    if arguments.get("async_scheduling") is False or arguments.get("speculative_config"):
        return "the engine's arguments schedule otherwise"
    if _largest_graph(arguments.get("compilation_config") or {}) < 1 + asked_drafts(config):
        return "compilation_config leaves no CUDA graphs for it"
    if plan is not None and plan.workload.draft_tokens == 0:
        return "no memory is planned for drafts"
    return None


def _largest_graph(compilation: Any) -> float:
    """Most tokens of a CUDA graph, as far as the user's options say; 0 for those of other types."""
    if not isinstance(compilation, dict):
        return 0
    sizes = compilation.get("cudagraph_capture_sizes")
    found = max(sizes) if sizes else compilation.get(LARGEST_GRAPH)
    return math.inf if found is None else float(found)


def asked_drafts(config: EngineConfig) -> int:
    """Tokens that are drafted for a sequence in an iteration, where anything is."""
    return config.scheduling.draft_tokens


def fits(scheduler: Any) -> bool:
    """Whether a scheduler drafts exactly: its layers all have full attention.

    A recurrent state cannot forget a draft, and a window that moves on frees what a rejected draft
    still needs.

    Args:
        scheduler: vLLM's scheduler of an engine core.
    """
    managers = getattr(scheduler.kv_cache_manager.coordinator, "single_type_managers", ())
    is_full = [type(each).__name__ for each in managers] == ["FullAttentionManager"]
    return is_full and type(scheduler).__name__ == "AsyncScheduler"


def schedule_no_drafts(scheduler: Any) -> None:
    """Has a scheduler of an engine with a speculator schedule no drafts by itself.

    Args:
        scheduler: vLLM's scheduler of an engine core.
    """
    scheduler.dynamic_sd_lookup = _NoPlaceholders()
    scheduler.update_draft_token_ids = lambda drafts: None  # as a synchronous one is told them


class Drafting:
    """Chooses, iteration by iteration, how many tokens vLLM drafts for each sequence.

    Args:
        core: vLLM's engine core (0.24), whose asynchronous scheduler is followed from here on.
        most: Most drafted tokens of a sequence in an iteration, as the runner was opened for.

    Attributes:
        most: The same.
    """

    def __init__(self, core: Any, most: int) -> None:
        self.most = most
        self._lengths = draft_lengths(most)
        self._fewer: Mapping[str, int] = {}
        self._scheduler = scheduler = core.scheduler
        self._speculator = core.model_executor.driver_worker.worker.model_runner.speculator
        self._wanted = 0
        self._computed: dict[str, Any] = {}
        """Drafts of the iteration whose tokens were reported last, by vLLM's id of a sequence."""
        schedule_no_drafts(scheduler)
        scheduler.num_lookahead_tokens = most  # blocks for what is drafted
        self._in_flight: deque[tuple[Any, set[str]]] = deque()
        """Sequences that get tokens from each iteration whose tokens are not reported yet."""
        self._follow(scheduler)

    def _follow(self, scheduler: Any) -> None:
        note, report = scheduler._update_after_schedule, scheduler.update_from_output
        reset = scheduler.reset_prefix_cache

        def update_after_schedule(scheduled: Any) -> None:
            self._fill_up(scheduled)
            note(scheduled)
            requests = scheduler.requests
            ids = {i for i in scheduled.num_scheduled_tokens if not requests[i].is_prefill_chunk}
            self._in_flight.append((scheduled, ids))

        def update_from_output(scheduled: Any, *others: Any, **options: Any) -> Any:
            while self._in_flight and self._in_flight.popleft()[0] is not scheduled:
                pass  # an iteration without tokens is not reported
            self._drop_discarded(scheduled)
            self._computed = scheduled.scheduled_spec_decode_tokens
            return report(scheduled, *others, **options)

        def reset_prefix_cache(reset_running_requests: bool = False, *others: Any) -> Any:
            running = list(scheduler.running) if reset_running_requests else []
            done = reset(reset_running_requests, *others)
            for request in running:  # vLLM counts the tokens in flight, and discards by iteration
                in_flight = (request.request_id in ids for _, ids in self._in_flight)
                request.async_tokens_to_discard = sum(in_flight)
            return done

        scheduler._update_after_schedule = update_after_schedule
        scheduler.update_from_output = update_from_output
        scheduler.reset_prefix_cache = reset_prefix_cache

    def _drop_discarded(self, scheduled: Any) -> None:
        """Forgets the drafts of sequences that were sent back since, whose tokens count no more."""
        requests = self._scheduler.requests
        scheduled.scheduled_spec_decode_tokens = {
            core_id: drafts
            for core_id, drafts in scheduled.scheduled_spec_decode_tokens.items()
            if core_id not in requests or not requests[core_id].async_tokens_to_discard
        }

    def close(self) -> None:
        """Lets go of the model."""
        self._speculator.close()

    def set(self, number: int, fewer: Mapping[str, int]) -> None:
        """Sets how many tokens are drafted from the next iteration on.

        Args:
            number: Most tokens of a sequence; the longest of `draft_lengths` that is not longer
                is taken, as graphs exist for those.
            fewer: The sequences that get fewer, by vLLM's id, and how many at most.
        """
        self._wanted = max((each for each in self._lengths if each <= number), default=0)
        self._fewer = fewer
        self._speculator.turn(is_on=self._wanted > 0)

    def num_tokens(self, num_sequences: int) -> int:
        """Tokens that each sequence computes in an iteration of so many.

        Args:
            num_sequences: All of its sequences.
        """
        return 1 + max(
            (
                each
                for each in self._lengths
                if each <= self._wanted and num_sequences * (1 + each) <= MAX_DRAFTED_BATCH
            ),
            default=0,
        )

    def num_drafted(self, core_id: str) -> int:
        """Drafted tokens that were computed for the tokens reported last.

        Args:
            core_id: vLLM's id of the sequence.
        """
        return len(self._computed.get(core_id, ()))

    def _fill_up(self, scheduled: Any) -> None:
        """Adds drafts to an iteration that vLLM has scheduled, if all of its sequences fit."""
        numbers: dict[str, int] = scheduled.num_scheduled_tokens
        num_each = self.num_tokens(len(numbers))
        if num_each == 1 or not numbers:
            return
        is_even = self._fewer.keys().isdisjoint(numbers)
        drafts = self._even(numbers, num_each) if is_even else self._own(numbers, num_each - 1)
        num_drafts = sum(drafts.values())
        if scheduled.total_num_scheduled_tokens + num_drafts > self._budget():
            return
        for core_id, number in drafts.items():
            numbers[core_id] += number
        scheduled.total_num_scheduled_tokens += num_drafts
        scheduled.scheduled_spec_decode_tokens = {
            core_id: [_UNKNOWN] * number for core_id, number in drafts.items()
        }

    def _even(self, numbers: Mapping[str, int], num_each: int) -> dict[str, int]:
        """Drafts that have every sequence compute `num_each` tokens; none where that cannot be."""
        drafts = {}
        for core_id, number in numbers.items():
            room = self._room(core_id, number)
            if room is None:
                continue
            if number > num_each or room < num_each - number:
                return {}
            if number < num_each:
                drafts[core_id] = num_each - number
        return drafts

    def _own(self, numbers: Mapping[str, int], most: int) -> dict[str, int]:
        """Drafts of each sequence as long as it may have, beside prompts of any length."""
        drafts = {}
        for core_id, number in numbers.items():
            room = self._room(core_id, number)
            length = min(room or 0, most, self._fewer.get(core_id, most))
            if length > 0:
                drafts[core_id] = length
        return drafts

    def _room(self, core_id: str, number: int) -> int | None:
        """Tokens for which a sequence's context has room; None in the middle of its prompt.

        Args:
            core_id: vLLM's id of the sequence.
            number: Tokens that it computes without drafts.
        """
        request = self._scheduler.requests[core_id]
        end = request.num_computed_tokens + number
        if end < request.num_tokens + request.num_output_placeholders:
            return None
        return int(self._scheduler.max_model_len - 1 - end)

    def _budget(self) -> int:
        return int(self._scheduler.max_num_scheduled_tokens)


_UNKNOWN = -1
"""A draft for the scheduler: the runner alone knows the token."""


class _NoPlaceholders:
    """The number of drafts that vLLM itself schedules, for every number of sequences."""

    def __getitem__(self, num_sequences: int) -> int:
        return 0
