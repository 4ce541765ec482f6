"""Plans from an engine's configuration; the command line shows the plan that an engine uses."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fasttts.config import EngineConfig, Offloading, SchedulingConfig, option_name
from fasttts.errors import CapacityError, ConfigurationError, Role
from fasttts.memory.apart import with_verifier_apart
from fasttts.memory.calibration import Calibration
from fasttts.memory.calibration_store import try_calibration
from fasttts.memory.costs import Costs
from fasttts.memory.devices import Device
from fasttts.memory.plan import MemoryPlan
from fasttts.memory.planner import make_plan
from fasttts.memory.requirements import DEFAULT_CONTEXT
from fasttts.memory.shapes import ModelShape
from fasttts.memory.workload import Workload

_SHORTEST_CONTEXT = 1024
"""Tokens below which a context is not halved to make it fit."""

PLANNED_OPTIONS = frozenset({"verification_batch_tokens", "early_verification"})
"""Options of scheduling that a plan may fill in where the user has not set them."""


def plan_engines(
    config: EngineConfig,
    device: Device,
    generator: ModelShape,
    verifier: ModelShape | None,
    workload: Workload | None = None,
) -> MemoryPlan:
    """Plans the memory of the models of a configuration.

    `max_model_len`, `max_num_seqs`, `dtype`, `gpu_memory_utilization`, `offloading`,
    `verifier_device`, `verifier_process` and `tensor_parallel_size` are the configuration's; stored
    calibrations of the device and the models are used, but for a generator on several GPUs. On a
    CPU, where nothing else bounds it, the context is the model's, or the half, the quarter and so
    on of it that fits.

    Args:
        config: An engine's options.
        device: The device that the models run on.
        generator: The generator's shape, in the type of its `config.json`.
        verifier: The verifier's; None for an engine without one.
        workload: The search to optimise for; None takes a typical one of `planned_beams` beams,
            shortened to fit the context.

    Raises:
        CapacityError: The models cannot share the device.
        ConfigurationError: The workload is longer than a model's context, the device cannot
            offload as the configuration says, the generator cannot be spread over its GPUs, or the
            device is a CPU and the configuration names GPUs.
    """
    if workload is None:
        context = min(generator.max_model_len, config.max_model_len or generator.max_model_len)
        workload = Workload(num_beams=config.planned_beams).within(context)
    if config.max_model_len is not None:
        workload = replace(workload, max_model_len=config.max_model_len)
    if not device.is_cpu and config.tensor_parallel_size == 1:
        workload = replace(workload, draft_tokens=config.scheduling.draft_tokens)
    own = _in_type(generator, config, device, "generator")
    other = None if verifier is None else _in_type(verifier, config, device, "verifier")
    if device.is_cpu:
        _check_no_gpus(config, device)
    if other is not None and config.verifier_device is not None:
        return _plan_apart(config, device, own, other, workload)
    plan = functools.partial(
        make_plan,
        device,
        own,
        other,
        offloading=_offloading(config),
        calibrations=_calibrations(config, device),
        max_num_seqs=config.max_num_seqs,
        verifier_process=config.verifier_process,
        tensor_parallel_size=config.tensor_parallel_size,
    )
    share = config.gpu_memory_utilization
    if not device.is_cpu or workload.max_model_len is not None:
        return _with_drafts(functools.partial(plan, gpu_memory_utilization=share), workload)
    return _with_longest_context(plan, workload, generator.max_model_len, share)


def _check_no_gpus(config: EngineConfig, device: Device) -> None:
    unset_values = {"generator_device": None, "verifier_device": None, "tensor_parallel_size": 1}
    for option, unset in unset_values.items():
        value = getattr(config, option)
        if value != unset:
            raise ConfigurationError(
                f"{option_name(option)}={value}: {device.name} is no GPU; leave it out"
            )


def _offloading(config: EngineConfig) -> Offloading:
    """What may be offloaded: nothing of a generator over several GPUs."""
    return config.offloading if config.tensor_parallel_size == 1 else "none"


def _plan_apart(
    config: EngineConfig,
    device: Device,
    generator: ModelShape,
    verifier: ModelShape,
    workload: Workload,
) -> MemoryPlan:
    """Plans for a verifier on another GPU of the same kind."""
    if config.offloading == "sleep":
        raise ConfigurationError(
            f"offloading='sleep' with {option_name('verifier_device')}={config.verifier_device}: "
            "two models take turns on one GPU alone; leave one of them out"
        )
    calibrations = _calibrations(config, device)
    plan = _with_drafts(
        functools.partial(
            make_plan,
            device,
            generator,
            None,
            offloading=_offloading(config),
            calibrations=calibrations,
            gpu_memory_utilization=config.gpu_memory_utilization,
            max_num_seqs=config.max_num_seqs,
            tensor_parallel_size=config.tensor_parallel_size,
        ),
        workload,
    )
    measured: dict[Role, Calibration] = {each.role: each for each in calibrations}
    return with_verifier_apart(
        plan,
        Costs(device, generator, measured.get("generator"), config.tensor_parallel_size),
        Costs(device, verifier, measured.get("verifier")),
    )


def _with_drafts(plan: Callable[[Workload], MemoryPlan], workload: Workload) -> MemoryPlan:
    """Plans with memory for drafted tokens if an engine of such a plan drafts, else without.

    A generator that sleeps, or whose KV blocks are kept elsewhere as well, drafts nothing; and
    memory for drafts must not decide how models share a device, or that they cannot.
    """
    without = plan(replace(workload, draft_tokens=0))
    if workload.draft_tokens == 0 or without.kind not in ("alone", "side_by_side"):
        return without
    try:
        found = plan(workload)
    except CapacityError:
        return without
    return found if found.kind == without.kind else without


def _with_longest_context(
    plan: Callable[..., MemoryPlan], workload: Workload, longest: int, share: float
) -> MemoryPlan:
    """Plans for the longest of the halved contexts that fits.

    A CPU's memory serves the user's other programs too, so that a context beyond what a search
    needs may take no more than half of it.
    """
    while True:
        is_last = longest // 2 < max(workload.longest_tokens, _SHORTEST_CONTEXT)
        is_long = longest > DEFAULT_CONTEXT and not is_last
        try:
            return plan(
                replace(workload, max_model_len=longest),
                gpu_memory_utilization=share / 2 if is_long else share,
            )
        except CapacityError:
            if is_last:
                raise
        longest //= 2


def planned_scheduling(scheduling: SchedulingConfig, plan: MemoryPlan | None) -> SchedulingConfig:
    """Fills in the scheduling options that a plan determines, unless the user has set them.

    A calibrated plan determines the size of a verification batch; a roofline does not, since it
    knows no cost of a batch on the host. Where one model sleeps while the other runs, each switch
    moves weights: steps are then scored together, when a decision waits.

    Args:
        scheduling: The user's options.
        plan: The engine's plan; None changes nothing.
    """
    if plan is None:
        return scheduling
    found: dict[str, Any] = {}
    if plan.is_measured and plan.verification_batch_tokens is not None:
        found["verification_batch_tokens"] = plan.verification_batch_tokens
    if plan.kind == "time_shared":
        found["early_verification"] = False
    unset = found.keys() - scheduling.model_fields_set
    return scheduling.model_copy(update={name: found[name] for name in sorted(unset)})


def _in_type(shape: ModelShape, config: EngineConfig, device: Device, role: Role) -> ModelShape:
    """The model in the type it will run in; the model's own is bfloat16 for float32."""
    is_whole = shape.weight_bits is None
    dtype = config.dtype_of(role, is_cpu=device.is_cpu) if is_whole else config.dtype
    if dtype != "auto":
        return shape.with_dtype(dtype)
    return shape.with_dtype("bfloat16" if shape.dtype == "float32" else "auto")


def _calibrations(config: EngineConfig, device: Device) -> list[Calibration]:
    found = []
    if config.tensor_parallel_size == 1:  # what is measured is a model on one GPU
        found.append(try_calibration(device.name, config.generator, "generator"))
    if config.verifier_model is not None:
        found.append(try_calibration(device.name, config.verifier_model, "verifier"))
    return [calibration for calibration in found if calibration is not None]
