"""A plan from an engine's configuration: what the command line shows is what an engine does."""

from dataclasses import replace

from fasttts.config import EngineConfig
from fasttts.scheduling.memory.calibration import Calibration
from fasttts.scheduling.memory.devices import Device
from fasttts.scheduling.memory.plan import MemoryPlan
from fasttts.scheduling.memory.planner import make_plan
from fasttts.scheduling.memory.shapes import ModelShape
from fasttts.scheduling.memory.store import try_calibration
from fasttts.scheduling.memory.tasks import Offloading
from fasttts.scheduling.memory.workload import Workload


def plan_engines(
    config: EngineConfig,
    device: Device,
    generator: ModelShape,
    verifier: ModelShape | None,
    workload: Workload,
    *,
    offloading: Offloading = "auto",
) -> MemoryPlan:
    """The plan for the models of a configuration.

    `max_model_len`, `dtype`, `gpu_memory_utilization` and, where it was set, `max_num_seqs` are
    the configuration's; stored calibrations of the device and the models are used.

    Args:
        config: An engine's options.
        device: Where the models run.
        generator: The generator's shape, in the type of its `config.json`.
        verifier: The verifier's; None for an engine without one.
        workload: The search to be fast at.
        offloading: Whether host memory may be used.

    Raises:
        CapacityError: The models cannot share the device.
        ConfigurationError: The workload is longer than a model's context.
    """
    if config.max_model_len is not None:
        workload = replace(workload, max_model_len=config.max_model_len)
    is_set = "max_num_seqs" in config.model_fields_set
    return make_plan(
        device,
        _in_type(generator, config, device),
        None if verifier is None else _in_type(verifier, config, device),
        workload,
        offloading=offloading,
        calibrations=_calibrations(config, device),
        gpu_memory_utilization=config.gpu_memory_utilization,
        max_num_seqs=config.max_num_seqs if is_set else None,
    )


def _in_type(shape: ModelShape, config: EngineConfig, device: Device) -> ModelShape:
    """The model in the type it will run in: "auto" is float32 on a CPU."""
    is_cpu_default = device.is_cpu and config.dtype == "auto"
    return shape.with_dtype("float32" if is_cpu_default else config.dtype)


def _calibrations(config: EngineConfig, device: Device) -> list[Calibration]:
    found = [try_calibration(device.name, config.generator, "generator")]
    if config.verifier is not None:
        found.append(try_calibration(device.name, config.verifier, "verifier"))
    return [calibration for calibration in found if calibration is not None]
