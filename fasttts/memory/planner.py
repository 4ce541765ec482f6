"""Plans memory from shapes and rates, before anything is allocated."""

from collections.abc import Iterator, Sequence
from typing import get_args

from fasttts.config import Offloading, option_name
from fasttts.errors import CapacityError, ConfigurationError, Role
from fasttts.memory import explain
from fasttts.memory.calibration import Calibration
from fasttts.memory.costs import SCORE_RATE_SHARE, Costs
from fasttts.memory.curves import size_for_rate
from fasttts.memory.devices import Device
from fasttts.memory.latency_model import MOST_SLOTS, slot_limit
from fasttts.memory.partitions import Partition
from fasttts.memory.plan import EnginePlan, MemoryPlan
from fasttts.memory.planning_task import PlanningTask, choose, make_task
from fasttts.memory.requirements import PROCESS_BYTES, EngineRequirements
from fasttts.memory.shapes import ModelShape
from fasttts.memory.workload import Workload

_CPU_SLOTS = 128
"""Sequences that decode together on a CPU, if memory holds them: the copies and products that its
rates are measured with say too little about its kernels to end where they do."""


def make_plan(
    device: Device,
    generator: ModelShape,
    verifier: ModelShape | None,
    workload: Workload,
    *,
    offloading: Offloading = "auto",
    calibrations: Sequence[Calibration] = (),
    gpu_memory_utilization: float = 0.9,
    max_num_seqs: int | None = None,
    verifier_process: bool = False,
    tensor_parallel_size: int = 1,
) -> MemoryPlan:
    """Finds the fastest way for two models to share a device.

    Args:
        device: The device that they run on.
        generator: The generator's shape.
        verifier: The verifier's; None for a search without one.
        workload: The search to optimise for.
        offloading: Whether host memory may be used. With "auto" it is where not all beams fit and
            it is predicted to be faster; with "kv", where not all beams of the generator fit.
        calibrations: Measured on this device, of these models; they replace the roofline.
        gpu_memory_utilization: Share of the device's memory that both models use together.
        max_num_seqs: Most sequences that decode together; None leaves it to the plan.
        verifier_process: Whether the verifier has a process of its own even beside the generator.
        tensor_parallel_size: Devices of this kind that the generator is spread over; the verifier
            is on the first of them, in a process of its own.

    Raises:
        CapacityError: The models cannot share the device in any permitted way.
        ConfigurationError: An option or the workload cannot work.
    """
    _check(gpu_memory_utilization, max_num_seqs)
    _check_offloading(offloading, device, verifier)
    _check_context(generator, workload)
    measured: dict[Role, Calibration] = {each.role: each for each in calibrations}
    costs = Costs(device, generator, measured.get("generator"), tensor_parallel_size)
    other = None if verifier is None else Costs(device, verifier, measured.get("verifier"))
    limit = max(slot_limit(costs, workload, MOST_SLOTS), _CPU_SLOTS if device.is_cpu else 0)
    tasks = [
        make_task(
            device,
            costs,
            other,
            workload,
            usable_bytes=int(gpu_memory_utilization * device.memory_bytes),
            slot_limit=limit,
            max_num_seqs=max_num_seqs,
            slots=slots,
            verifier_process=verifier_process or tensor_parallel_size > 1,
        )
        for slots in _slot_choices(min(limit, max_num_seqs or limit), workload)
    ]
    found = [(task, split) for task in tasks if (split := choose(task, offloading)) is not None]
    if not found:
        raise _does_not_fit(tasks[-1], offloading)
    return _plan(*min(found, key=lambda pair: pair[1].times.total_s))


