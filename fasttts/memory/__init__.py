"""The memory planner: how two models share one device, decided before anything is allocated."""

from fasttts.memory.calibration import (
    Calibration,
    calibrate_generator,
    calibrate_verifier,
)
from fasttts.memory.calibration_store import save_calibration, try_calibration
from fasttts.memory.detect import cpu_device, known_device, this_device, this_device_name
from fasttts.memory.devices import (
    DEVICES,
    Device,
    describe_device,
    find_device,
    named_device,
    read_device,
)
from fasttts.memory.from_config import (
    PLANNED_OPTIONS,
    plan_engines,
    planned_scheduling,
)
from fasttts.memory.gpus import plan_on_gpus
from fasttts.memory.latency_model import SearchTimes
from fasttts.memory.models import MODELS, find_shape
from fasttts.memory.partitions import Kind
from fasttts.memory.plan import (
    EnginePlan,
    MemoryPlan,
    engine_arguments,
)
from fasttts.memory.planner import make_plan
from fasttts.memory.shapes import ModelShape, read_shape, shape_from_config
from fasttts.memory.workload import Workload

__all__ = [
    "DEVICES",
    "MODELS",
    "PLANNED_OPTIONS",
    "Calibration",
    "Device",
    "EnginePlan",
    "Kind",
    "MemoryPlan",
    "ModelShape",
    "SearchTimes",
    "Workload",
    "calibrate_generator",
    "calibrate_verifier",
    "cpu_device",
    "describe_device",
    "engine_arguments",
    "find_device",
    "find_shape",
    "known_device",
    "make_plan",
    "named_device",
    "plan_engines",
    "plan_on_gpus",
    "planned_scheduling",
    "read_device",
    "read_shape",
    "save_calibration",
    "shape_from_config",
    "this_device",
    "this_device_name",
    "try_calibration",
]
