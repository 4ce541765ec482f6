"""Which of vLLM's two model runners an engine uses, and our sampling rule in the second one.

vLLM's second model runner is its default for all models since 0.28, and the first is deprecated.
Where the second takes logits processors (0.32 and later) the rule is one of them; before, it takes
the place of the runner's own processing behind its penalties.
"""

import importlib
import importlib.util
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fasttts.backends.vllm.environment import RUNNER_VARIABLE, set_environment
from fasttts.backends.vllm.sampler import CounterSampler
from fasttts.backends.vllm.slot_chain import SlotChain, places

if TYPE_CHECKING:
    from vllm import LLM, SamplingParams

logger = logging.getLogger(__name__)

_PROCESSORS = "vllm.v1.worker.gpu.sample.logits_processor"
"""The second runner's interface of logits processors, in versions that have it."""

_POOLING_TASK = "token_classify"
"""What process reward models are asked for."""


def uses_second_runner(arguments: Mapping[str, Any]) -> bool:
    """Whether an engine gets the second model runner: as the user says, or where it can.

    Without a word of the user's that is on a GPU, and where vLLM accepts the engine's arguments
    for that runner.

    Args:
        arguments: Those of vLLM's `LLM`, `logits_processors` excepted.
    """
    from vllm.engine.arg_utils import EngineArgs
    from vllm.platforms import current_platform

    if arguments.get("runner") == "pooling" and _POOLING_TASK not in _second_runner_poolings():
        return False
    if RUNNER_VARIABLE in os.environ or current_platform.is_cpu():
        return _is_second_chosen()
    try:
        with set_environment(runner_environment(is_second=True)):
            EngineArgs(**arguments).create_engine_config()
    except ValueError as error:  # what is wrong in either runner is said when the engine is opened
        logger.debug("the first model runner is used: %s", error)
        return False
    return True


def runner_environment(*, is_second: bool) -> dict[str, str]:
    """Variables that an engine is opened with: vLLM caches those of its first engine.

    None on a CPU that has that runner anyway. There vLLM must not read its variables again: it
    would start one more process for an engine of its own process.

    Args:
        is_second: Whether it gets the second runner.
    """
    from vllm.platforms import current_platform

    if current_platform.is_cpu() and is_second == _is_second_chosen():
        return {}
    return {RUNNER_VARIABLE: "1" if is_second else "0"}


def _is_second_chosen() -> bool:
    return os.environ.get(RUNNER_VARIABLE, "0") not in {"", "0"}


def sampler_processors(others: Sequence[type], *, is_second: bool) -> list[type]:
    """The logits processors that a generator is opened with, our sampling rule the last of them.

    Args:
        others: Processors that act before it: of vLLM's first interface for the first runner,
            `slot_chain.SlotProcessor` for the second.
        is_second: Whether it gets the second runner.
    """
    if not is_second:
        return [*others, CounterSampler]
    return [_vllm_processor(others)] if _has_processors() else []


def install_sampler(llm: "LLM", others: Sequence[type]) -> None:
    """Makes our sampling rule the second runner's sampler where that takes no processors.

    Args:
        llm: A generator's engine with the second runner.
        others: As for `sampler_processors`.
    """
    if _has_processors():
        return
    engine: Any = llm.llm_engine.engine_core
    engine.engine_core.model_executor.collective_rpc(_follow_in, args=(tuple(others),))


def _follow_in(worker: Any, others: Sequence[type]) -> None:
    """Installs the rule in one rank of an engine; vLLM calls it there."""
    runner = worker.worker.model_runner
    chain = SlotChain(others, runner.vllm_config, runner.req_states)
    process = _follow(runner.sampler, chain)
    if getattr(runner, "speculator", None) is not None:
        from fasttts.backends.vllm.speculator import DraftedRows

        runner.rejection_sampler = DraftedRows(runner, chain, process)
        runner.speculator.follow(runner)


def _second_runner_poolings() -> frozenset[str]:
    """What models that pool can be asked for in the second runner; "embed" alone in vLLM 0.24."""
    module = importlib.import_module("vllm.v1.worker.gpu.pool.pooling_runner")
    return getattr(module, "_SUPPORTED_TASKS", frozenset())


def _has_processors() -> bool:
    return importlib.util.find_spec(_PROCESSORS) is not None


def _vllm_processor(others: Sequence[type]) -> type:
    """The rule, behind `others`, as a logits processor of the second runner."""
    from fasttts.backends.vllm.slot_processor import SlotSampling

    if not others:
        return SlotSampling
    return type(SlotSampling.__name__, (SlotSampling,), {"others": tuple(others)})


def _follow(sampler: Any, chain: SlotChain) -> Callable[..., Any]:
    """Has a sampler of vLLM 0.24 to 0.31 apply processors behind its penalties.

    Args:
        sampler: vLLM's sampler, which has begun no request.
        chain: The processors; their rows are greedy for vLLM.

    Returns:
        The sampler's own processing of logits.
    """
    add_request, flush = sampler.add_request, sampler.apply_staged_writes
    process, take_largest = sampler.apply_sampling_params, sampler.sample

    def add(req_idx: int, prompt_len: int, params: "SamplingParams") -> None:
        add_request(req_idx, prompt_len, params)
        chain.add_request(req_idx, params)

    def begin() -> None:
        flush()
        chain.begin_iteration()

    def apply(
        logits: Any, slots: Any, host_slots: Any, positions: Any, *others: Any, **options: Any
    ) -> Any:
        processed = process(logits, slots, host_slots, positions, *others, **options)
        return chain.apply(processed, places(slots, host_slots, positions))

    def sample(
        logits: Any,
        slots: Any,
        host_slots: Any,
        positions: Any,
        *others: Any,
        return_logprobs: bool = False,
    ) -> tuple[Any, Any]:
        rows = (logits, slots, host_slots, positions, *others)
        if return_logprobs or not chain.draws(host_slots):
            return take_largest(*rows, return_logprobs=return_logprobs)  # type: ignore[no-any-return]  # vLLM's
        processed = process(*rows, skip_top_k_top_p=True)
        return chain.draw(processed, places(slots, host_slots, positions)), processed

    sampler.add_request, sampler.apply_staged_writes = add, begin
    sampler.apply_sampling_params, sampler.sample = apply, sample
    return process  # type: ignore[no-any-return]  # vLLM's
