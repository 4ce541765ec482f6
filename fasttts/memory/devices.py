"""Memory and speed of devices: a table of common ones, and files for others."""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fasttts.config.paths import user_path
from fasttts.config.validation import did_you_mean
from fasttts.errors import ConfigurationError, shown
from fasttts.memory.units import GIB, MIB, Unit, parse_quantity

_PCIE_4, _PCIE_5 = 31.5e9, 63.0e9
"""Bytes a second in one direction of 16 lanes, after line encoding."""

_HOST_MEMORY_BYTES = 32 * GIB
"""Assumed host memory for offloading where it is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Memory, speed and host link of a device.

    Attributes:
        name: The user's name of it.
        memory_bytes: All of its memory, as the driver reports it.
        bandwidth_bytes_per_s: Peak reading rate of that memory.
        compute_flops: Peak multiply and add operations per second, in the type the models run in.
        link_bytes_per_s: Rate of the link to the host in one direction; None where there is no
            link, and so no offloading.
        host_memory_bytes: Host memory that offloading may use.
        is_cpu: Whether vLLM's CPU backend runs the models.
    """

    name: str
    memory_bytes: int
    bandwidth_bytes_per_s: float
    compute_flops: float
    link_bytes_per_s: float | None = None
    host_memory_bytes: int = _HOST_MEMORY_BYTES
    is_cpu: bool = False

    @property
    def block_size(self) -> int:
        """Tokens of a KV block: vLLM's default, or the size that its CPU attention requires."""
        return 32 if self.is_cpu else 16


def _gpu(name: str, memory_mib: int, bandwidth_gb: float, tflops: float, link: float) -> Device:
    return Device(
        name=name,
        memory_bytes=memory_mib * MIB,
        bandwidth_bytes_per_s=bandwidth_gb * 1e9,
        compute_flops=tflops * 1e12,
        link_bytes_per_s=link,
    )


_ENTRIES: tuple[tuple[Device, tuple[str, ...]], ...] = (
    (_gpu("rtx-3070-ti", 8_192, 608, 43.5, _PCIE_4), ("GeForce RTX 3070 Ti",)),
    (_gpu("rtx-4070-ti", 12_282, 504, 80.2, _PCIE_4), ("GeForce RTX 4070 Ti",)),
    (_gpu("rtx-4090", 24_564, 1_008, 165.2, _PCIE_4), ("GeForce RTX 4090",)),
    (_gpu("rtx-5090", 32_607, 1_792, 209.5, _PCIE_5), ("GeForce RTX 5090",)),
    (_gpu("l4", 23_034, 300, 121, _PCIE_4), ()),
    (_gpu("a100", 81_920, 2_039, 312, _PCIE_4), ("A100-SXM4-80GB", "a100-80gb")),
    (_gpu("a100-40gb", 40_960, 1_555, 312, _PCIE_4), ("A100-SXM4-40GB", "A100-PCIE-40GB")),
    (_gpu("h100", 81_559, 3_350, 989, _PCIE_5), ("H100 80GB HBM3", "h100-sxm", "h100-80gb")),
    (_gpu("h100-pcie", 81_559, 2_000, 756, _PCIE_5), ("H100 PCIe",)),
    (_gpu("h200", 143_771, 4_800, 989, _PCIE_5), ("h200-sxm",)),
)
"""Each device and other names of it, the driver's among them.

Memory is what `nvidia-smi` reports; bandwidth and dense bfloat16 rate with float32 accumulation
are those of NVIDIA's data sheets and architecture papers (GA102, Ada, Blackwell, A100, H100).
"""

DEVICES: Mapping[str, Device] = {device.name: device for device, _ in _ENTRIES}

_KNOWN = {
    re.sub(r"[^a-z0-9]", "", name.lower()): device
    for device, others in _ENTRIES
    for name in (device.name, *others)
}
_QUANTITIES: Mapping[str, tuple[str, Unit]] = {
    "memory": ("memory_bytes", "B"),
    "bandwidth": ("bandwidth_bytes_per_s", "B/s"),
    "compute": ("compute_flops", "FLOPS"),
    "link": ("link_bytes_per_s", "B/s"),
    "host_memory": ("host_memory_bytes", "B"),
}
_REQUIRED = ("memory", "bandwidth", "compute")
_KEYS = (*_QUANTITIES, "name", "is_cpu")


def find_device(name: str) -> Device:
    """Finds a device of the table by name, ignoring case, blanks and dashes.

    Raises:
        ConfigurationError: There is no such device; the message names a similar one.
    """
    device = try_device(name)
    if device is not None:
        return device
    raise ConfigurationError(
        f"unknown device {name!r}: {did_you_mean(name.lower(), DEVICES)} (others are described by "
        "a JSON or TOML file)"
    )


def try_device(name: str) -> Device | None:
    """Finds a device as `find_device` does, else None; accepts the driver's names too."""
    key = re.sub(r"[^a-z0-9]", "", name.lower()).removeprefix("nvidia")
    return _KNOWN.get(key) or _KNOWN.get(f"rtx{key}")


def named_device(name: str) -> Device:
    """Returns a device of the table, or reads the file if the name ends in .json or .toml.

    Raises:
        ConfigurationError: The table or the file does not have it.
    """
    path = user_path(name)
    return read_device(path) if path.suffix in {".json", ".toml"} else find_device(name)


def read_device(path: Path) -> Device:
    """Reads a device from a JSON or TOML file.

    Keys: `memory`, `bandwidth` and `compute`, and if they apply `name`, `link`, `host_memory`;
        values are numbers or text such as "24GiB". `is_cpu = true` makes it a CPU. `name` is one
        line of text, by default the file's name.

    Raises:
        ConfigurationError: The file cannot be read or describes no device.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"device file {str(path)!r} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"device file {str(path)!r} does not hold one JSON object")
    return describe_device({"name": path.stem, **content})


def describe_device(values: Mapping[str, Any], base: Device | None = None) -> Device:
    """Builds a device from the keys of `read_device`.

    Args:
        values: Keys and values.
        base: Device that supplies missing keys; None where the required keys must be given.

    Raises:
        ConfigurationError: A key is unknown or missing, or a value is not of its kind.
    """
    for key in values:
        if key not in _KEYS:
            raise ConfigurationError(f"a device has no {key!r}: {did_you_mean(key, _KEYS)}")
    missing = [key for key in _REQUIRED if key not in values]
    if base is None and missing:
        raise ConfigurationError(f"the device's {' and '.join(missing)} must be given")
    known: dict[str, Any] = {
        "name": values.get("name", base.name if base else "device"),
        "is_cpu": values.get("is_cpu", base.is_cpu if base else False),
    }
    if not _is_line(known["name"]):
        raise ConfigurationError(f"name={shown(known['name'])}: one line of text is needed")
    if not isinstance(known["is_cpu"], bool):
        raise ConfigurationError(f"is_cpu={shown(known['is_cpu'])}: true or false is needed")
    if known["is_cpu"] and "link" in values:
        raise ConfigurationError(
            "a CPU has no link to a host, to which nothing could be offloaded: leave link out"
        )
    for key, (field, unit) in _QUANTITIES.items():
        if key in values:
            number = parse_quantity(values[key], unit, key)
            known[field] = int(number) if unit == "B" else number
        elif base is not None:
            known[field] = getattr(base, field)
    return Device(**known)


def _is_line(value: object) -> bool:
    """Whether the value is text of one line, and not blank; tables and messages show it."""
    return isinstance(value, str) and value.isprintable() and bool(value.strip())
