"""How much memory a process may still take: the machine's, within its control groups."""

from pathlib import Path

import pytest

from fasttts.memory.available import available_memory_bytes
from fasttts.memory.units import GIB, MIB

FREE = 8 * GIB


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine with 8 GiB available."""
    write(tmp_path / "proc/meminfo", f"MemTotal: 1 kB\nMemAvailable:   {FREE // 1024} kB\n")
    return tmp_path


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def group(folder: Path, limit: str, usage: int, inactive: int = 0) -> None:
    write(folder / "memory.max", f"{limit}\n")
    write(folder / "memory.current", f"{usage}\n")
    write(folder / "memory.stat", f"anon 5\ninactive_file {inactive}\n")


def test_this_machine_has_some() -> None:
    assert 64 * MIB < available_memory_bytes() < 1 << 50


def test_without_groups_it_is_the_machine_s(root: Path) -> None:
    assert available_memory_bytes(root) == FREE


def test_a_group_leaves_its_limit_less_what_cannot_be_freed(root: Path) -> None:
    write(root / "proc/self/cgroup", "0::/\n")
    group(root / "sys/fs/cgroup", str(4 * GIB), 3 * GIB, inactive=2 * GIB)
    assert available_memory_bytes(root) == 3 * GIB
    group(root / "sys/fs/cgroup", "max", 3 * GIB)
    assert available_memory_bytes(root) == FREE
    group(root / "sys/fs/cgroup", str(4 * GIB), 5 * GIB)
    assert available_memory_bytes(root) == 0


def test_the_tightest_group_around_a_process_counts(root: Path) -> None:
    write(root / "proc/self/cgroup", "0::/user.slice/app\n")
    group(root / "sys/fs/cgroup/user.slice", str(2 * GIB), GIB)
    group(root / "sys/fs/cgroup/user.slice/app", str(6 * GIB), GIB)
    assert available_memory_bytes(root) == GIB


def test_the_first_version_s_groups_count_as_well(root: Path) -> None:
    write(root / "proc/self/cgroup", "3:cpu:/x\n7:memory:/docker/abc\n")
    folder = root / "sys/fs/cgroup/memory/docker/abc"
    write(folder / "memory.limit_in_bytes", str(GIB))
    write(folder / "memory.usage_in_bytes", str(GIB // 2))
    write(folder / "memory.stat", f"total_inactive_file {GIB // 4}\n")
    assert available_memory_bytes(root) == 3 * GIB // 4


def test_without_an_estimate_all_of_the_memory_counts(tmp_path: Path) -> None:
    assert available_memory_bytes(tmp_path) > 64 * MIB