def _slot_choices(most: int, workload: Workload) -> Iterator[int]:
    """Numbers of slots worth trying: logits of fewer sequences leave more memory for KV blocks."""
    own = min(most, workload.num_beams)
    eighths = {own * part // 8 for part in range(8, 3, -1)}
    halves = {own >> shift for shift in range(2, own.bit_length())}
    yield from sorted(({most, own} | eighths | halves) - {0}, reverse=True)


def _check_offloading(offloading: str, device: Device, verifier: ModelShape | None) -> None:
    known = get_args(Offloading)
    if offloading not in known:
        raise ConfigurationError(f"offloading={offloading!r}: use one of {', '.join(known)}")
    if offloading in {"kv", "sleep"} and device.link_bytes_per_s is None:
        raise ConfigurationError(
            f"offloading={offloading!r}: {device.name} has no link to another memory; use 'none', "
            "or give the link's rate if there is one"
        )
    if offloading == "sleep" and verifier is None:
        raise ConfigurationError("offloading='sleep': one model has nobody to take turns with")


def _check(gpu_memory_utilization: float, max_num_seqs: int | None) -> None:
    if not 0 < gpu_memory_utilization <= 1:
        raise ConfigurationError(
            f"gpu_memory_utilization={gpu_memory_utilization}: use more than 0 and at most 1"
        )
    if max_num_seqs is not None and max_num_seqs < 1:
        raise ConfigurationError(f"max_num_seqs={max_num_seqs}: at least 1 is needed")


def _check_context(generator: ModelShape, workload: Workload) -> None:
    wanted = max(workload.longest_tokens, workload.max_model_len or 0)
    if wanted > generator.max_model_len:
        raise ConfigurationError(
            f"a context of {wanted:,} tokens is more than the {generator.max_model_len:,} that "
            f"{generator.name!r} was made for: lower the context, depth or step_tokens"
        )


def _plan(task: PlanningTask, chosen: Partition) -> MemoryPlan:
    held = task.generator.num_resident(chosen.generator_kv_bytes)
    generator = _chosen_plan(task, task.generator, chosen, max(1, min(task.slots, held)))
    verifier = None
    if task.verifier is not None:
        scored = task.verifier.num_resident(chosen.verifier_kv_bytes)
        together = max(1, min(max(task.workload.num_beams, task.slots), scored))
        verifier = _chosen_plan(task, task.verifier, chosen, together)
    return MemoryPlan(
        device=task.device,
        workload=task.workload,
        kind=chosen.kind,
        usable_bytes=task.usable_bytes,
        generator=generator,
        verifier=verifier,
        verification_batch_tokens=verification_batch_tokens(task.verifier),
        times=chosen.times,
        is_measured=any(needs.costs.is_measured for needs in task.engines),
        reasons=tuple(_reasons(task, chosen, generator)),
    )


def verification_batch_tokens(verifier: EngineRequirements | None) -> int | None:
    """New tokens at which a verifier reaches `SCORE_RATE_SHARE` of its peak rate; None without."""
    if verifier is None:
        return None
    return size_for_rate(
        lambda tokens: verifier.costs.prefill_s(1, tokens, 0),
        verifier.max_num_batched_tokens,
        SCORE_RATE_SHARE,
    )


def _chosen_plan(
    task: PlanningTask, needs: EngineRequirements, chosen: Partition, max_num_seqs: int
) -> EnginePlan:
    """The resources of an engine in the chosen partition."""
    is_generator, is_shared = needs.role == "generator", chosen.kind == "time_shared"
    is_apart = is_shared or chosen.kind == "kv_offload" or task.verifier_process
    return engine_plan(
        task.device,
        needs,
        kv_bytes=chosen.generator_kv_bytes if is_generator else chosen.verifier_kv_bytes,
        max_num_seqs=max_num_seqs,
        offload_bytes=chosen.offload_bytes if is_generator else 0,
        is_asleep_between=is_shared,
        has_own_process=is_apart and not is_generator,
    )


def engine_plan(
    device: Device,
    needs: EngineRequirements,
    *,
    kv_bytes: int,
    max_num_seqs: int,
    offload_bytes: int = 0,
    is_asleep_between: bool = False,
    has_own_process: bool = False,
) -> EnginePlan:
    """Describes the resources of an engine; see `EnginePlan`.

    Args:
        device: The device, or one of several of its kind.
        needs: What the engine needs beside its KV cache.
        kv_bytes: The KV cache, in whole blocks.
        max_num_seqs: Sequences in one iteration.
        offload_bytes: Host memory for KV blocks.
        is_asleep_between: Whether it sleeps while the other engine runs.
        has_own_process: Whether it runs outside this process.
    """
    process_bytes = 0 if device.is_cpu else PROCESS_BYTES
    return EnginePlan(
        role=needs.role,
        model=needs.shape.name,
        dtype=needs.shape.dtype,
        weight_bytes=needs.shape.weight_bytes,
        activation_bytes=needs.activation_bytes,
        runtime_bytes=needs.runtime_bytes,
        kv_cache_memory_bytes=kv_bytes,
        block_size=needs.block_size,
        num_blocks=needs.num_blocks(kv_bytes),
        num_resident_beams=needs.num_resident(kv_bytes),
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=needs.max_num_batched_tokens,
        max_model_len=needs.max_model_len,
        offload_bytes=offload_bytes,
        is_asleep_between=is_asleep_between,
        has_own_process=has_own_process,
        memory_share=(process_bytes + needs.fixed_bytes + kv_bytes) / device.memory_bytes,
        tensor_parallel_size=needs.costs.num_gpus,
    )


def _reasons(task: PlanningTask, chosen: Partition, generator: EnginePlan) -> Iterator[str]:
    num_gpus = task.generator.costs.num_gpus
    if num_gpus > 1:
        yield explain.spread_reason(num_gpus, task.verifier)
    yield explain.memory_reason(task.device, task.usable_bytes, task.budget.resident_kv_bytes)
    yield from explain.kind_reasons(chosen, task.resident, task.generator, task.verifier)
    if generator.max_num_seqs == task.max_num_seqs:
        yield explain.asked_slots_reason(generator.max_num_seqs)
    elif task.device.is_cpu and generator.max_num_seqs == task.slot_limit:
        yield explain.cpu_slots_reason(generator.max_num_seqs)
    else:
        yield explain.slots_reason(
            generator.max_num_seqs, task.slot_limit, generator.num_resident_beams, task.workload
        )
    num_tokens = verification_batch_tokens(task.verifier)
    if task.verifier is not None and num_tokens is not None:
        yield explain.rate_reason(num_tokens, task.verifier.costs.prefill_s(1, num_tokens, 0))
    is_measured = any(needs.costs.is_measured for needs in task.engines)
    yield explain.source_reason(is_measured=is_measured, num_gpus=num_gpus)


def _does_not_fit(task: PlanningTask, offloading: Offloading) -> CapacityError:
    """Makes the error that says how much memory is missing, and what to change."""
    largest = max(task.engines, key=lambda needs: needs.fixed_bytes)
    what = explain.lacking(task.device, task.usable_bytes, task.engines, task.budget)
    limited = "" if offloading == "auto" else f" with offloading={offloading!r}"
    return CapacityError(
        f"too little memory on {task.device.name}{limited}: {what}; {_remedy(task)}",
        role=largest.role,
    )


def _remedy(task: PlanningTask) -> str:
    spread = f"raise {option_name('tensor_parallel_size')} where there are more GPUs, "
    smaller = "free memory, " if task.device.is_cpu else spread
    if any(needs.shape.dtype == "float32" for needs in task.engines):
        smaller += f"set {option_name('dtype')} to bfloat16 with default numerics, "
    return (
        f"{smaller}choose smaller or quantised models, lower {option_name('max_model_len')} or "
        f"raise {option_name('gpu_memory_utilization')}"
    )
