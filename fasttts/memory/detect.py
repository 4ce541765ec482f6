"""The machine this runs on, as a `Device`: asked of the driver, or measured on a CPU."""

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
"""Of the host's memory; the rest is the operating system's and the user's."""


def this_device(described: str | None = None) -> Device:
    """The first GPU of this machine, or its CPU.

    A GPU's speed is that of the table; a CPU's is measured in some tenths of a second, in float32.

    Args:
        described: As for `known_device`.

    Raises:
        ConfigurationError: The GPU is not in the table, or its description cannot be read.
    """
    gpu = _first_gpu()
    if gpu is None:
        return _cpu()
    device = known_device(*gpu, described)
    if device is None:
        raise ConfigurationError(
            f"{gpu[0]} is not in the table of devices: give its bandwidth and compute, or a "
            "device file (planned_device, FASTTTS_PLANNED_DEVICE)"
        )
    return device


def known_device(name: str, memory_bytes: int, described: str | None = None) -> Device | None:
    """A GPU by the driver's name and its real memory; None if the table does not have it.

    Args:
        name: What the driver calls it, and calibrations are filed under.
        memory_bytes: What the driver reports.
        described: Name or file of the device whose speed it has; None goes by the driver's name.

    Raises:
        ConfigurationError: There is no such description.
    """
    device = named_device(described) if described else try_device(name)
    if device is None:
        return None
    return replace(device, name=name, memory_bytes=memory_bytes, host_memory_bytes=_offload_bytes())


def this_device_name() -> str:
    """What calibrations of this machine are filed under."""
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


def _cpu() -> Device:
    return Device(
        name=_cpu_name(),
        memory_bytes=host_memory_bytes(),
        bandwidth_bytes_per_s=_copy_rate(),
        compute_flops=_matrix_rate(),
        host_memory_bytes=_offload_bytes(),
        is_cpu=True,
    )


def _cpu_name() -> str:
    """The processor's name and how many cores this process may use."""
    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = information.read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.partition(":")[2] for line in lines if line.startswith("model name")]
        name = names[0] if names else name
    return f"{' '.join(name.split())}, {len(os.sched_getaffinity(0))} cores"


def host_memory_bytes(container_limit: Path = CONTAINER_LIMIT) -> int:
    """The machine's memory, or what the container it runs in may use of it.

    Args:
        container_limit: The file that says so; there is none outside a container.
    """
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = container_limit.read_text().strip() if container_limit.exists() else ""
    return min(physical, int(limit)) if limit.isdecimal() else physical


def _offload_bytes() -> int:
    return int(_OFFLOAD_SHARE * host_memory_bytes())


def _copy_rate() -> float:
    """Bytes a second that are read while an array larger than the caches is copied."""
    source = np.ones(_COPY_BYTES, dtype=np.uint8)
    target = np.empty_like(source)
    return _COPY_BYTES / _fastest(lambda: np.copyto(target, source))


def _matrix_rate() -> float:
    """Operations a second of a float32 matrix product."""
    left = np.ones((_MATRIX_SIZE, _MATRIX_SIZE), dtype=np.float32)
    right, product = left.copy(), np.empty_like(left)
    return 2 * _MATRIX_SIZE**3 / _fastest(lambda: np.matmul(left, right, out=product))


def _fastest(work: Callable[[], object]) -> float:
    """Seconds of the fastest of some runs, after one to warm up."""
    work()
    fastest_s = math.inf
    for _ in range(_NUM_REPEATS):
        started_s = time.perf_counter()
        work()
        fastest_s = min(fastest_s, time.perf_counter() - started_s)
    return fastest_s
