"""Plans the memory of the engines to be opened, where that is possible."""

import logging
from collections.abc import Callable, Sequence

from fasttts.backends.vllm.arguments import VllmDevice
from fasttts.backends.vllm.checkpoint import Checkpoint
from fasttts.backends.vllm.environment import SMALL_WEIGHT_BYTES
from fasttts.config import EngineConfig
from fasttts.errors import ConfigurationError
from fasttts.memory import (
    Device,
    MemoryPlan,
    ModelShape,
    cpu_device,
    known_device,
    plan_engines,
    shape_from_config,
)

logger = logging.getLogger(__name__)

_DECISIVE = frozenset(
    {
        "cpu_offload_gb",
        "data_parallel_size",
        "gpu_memory_utilization",
        "hf_overrides",
        "kv_cache_dtype",
        "kv_cache_memory_bytes",
        "num_gpu_blocks_override",
        "pipeline_parallel_size",
        "quantization",
        "tensor_parallel_size",
    }
)
"""Arguments of vLLM that invalidate a plan for two models on one device."""


def try_plan(
    config: EngineConfig,
    generator: Checkpoint,
    verifier: Checkpoint | None,
    device: VllmDevice,
    *,
    find: Callable[[str, int, str | None], Device | None] = known_device,
    cpu: Callable[[], Device] = cpu_device,
) -> MemoryPlan | None:
    """Plans these models on this device.

    None where the user sets memory sizes, for models so small that any CPU has room for them, and
    for a device or a model that the planner does not know; a log line gives the reason.

    Args:
        config: An engine's options.
        generator: The generator's model.
        verifier: The verifier's; None without one.
        device: The device that vLLM runs on.
        find: Describes a GPU by name, memory and description; returns None for unknown ones.
        cpu: Describes the CPU, with its available memory.

    Raises:
        CapacityError: The models cannot share the device.
        ConfigurationError: Offloading was asked for where nothing can be planned.
    """
    try:
        _check_plannable(config, device, [generator, *([verifier] if verifier else [])])
        own, other = _shape(generator), None if verifier is None else _shape(verifier)
        limits = cpu() if device.is_cpu else _known(config, device, find)
        plan = plan_engines(config, limits, own, other)
    except _NotPlanned as reason:
        if config.offloading in {"kv", "sleep"}:
            raise ConfigurationError(
                f"offloading={config.offloading!r} needs a memory plan, but {reason}"
            ) from reason
        logger.info("memory is not planned: %s", reason)
        return None
    logger.info(
        "planned: %s, %.1f s a search of %d beams; %s",
        plan.kind,
        plan.predicted_s,
        plan.workload.num_beams,
        " ".join(plan.reasons),
    )
    return plan


class _NotPlanned(Exception):
    """Why there is no plan."""


def _known(
    config: EngineConfig,
    device: VllmDevice,
    find: Callable[[str, int, str | None], Device | None],
) -> Device:
    found = find(device.name, device.memory_bytes, config.planned_device)
    if found is None:
        raise _NotPlanned(f"{device.name!r} is not in the table of devices")
    return found


def _check_plannable(
    config: EngineConfig, device: VllmDevice, models: Sequence[Checkpoint]
) -> None:
    sizes = [model.weight_bytes for model in models]
    if device.is_cpu and None not in sizes and sum(filter(None, sizes)) < SMALL_WEIGHT_BYTES:
        raise _NotPlanned("models of this size need little")
    if device.is_cpu and config.tensor_parallel_size > 1:
        raise _NotPlanned("ranks share the memory of a CPU")
    if config.kv_cache_memory_bytes is not None:
        raise _NotPlanned("kv_cache_memory_bytes is set")
    for option, given in (
        ("generator_args", config.generator_args),
        ("verifier_args", config.verifier_args),
    ):
        for name in sorted(_DECISIVE & given.keys()):
            raise _NotPlanned(f"{option}[{name!r}] is set")


def _shape(checkpoint: Checkpoint) -> ModelShape:
    try:
        return shape_from_config(checkpoint.config, checkpoint.name)
    except ConfigurationError as error:
        raise _NotPlanned(str(error)) from error
