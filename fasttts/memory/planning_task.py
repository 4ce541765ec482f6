"""One planning task, with a fixed number of slots: finds its fastest permitted partition."""

from dataclasses import dataclass

from fasttts.config import Offloading
from fasttts.memory.costs import Costs
from fasttts.memory.devices import Device
from fasttts.memory.partitions import MemoryBudget, Partition, fastest
from fasttts.memory.requirements import EngineRequirements, generator_needs, verifier_needs
from fasttts.memory.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanningTask:
    """Everything about a plan but the partition.

    Attributes:
        device: The device that the models run on.
        usable_bytes: Memory that may be used.
        generator: The generator's requirements.
        verifier: The verifier's requirements; None without one.
        slot_limit: Sequences worth decoding together, if memory holds them.
        max_num_seqs: The user's limit; None leaves it to the plan.
        slots: Sequences that logits are reserved for.
        verifier_process: Whether the verifier has a process of its own beside the generator's.
        budget: The memory to divide.
        resident: The fastest partition that keeps everything on the device; None if none does.
    """

    device: Device
    usable_bytes: int
    generator: EngineRequirements
    verifier: EngineRequirements | None
    slot_limit: int
    max_num_seqs: int | None
    slots: int
    verifier_process: bool
    budget: MemoryBudget
    resident: Partition | None

    @property
    def workload(self) -> Workload:
        """The search to optimise for."""
        return self.generator.workload

    @property
    def engines(self) -> tuple[EngineRequirements, ...]:
        """Requirements of the generator, and of the verifier if there is one."""
        return (self.generator,) if self.verifier is None else (self.generator, self.verifier)


def make_task(
    device: Device,
    generator: Costs,
    verifier: Costs | None,
    workload: Workload,
    *,
    usable_bytes: int,
    slot_limit: int,
    max_num_seqs: int | None,
    slots: int,
    verifier_process: bool,
) -> PlanningTask:
    """Makes a task with logits reserved for `slots` sequences.

    Args:
        device: The device that the models run on.
        generator: The generator's shape and costs.
        verifier: The verifier's; None without one.
        workload: The search to optimise for.
        usable_bytes: Memory that may be used.
        slot_limit: Sequences worth decoding together, if memory holds them.
        max_num_seqs: The user's limit; None leaves it to the plan.
        slots: Sequences that decode together.
        verifier_process: Whether the verifier has a process of its own beside the generator's.
    """
    own = generator_needs(device, generator, workload, slots)
    other = None if verifier is None else verifier_needs(device, verifier, workload, own)
    budget = MemoryBudget(
        device, usable_bytes, own, other, slots=slots, verifier_process=verifier_process
    )
    return PlanningTask(
        device=device,
        usable_bytes=usable_bytes,
        generator=own,
        verifier=other,
        slot_limit=slot_limit,
        max_num_seqs=max_num_seqs,
        slots=slots,
        verifier_process=verifier_process,
        budget=budget,
        resident=fastest(budget.resident()),
    )


def choose(task: PlanningTask, offloading: Offloading) -> Partition | None:
    """Chooses the fastest permitted partition; keeping everything on the device wins ties.

    Args:
        task: The task.
        offloading: Which use of host memory is permitted; see `EngineConfig.offloading`.

    Returns:
        None if no permitted partition fits.
    """
    resident = task.resident
    if offloading == "none" or (offloading == "auto" and _holds_all(task, resident)):
        return resident
    found = [resident] if offloading == "auto" else []
    if offloading in {"auto", "kv"}:
        found.append(fastest(task.budget.kv_offload()) or resident)
    if offloading in {"auto", "sleep"}:
        found.append(fastest(task.budget.time_shared()))
    return fastest(split for split in found if split is not None)


def _holds_all(task: PlanningTask, split: Partition | None) -> bool:
    """Whether every beam of the search has its KV blocks on the device."""
    if split is None:
        return False
    sizes = (split.generator_kv_bytes, split.verifier_kv_bytes)
    held = (needs.num_resident(size) for needs, size in zip(task.engines, sizes, strict=False))
    return min(held) >= task.workload.num_beams
