"""The reasons of a plan, in sentences."""

import math
from collections.abc import Iterator, Sequence

from fasttts.memory.devices import Device
from fasttts.memory.partitions import MemoryBudget, Partition
from fasttts.memory.requirements import EngineRequirements
from fasttts.memory.units import format_bytes, format_seconds
from fasttts.memory.workload import Workload


def memory_reason(device: Device, usable_bytes: int, left_bytes: int) -> str:
    """Explains how much memory remains for KV blocks when both models are on the device.

    Args:
        device: The device.
        usable_bytes: Memory that may be used.
        left_bytes: Memory for KV blocks; negative where the models do not fit.
    """
    share = 100 * usable_bytes / device.memory_bytes
    free = " of free memory" if device.is_cpu else ""
    usable = f"Of {format_bytes(device.memory_bytes)}{free} {share:.0f} % may be used"
    if left_bytes <= 0:
        return f"{usable}; that is {format_bytes(-left_bytes)} less than the models alone take."
    left = format_bytes(left_bytes)
    return f"{usable}; weights, activations and graphs leave {left} for KV blocks."


def spread_reason(num_gpus: int, beside: EngineRequirements | None) -> str:
    """Explains a generator over several GPUs.

    Args:
        num_gpus: How many.
        beside: The verifier on the first of them; None without one there.
    """
    told = f"The generator is spread over {num_gpus} GPUs, and figures are those of each"
    if beside is None:
        return f"{told}."
    return f"{told}; the first has the verifier too, so the others keep as much memory free."


def lacking(
    device: Device, usable_bytes: int, engines: Sequence[EngineRequirements], budget: MemoryBudget
) -> str:
    """Explains how much memory is missing for models that do not fit.

    Args:
        device: The device.
        usable_bytes: Memory that may be used.
        engines: The requirements of each model.
        budget: The memory to divide.
    """
    models = " and ".join(
        f"{needs.shape.name} ({format_bytes(needs.shape.weight_bytes)} of weights, "
        f"{format_bytes(needs.min_kv_bytes)} of KV for {needs.max_model_len:,} tokens)"
        for needs in engines
    )
    together = sum(needs.min_kv_bytes for needs in engines) - budget.resident_kv_bytes
    in_turns = budget.missing_for_sleep_bytes
    missing = [f"{format_bytes(together)} together"] if together > 0 else []
    if 0 < in_turns < math.inf:
        host = format_bytes(device.host_memory_bytes)
        missing.append(f"{format_bytes(in_turns)} in turns (with {host} of host memory)")
    usable = format_bytes(usable_bytes)
    return f"{models} lack, of {usable} to use, {' and '.join(missing)}"


def kind_reasons(
    chosen: Partition,
    resident: Partition | None,
    generator: EngineRequirements,
    verifier: EngineRequirements | None,
) -> Iterator[str]:
    """Explains the kind of plan and its partition.

    Args:
        chosen: The partition of the plan.
        resident: The fastest partition without offloading; None if none fits.
        generator: The generator's requirements.
        verifier: The verifier's requirements; None without one.
    """
    workload = generator.workload
    beams = _beams(workload.num_beams)
    held = min(workload.num_beams, generator.num_resident(chosen.generator_kv_bytes))
    if chosen.kind == "time_shared":
        yield from _time_shared(chosen, resident)
    elif chosen.kind == "kv_offload":
        assert resident is not None  # it has the same partitions
        compared = _compared(chosen, resident)
        yield (
            f"The generator's cache holds {held} of {beams}; blocks of the others wait in "
            f"{format_bytes(chosen.offload_bytes)} of host memory: {compared}."
        )
    elif held < workload.num_beams:
        yield (
            f"The generator's cache holds {held} of {beams}; the others' prefixes are computed "
            "again, as nothing that offloads is faster."
        )
    if verifier is not None and chosen.kind != "time_shared":
        yield _verifier_share(chosen, verifier)


def _time_shared(chosen: Partition, resident: Partition | None) -> Iterator[str]:
    compared = "there is no room for both" if resident is None else _compared(chosen, resident)
    moved_s = format_seconds(chosen.times.transfer_s)
    yield (
        f"The models take turns ({compared}); moving their weights takes {moved_s} of the search."
    )
    yield "The verifier runs in a process of its own: vLLM's sleep mode serves one engine in each."


def _compared(chosen: Partition, resident: Partition) -> str:
    with_it, without = chosen.times.total_s, resident.times.total_s
    return f"{format_seconds(with_it)} instead of {format_seconds(without)} without"


def _verifier_share(chosen: Partition, verifier: EngineRequirements) -> str:
    workload = verifier.workload
    size = format_bytes(chosen.verifier_kv_bytes)
    held = verifier.num_resident(chosen.verifier_kv_bytes)
    if held >= workload.num_beams:
        return (
            f"The verifier's {size} of KV hold all {_beams(workload.num_beams)}; more would not "
            "make it faster."
        )
    return (
        f"The verifier's {size} of KV hold {held} of {_beams(workload.num_beams)}: the fastest "
        "of all splits that were tried."
    )


def slots_reason(slots: int, limit: int, resident: int, workload: Workload) -> str:
    """Explains the number of sequences that decode together.

    Args:
        slots: The planned number.
        limit: Sequences worth decoding together, if memory holds them.
        resident: Beams that the generator's KV cache holds.
        workload: The search that was planned for.
    """
    if slots < limit:
        why = "more do not fit" if slots == resident else "more would leave less for KV blocks"
    elif limit < workload.num_beams:
        why = "a larger batch is hardly faster than a second one"
    elif limit == workload.num_beams:
        why = "the search's own, and none to speculate in"
    else:
        why = "with more, the next one costs more than half as much as those before"
    return f"{_sequences(slots)} decode together: {why}."


def cpu_slots_reason(slots: int) -> str:
    """States that a CPU decodes as many sequences together as it ever does."""
    return f"{_sequences(slots)} decode together: memory holds them."


def asked_slots_reason(slots: int) -> str:
    """States that the number of sequences is the user's `max_num_seqs`."""
    return f"{_sequences(slots)} decode together, as max_num_seqs says."


def rate_reason(num_tokens: int, seconds: float) -> str:
    """Explains from which batch size on the verifier is fast.

    Args:
        num_tokens: New tokens of the batch.
        seconds: Predicted time of the batch.
    """
    return (
        f"From {num_tokens} new tokens on the verifier scores at 80 % of its peak rate "
        f"({num_tokens / seconds:,.0f} tokens a second)."
    )


def source_reason(*, is_measured: bool, num_gpus: int) -> str:
    """States where the times come from.

    Args:
        is_measured: Whether a calibration supplies any of them.
        num_gpus: GPUs that the generator is spread over.
    """
    if num_gpus > 1:
        return (
            "The generator's times are estimates from a device's rates; what the GPUs exchange "
            "counts at the rate of the host's link."
        )
    if is_measured:
        return "Times are those that `fasttts calibrate` measured on this device."
    return "Times are estimates from the device's rates; `fasttts calibrate` measures them."


def _sequences(count: int) -> str:
    return f"{count:,} sequence{'s' if count != 1 else ''}"


def _beams(count: int) -> str:
    return f"{count:,} beam{'s' if count != 1 else ''}"
