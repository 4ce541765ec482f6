"""Which of vLLM's two model runners an engine uses, and our sampling rule in the second one.

vLLM's second model runner is its default for all models since 0.28, and the first is deprecated.
Where the second takes logits processors (0.32 and later) the rule is one of them; before, it takes
the place of the runner's sampler.
"""

import importlib
import importlib.util
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fasttts.backends.vllm.sampler import CounterSampler
from fasttts.backends.vllm.slot_sampler import RowPlaces, SlotSampler

if TYPE_CHECKING:
    from vllm import LLM, SamplingParams

VARIABLE = "VLLM_USE_V2_MODEL_RUNNER"
"""vLLM's variable; where it is not set, `environment` sets it to the first runner."""

_PROCESSORS = "vllm.v1.worker.gpu.sample.logits_processor"
"""The second runner's interface of logits processors, in versions that have it."""

_POOLING_TASK = "token_classify"
"""What process reward models are asked for."""


def uses_second_runner() -> bool:
    """Whether the next generator gets the second model runner."""
    return os.environ.get(VARIABLE, "0") not in {"", "0"}


def sampler_processors(others: Sequence[type]) -> list[type]:
    """The logits processors of a generator, our sampling rule the last of them.

    Args:
        others: Processors that act before it, of the runner's interface.
    """
    if not uses_second_runner():
        return [*others, CounterSampler]
    return [*others, _slot_processor()] if _has_processors() else list(others)


def verifier_environment(*, is_generative: bool) -> dict[str, str]:
    """Variables that a verifier's engine is opened with.

    Args:
        is_generative: Whether the verifier's scores are probabilities of tokens, which both runners
            give; else they are values of all positions.
    """
    if not uses_second_runner() or is_generative or _POOLING_TASK in _second_runner_poolings():
        return {}
    return {VARIABLE: "0"}


def install_sampler(llm: "LLM") -> None:
    """Makes our sampling rule the second runner's sampler where that takes no processors.

    Args:
        llm: A generator's engine.
    """
    if not uses_second_runner() or _has_processors():
        return
    engine: Any = llm.llm_engine.engine_core
    runner = engine.engine_core.model_executor.driver_worker.worker.model_runner
    is_eager = llm.llm_engine.vllm_config.model_config.enforce_eager
    rule = SlotSampler(runner.req_states, compiles=not is_eager)
    runner.sampler = _with_rule(runner.sampler, rule)


def _second_runner_poolings() -> frozenset[str]:
    """What models that pool can be asked for in the second runner; "embed" alone in vLLM 0.24."""
    module = importlib.import_module("vllm.v1.worker.gpu.pool.pooling_runner")
    return getattr(module, "_SUPPORTED_TASKS", frozenset())


def _has_processors() -> bool:
    return importlib.util.find_spec(_PROCESSORS) is not None


def _slot_processor() -> type:
    """The rule as a logits processor of the second runner."""
    interface: Any = importlib.import_module(_PROCESSORS)

    class SlotProcessor(interface.LogitsProcessor):  # type: ignore[misc]  # found at run time
        """`SlotSampler` behind vLLM's interface."""

        def __init__(self, vllm_config: Any, req_states: Any) -> None:
            is_cpu = req_states.device.type == "cpu"
            is_eager = is_cpu or vllm_config.model_config.enforce_eager
            self._rule = SlotSampler(req_states, compiles=not is_eager)

        @classmethod
        def validate_params(cls, sampling_params: "SamplingParams") -> None:
            CounterSampler.validate_params(sampling_params)

        def add_request(self, req_idx: int, sampling_params: "SamplingParams") -> bool:
            return self._rule.add_request(req_idx, sampling_params)

        def apply_staged_writes(self) -> None:
            self._rule.begin_iteration()

        def apply(self, logits: Any, ctx: Any) -> Any:
            places = RowPlaces(
                slots_B=ctx.idx_mapping, host_slots_B=ctx.idx_mapping_np, positions_B=ctx.pos
            )
            return self._rule.apply(logits, places)

    return SlotProcessor


def _with_rule(sampler: Any, rule: SlotSampler) -> Any:
    """A sampler of vLLM 0.24 to 0.31 that follows the rule behind its own processing.

    Args:
        sampler: vLLM's sampler, which has begun no request.
        rule: What acts behind its penalties and before its temperatures.
    """
    add_request, flush = sampler.add_request, sampler.apply_staged_writes
    process = sampler.apply_sampling_params

    def add(req_idx: int, prompt_len: int, params: "SamplingParams") -> None:
        add_request(req_idx, prompt_len, params)
        rule.add_request(req_idx, params)

    def begin() -> None:
        flush()
        rule.begin_iteration()

    def apply(
        logits: Any, slots: Any, host_slots: Any, positions: Any, *others: Any, **options: Any
    ) -> Any:
        processed = process(logits, slots, host_slots, positions, *others, **options)
        places = RowPlaces(slots_B=slots, host_slots_B=host_slots, positions_B=positions)
        return rule.apply(processed, places)

    sampler.add_request, sampler.apply_staged_writes = add, begin
    sampler.apply_sampling_params = apply
    return sampler
