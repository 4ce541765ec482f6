"""Chooses how a generator and a verifier use the GPUs of one machine."""

import contextlib
from dataclasses import replace

from fasttts.config import EngineConfig, option_name
from fasttts.errors import CapacityError, ConfigurationError
from fasttts.memory.devices import Device
from fasttts.memory.from_config import plan_engines
from fasttts.memory.plan import MemoryPlan
from fasttts.memory.shapes import ModelShape
from fasttts.memory.workload import Workload

_SLOWDOWN_BESIDE = 1.6
"""Times that decoding takes while a verifier scores in a process of its own: the host is busy with
both (1.5B + 1.5B, 256 beams, two H200; see docs/scaling.md)."""

_COUNT_OPTION = "--gpus"


def plan_on_gpus(
    config: EngineConfig,
    device: Device,
    generator: ModelShape,
    verifier: ModelShape | None,
    workload: Workload,
    *,
    num_gpus: int,
) -> MemoryPlan:
    """Plans an engine on several GPUs of one kind; its reasons name the options of an engine.

    The generator is on as few of them as it fits on. The verifier is on the next one where there is
    one and that is expected to be faster, else beside the generator on its first.

    Args:
        config: An engine's options; its own choice of GPUs is kept.
        device: One of the GPUs.
        generator: The generator's shape.
        verifier: The verifier's; None for an engine without one.
        workload: The search to optimise for.
        num_gpus: How many there are; one leaves everything to `plan_engines`.

    Raises:
        CapacityError: The models do not fit on so many.
        ConfigurationError: The options name a GPU beyond them, or the device is a CPU; else as for
            `plan_engines`.
    """
    if num_gpus == 1:
        return plan_engines(config, device, generator, verifier, workload)
    _check_count(device, num_gpus)
    check_gpu_numbers(config, num_gpus, count_option=_COUNT_OPTION)
    choices = _choices(config, generator, verifier, num_gpus)
    for number, choice in enumerate(choices, start=1):
        try:
            plan = plan_engines(choice, device, generator, verifier, workload)
        except CapacityError as error:
            if number == len(choices) or (
                choice.verifier_device is not None and error.role == "verifier"
            ):
                raise
            continue
        together = choice.model_copy(update={"verifier_device": None})
        beside = None
        if plan.kind == "apart" and config.verifier_device is None:
            with contextlib.suppress(CapacityError):
                beside = plan_engines(together, device, generator, verifier, workload)
        if beside is None or _expected_s(plan) < _expected_s(beside):
            return _with_reasons(plan, _options_reason(choice, num_gpus))
        told = (_together_reason(plan), _options_reason(together, num_gpus))
        return _with_reasons(beside, *told)
    raise AssertionError("every model can be on one GPU")


def check_gpu_numbers(config: EngineConfig, num_gpus: int, *, count_option: str) -> None:
    """Checks that an engine's GPUs are among those that there are.

    Args:
        config: An engine's options.
        num_gpus: How many there are.
        count_option: The option that says so, for messages.

    Raises:
        ConfigurationError: An option names a GPU beyond them, or the generator's ranks are more.
    """
    there_are = f"{count_option} says {num_gpus} GPU{'s' if num_gpus > 1 else ''}, counted from 0"
    for option in ("generator_device", "verifier_device"):
        index = getattr(config, option)
        if index is not None and index >= num_gpus:
            raise ConfigurationError(
                f"{option_name(option)}={index}: {there_are}; choose one of them, leave it out, or "
                f"raise {count_option}"
            )
    if config.generator_devices.stop > num_gpus:
        raise ConfigurationError(
            f"{option_name('tensor_parallel_size')}={config.tensor_parallel_size} from GPU "
            f"{config.generator_devices.start} on: {there_are}; lower it, or raise {count_option}"
        )


def _check_count(device: Device, num_gpus: int) -> None:
    if num_gpus < 1:
        raise ConfigurationError(f"{_COUNT_OPTION} {num_gpus}: at least 1 is needed")
    if device.is_cpu:
        raise ConfigurationError(
            f"{_COUNT_OPTION} {num_gpus}: {device.name} is no GPU; leave it out, or name a GPU "
            "with --gpu"
        )


def _with_reasons(plan: MemoryPlan, *reasons: str) -> MemoryPlan:
    return replace(plan, reasons=plan.reasons + reasons)


def _expected_s(plan: MemoryPlan) -> float:
    """Seconds of a search; a verifier apart works at the same time as the generator."""
    verification_s = plan.times.verification_s
    if plan.kind != "apart":
        return plan.predicted_s
    return max(_SLOWDOWN_BESIDE * (plan.predicted_s - verification_s), verification_s)


def _together_reason(apart: MemoryPlan) -> str:
    return (
        f"A GPU of its own for the verifier is expected to take {_expected_s(apart):.3g} s a "
        "search: its process holds up the generator's."
    )


def _choices(
    config: EngineConfig, generator: ModelShape, verifier: ModelShape | None, num_gpus: int
) -> list[EngineConfig]:
    """The ways to be tried, those on fewer GPUs first; an engine takes the options of each."""
    asked = config.tensor_parallel_size
    sizes = [asked] if asked > 1 else filter(generator.can_shard, range(1, num_gpus + 1))
    copies = (config.model_copy(update={"tensor_parallel_size": size}) for size in sizes)
    choices = [choice for choice in copies if _can_spread(choice, num_gpus)]
    takes_turns = config.offloading == "sleep"  # which two models do on one GPU alone
    if verifier is None or config.verifier_device is not None or takes_turns:
        return choices
    return [
        choice.model_copy(update={"verifier_device": _free_gpu(choice, num_gpus)})
        for choice in choices
    ]


def _can_spread(config: EngineConfig, num_gpus: int) -> bool:
    """Whether an engine accepts the size: a copy of its options is not checked."""
    size, devices = config.tensor_parallel_size, config.generator_devices
    if size > 1 and config.offloading in {"kv", "sleep"}:
        return False
    return devices.stop <= num_gpus and config.verifier_device not in devices


def _free_gpu(config: EngineConfig, num_gpus: int) -> int | None:
    """The first GPU that the generator leaves to a verifier; None where it takes all."""
    return next((gpu for gpu in range(num_gpus) if gpu not in config.generator_devices), None)


def _options_reason(config: EngineConfig, num_gpus: int) -> str:
    size, device = config.tensor_parallel_size, config.verifier_device
    options = [f"tensor_parallel_size={size}"] if size > 1 else []
    if device is not None:
        options.append(f"verifier_device={device}")
    used = size + (device is not None)
    told = (
        f"An engine is opened so with {' and '.join(options)}" if options else "One GPU is enough"
    )
    if used >= num_gpus:
        return f"{told}."
    others = "the other is" if num_gpus - used == 1 else "the others are"
    return f"{told}; {others} for engines of their own."
