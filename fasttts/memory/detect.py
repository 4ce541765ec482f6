"""Detects the device of this machine: from the driver, or by measuring a CPU."""

import math
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from fasttts.errors import ConfigurationError
from fasttts.memory.available import available_memory_bytes
from fasttts.memory.devices import Device, named_device, try_device
from fasttts.memory.units import MIB

_QUERY = ("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits")
_QUERY_TIMEOUT_S = 10.0
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")
"""Bytes that a container may use, or "max"."""

_COPY_BYTES = 64 * MIB
_MATRIX_SIZE = 768
_NUM_REPEATS = 3
_OFFLOAD_SHARE = 0.5
"""Share of the host's memory for offloading; the rest is the operating system's and the user's."""


def this_device(described: str | None = None) -> Device:
    """Describes the first GPU of this machine, or its CPU.

    A GPU's speed comes from the table; a CPU's is measured in some tenths of a second, in float32.

    Args:
        described: As for `known_device`.

    Raises:
        ConfigurationError: The GPU is not in the table, or its description cannot be read.
    """
    gpu = _first_gpu()
    if gpu is None:
        return cpu_device()
    device = known_device(*gpu, described)
    if device is None:
        raise ConfigurationError(
            f"{gpu[0]} is not in the table of devices: give its bandwidth and compute, or a "
            "device file (planned_device, FASTTTS_PLANNED_DEVICE)"
        )
    return device


def known_device(name: str, memory_bytes: int, described: str | None = None) -> Device | None:
    """Describes a GPU by the driver's name and its real memory; None if the table lacks it.

    Args:
        name: The driver's name of it; calibrations are stored under this name.
        memory_bytes: Memory that the driver reports.
        described: Name or file of a device with the same speed; None goes by the driver's name.

    Raises:
        ConfigurationError: There is no such description.
    """
    device = named_device(described) if described else try_device(name)
    if device is None:
        return None
    if device.is_cpu:
        raise ConfigurationError(
            f"planned_device={described!r} describes a CPU, and the models run on {name}: leave it "
            "out, or describe that device"
        )
    return replace(device, name=name, memory_bytes=memory_bytes, host_memory_bytes=_offload_bytes())


def this_device_name() -> str:
    """The name under which calibrations of this machine are stored."""
    gpu = _first_gpu()
    return gpu[0] if gpu is not None else _cpu_name()


def _first_gpu() -> tuple[str, int] | None:
    """Name and bytes of the first GPU the driver lists."""
    if shutil.which(_QUERY[0]) is None:
        return None
    try:
        done = subprocess.run(
            _QUERY, capture_output=True, check=True, text=True, timeout=_QUERY_TIMEOUT_S
        )
        name, memory_mib = done.stdout.splitlines()[0].rsplit(",", 1)
        return name.strip(), int(memory_mib) * MIB
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def cpu_device() -> Device:
    """Describes this machine's CPU, with the memory available now and measured speeds."""
    return Device(
        name=_cpu_name(),
        memory_bytes=available_memory_bytes(),
        bandwidth_bytes_per_s=_copy_rate(),
        compute_flops=_matrix_rate(),
        host_memory_bytes=_offload_bytes(),
        is_cpu=True,
    )


def _cpu_name() -> str:
    """The processor's name, with the number of cores that this process may use."""
    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = information.read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.partition(":")[2] for line in lines if line.startswith("model name")]
        name = names[0] if names else name
    return f"{' '.join(name.split())}, {len(os.sched_getaffinity(0))} cores"


def host_memory_bytes(container_limit: Path = CONTAINER_LIMIT) -> int:
    """The machine's memory, or the limit of its container.

    Args:
        container_limit: The file with the limit; it is absent outside a container.
    """
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = container_limit.read_text().strip() if container_limit.exists() else ""
    return min(physical, int(limit)) if limit.isdecimal() else physical


def _offload_bytes() -> int:
    return int(_OFFLOAD_SHARE * host_memory_bytes())


def _copy_rate() -> float:
    """Measures the bytes per second that are read while copying an array larger than the caches."""
    source = np.ones(_COPY_BYTES, dtype=np.uint8)
    target = np.empty_like(source)
    return _COPY_BYTES / _fastest(lambda: np.copyto(target, source))


def _matrix_rate() -> float:
    """Measures the operations per second of a float32 matrix product."""
    left = np.ones((_MATRIX_SIZE, _MATRIX_SIZE), dtype=np.float32)
    right, product = left.copy(), np.empty_like(left)
    return 2 * _MATRIX_SIZE**3 / _fastest(lambda: np.matmul(left, right, out=product))


def _fastest(work: Callable[[], object]) -> float:
    """Measures the seconds of the fastest of some runs, after one to warm up."""
    work()
    fastest_s = math.inf
    for _ in range(_NUM_REPEATS):
        started_s = time.perf_counter()
        work()
        fastest_s = min(fastest_s, time.perf_counter() - started_s)
    return fastest_s
