"""The memory plan: the resources of each engine, and the reasons."""

import copy
from dataclasses import dataclass
from typing import Any

from fasttts.errors import Role
from fasttts.memory.devices import Device
from fasttts.memory.latency_model import SearchTimes
from fasttts.memory.partitions import Kind
from fasttts.memory.units import GIB
from fasttts.memory.workload import Workload
from fasttts.types import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePlan:
    """The resources of one engine, on each of its devices.

    Attributes:
        role: Generator or verifier.
        model: Name or path of the model.
        dtype: Type of weights and KV cache.
        weight_bytes: Memory of the weights.
        activation_bytes: Estimated peak of intermediate results.
        runtime_bytes: Estimated CUDA graphs and buffers.
        kv_cache_memory_bytes: The KV cache, in whole blocks.
        block_size: Tokens of a block.
        num_blocks: Blocks of the KV cache; one of them vLLM keeps empty.
        num_resident_beams: Beams the KV cache holds at their last step.
        max_num_seqs: Sequences in one iteration.
        max_num_batched_tokens: Tokens in one iteration.
        max_model_len: Longest sequence in tokens.
        offload_bytes: Host memory for KV blocks.
        is_asleep_between: Whether the engine sleeps while the other one runs.
        has_own_process: Whether it runs outside this process, by option, or because vLLM's sleep
            mode and its offloading serve one engine in a process.
        memory_share: Share of the device's memory, everything included.
        tensor_parallel_size: Devices that the model is spread over, each with a process of its own
            where there are several.
    """

    role: Role
    model: str
    dtype: str
    weight_bytes: int
    activation_bytes: int
    runtime_bytes: int
    kv_cache_memory_bytes: int
    block_size: int
    num_blocks: int
    num_resident_beams: int
    max_num_seqs: int
    max_num_batched_tokens: int
    max_model_len: int
    offload_bytes: int
    is_asleep_between: bool
    has_own_process: bool
    memory_share: float
    tensor_parallel_size: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan(Document):
    """How two models share a device; results store it as `to_dict` writes it.

    Attributes:
        device: The planned device.
        workload: The search to optimise for.
        kind: How the models share the device.
        usable_bytes: Memory of the device that may be used.
        generator: The generator's resources.
        verifier: The verifier's; None without one.
        verification_batch_tokens: New tokens at which the verifier reaches 80 % of its peak rate;
            None without one.
        times: Predicted times of the search.
        is_measured: Whether a calibration of this device was used.
        reasons: Why the plan is as it is, a sentence each.
    """

    device: Device
    workload: Workload
    kind: Kind
    usable_bytes: int
    generator: EnginePlan
    verifier: EnginePlan | None
    verification_batch_tokens: int | None
    times: SearchTimes
    is_measured: bool
    reasons: tuple[str, ...]

    @property
    def predicted_s(self) -> float:
        """Predicted seconds of the search."""
        return self.times.total_s


def engine_arguments(plan: MemoryPlan) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments of vLLM's `LLM` for a plan, for generator and verifier.

    The number of blocks follows from `kv_cache_memory_bytes` and `block_size`. With an explicit KV
    cache `gpu_memory_utilization` only affects vLLM's check, at start, that so much memory is free.
    The second dictionary is empty without a verifier.
    """
    verifier = _arguments(plan.verifier, plan.device) if plan.verifier is not None else {}
    return _arguments(plan.generator, plan.device), verifier


_KEEP_GENERATED_BLOCKS: dict[str, Any] = {
    "kv_connector": "OffloadingConnector",
    "kv_role": "kv_both",
    "kv_connector_extra_config": {"offload_prompt_only": False},
}
"""vLLM 0.32 keeps blocks of prompts only unless told so; a step that was generated is the next
step's prompt."""


def _arguments(engine: EnginePlan, device: Device) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "kv_cache_memory_bytes": engine.kv_cache_memory_bytes,
        "block_size": engine.block_size,
        "max_num_seqs": engine.max_num_seqs,
        "max_num_batched_tokens": engine.max_num_batched_tokens,
        "max_model_len": engine.max_model_len,
    }
    if not device.is_cpu:
        arguments["gpu_memory_utilization"] = engine.memory_share
    if engine.offload_bytes:
        arguments["kv_offloading_size"] = engine.offload_bytes / GIB
        arguments["kv_transfer_config"] = copy.deepcopy(_KEEP_GENERATED_BLOCKS)
    if engine.is_asleep_between:
        arguments["enable_sleep_mode"] = True
        arguments["async_scheduling"] = False  # no iteration may be in flight when it falls asleep
    return arguments
