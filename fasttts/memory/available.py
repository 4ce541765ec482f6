"""Memory that this process may still take: what the machine has left, within its control groups.

A container or a service manager limits a process below the machine's memory; the kernel ends it at
that limit. Pages of the file cache that were not used lately count as free, as the kernel frees
them before anything else.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

_LIMITS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Files of a group's limit and use, and the line of its statistics, in both versions."""


def available_memory_bytes(root: Path = Path("/")) -> int:
    """Memory in bytes that this process may still take.

    Args:
        root: Where `proc` and `sys` are; replaced in tests.
    """
    left = [_machine_bytes(root), *map(_group_bytes, _groups(root))]
    return int(max(0, min(left)))


def _machine_bytes(root: Path) -> float:
    """The kernel's estimate of available memory; all of the memory where it makes none."""
    found = _statistic(root / "proc" / "meminfo", "MemAvailable:")
    if found is not None:
        return found * 1024
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _groups(root: Path) -> Iterator[Path]:
    """Directories of the control groups that this process is in, and of those around them."""
    file = root / "proc" / "self" / "cgroup"
    for line in _lines(file):
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            top = root / "sys" / "fs" / "cgroup" / controllers
            inner = top / path.lstrip("/")
            yield from (each for each in (inner, *inner.parents) if each.is_relative_to(top))


def _group_bytes(group: Path) -> float:
    """Memory that a group leaves of its limit; infinity where it has none."""
    for limit_file, usage_file, reclaimable in _LIMITS:
        limit, usage = (_number(group / name) for name in (limit_file, usage_file))
        if limit is not None and usage is not None:
            return limit - usage + (_statistic(group / "memory.stat", reclaimable) or 0)
    return math.inf


def _number(file: Path) -> int | None:
    text = "".join(_lines(file)).strip()
    return int(text) if text.isdecimal() else None


def _statistic(file: Path, name: str) -> int | None:
    """The number behind a name in a file of one name and number a line."""
    found = (line.split() for line in _lines(file))
    return next((int(words[1]) for words in found if words and words[0] == name), None)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
