"""Devices: the table, files, quantities, and the machine the tests run on."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttts.errors import ConfigurationError
from fasttts.memory import (
    DEVICES,
    Device,
    describe_device,
    find_device,
    known_device,
    read_device,
    this_device,
    this_device_name,
)
from fasttts.memory.detect import host_memory_bytes
from fasttts.memory.units import (
    GIB,
    MIB,
    Unit,
    format_bytes,
    format_rate,
    format_seconds,
    parse_quantity,
)


@pytest.mark.parametrize(
    ("text", "unit", "number"),
    [
        ("24GiB", "B", 24 * GIB),
        ("24 gib", "B", 24 * GIB),
        ("24GB", "B", 24e9),
        ("1.5M", "B", 1.5e6),
        ("512", "B", 512),
        (512, "B", 512),
        ("1008GB/s", "B/s", 1008e9),
        ("1.008 TB/s", "B/s", 1.008e12),
        ("1008GB", "B/s", 1008e9),
        ("165TFLOPS", "FLOPS", 165e12),
        ("165 tflop/s", "FLOPS", 165e12),
        ("1e12", "FLOPS", 1e12),
    ],
)
def test_quantities(text: object, unit: Unit, number: float) -> None:
    assert parse_quantity(text, unit, "x") == pytest.approx(number)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GiB",
        "-1GiB",
        "0",
        "24GiB/s",
        "24XB",
        "1e999",
        "1 2",
        None,
        True,
        [1],
        0,
        -3,
        1e-300,
        1e300,
        "1e30GiB",
        10**400,
        -(10**400),
        "1" + "0" * 400,
        10**22,
        float("inf"),
        float("nan"),
    ],
)
def test_what_is_no_quantity(text: object) -> None:
    with pytest.raises(ConfigurationError, match=r"^memory=.*24GiB"):
        parse_quantity(text, "B", "memory")


@given(st.integers(1, 1 << 50))
def test_formatted_bytes_are_right_to_a_percent(num_bytes: int) -> None:
    assert parse_quantity(format_bytes(num_bytes), "B", "x") == pytest.approx(num_bytes, rel=0.01)


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (format_bytes(0), "0 B"),
        (format_bytes(399 * MIB), "399 MiB"),
        (format_bytes(14.03 * GIB), "14.0 GiB"),
        (format_seconds(1234.5), "1,234 s"),
        (format_seconds(3.308), "3.31 s"),
        (format_seconds(0.676), "676 ms"),
        (format_seconds(12e-6), "12 µs"),
        (format_rate(1008e9, "B/s"), "1,008 GB/s"),
        (format_rate(165.2e12, "FLOPS"), "165 TFLOPS"),
        (format_rate(28.8e9, "FLOPS"), "28.8 GFLOPS"),
    ],
)
def test_formats(shown: str, text: str) -> None:
    assert shown == text


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("rtx-4090", "rtx-4090"),
        ("RTX 4090", "rtx-4090"),
        ("4090", "rtx-4090"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("NVIDIA GeForce RTX 3070 Ti", "rtx-3070-ti"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA A100-SXM4-40GB", "a100-40gb"),
        ("NVIDIA L4", "l4"),
    ],
)
def test_names_of_devices(name: str, found: str) -> None:
    assert find_device(name) is DEVICES[found]


def test_an_unknown_device_is_refused_with_a_hint() -> None:
    with pytest.raises(ConfigurationError, match=r"did you mean 'rtx-4090'\?"):
        find_device("rtx-4900")
    with pytest.raises(ConfigurationError, match=r"known: rtx-3070-ti, .*JSON or TOML"):
        find_device("tpu")


def test_a_laptop_is_not_taken_for_the_card_of_its_name() -> None:
    with pytest.raises(ConfigurationError, match="unknown device"):
        find_device("NVIDIA GeForce RTX 4090 Laptop GPU")


DESCRIBED = Device(
    name="mine",
    memory_bytes=16 * GIB,
    bandwidth_bytes_per_s=500e9,
    compute_flops=50e12,
    link_bytes_per_s=16e9,
    host_memory_bytes=8 * GIB,
)
TOML = """memory = "16GiB"
bandwidth = "500GB/s"
compute = "50TFLOPS"
link = "16GB/s"
host_memory = "8GiB"
"""


def test_a_device_file(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TOML)
    assert read_device(tmp_path / "mine.toml") == DESCRIBED
    values = {"name": "mine", "memory": 16 * GIB, "bandwidth": 500e9, "compute": 50e12}
    values |= {"link": "16GB/s", "host_memory": "8GiB"}
    (tmp_path / "other.json").write_text(json.dumps(values))
    assert read_device(tmp_path / "other.json") == DESCRIBED


@pytest.mark.parametrize(("word", "block_size"), [("true", 32), ("false", 16)])
def test_a_device_file_of_a_cpu(tmp_path: Path, word: str, block_size: int) -> None:
    file = tmp_path / "host.toml"
    file.write_text(TOML.replace('link = "16GB/s"', f"is_cpu = {word}"))
    device = read_device(file)
    assert (device.is_cpu, device.block_size) == (word == "true", block_size)
    assert device.memory_bytes == DESCRIBED.memory_bytes
    if device.is_cpu:
        with pytest.raises(ConfigurationError, match=r"describes a CPU.* run on NVIDIA L4"):
            known_device("NVIDIA L4", 23 * GIB, str(file))


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("a.toml", "memory = ", "cannot be read"),
        ("a.json", "[]", "one JSON object"),
        ("a.json", "{}", "memory and bandwidth and compute must be given"),
        ("a.json", '{"memory": "16GiB", "bandwith": 1}', "no 'bandwith': did you mean 'bandwidth'"),
        ("a.json", '{"cores": 1}', "no 'cores': known: memory"),
        ("a.toml", TOML + "is_cpu = 1\n", "is_cpu=1: true or false"),
        ("a.toml", TOML + 'is_cpu = "yes"\n', "is_cpu='yes': true or false"),
        ("a.toml", TOML + "is_cpu = true\n", "leave link out"),
        ("a.toml", TOML.replace("16GiB", "many"), "memory='many'"),
        ("a.toml", TOML.replace('"16GiB"', "inf"), "memory=inf: give a number from 1 to 1e.21 B"),
        ("a.toml", TOML.replace('"16GiB"', "nan"), "memory=nan"),
        ("a.toml", TOML.replace('"16GiB"', "0x" + "f" * 5000), "memory=int"),
        ("a.toml", TOML.replace('"500GB/s"', "1" + "0" * 400), "bandwidth=1000"),
        ("a.toml", TOML.replace('"8GiB"', "true"), "host_memory=True"),
        ("a.json", '{"memory": 1%s, "bandwidth": 1, "compute": 1}' % ("0" * 400), "memory=1000"),
        ("a.json", '{"memory": 1e999, "bandwidth": 1, "compute": 1}', "memory=inf"),
        ("a.json", '{"memory": 1%s}' % ("0" * 5000), "cannot be read: Exceeds the limit"),
        ("a.toml", TOML + 'name = ["a"]\n', r"name=\['a'\]: one line of text"),
        ("a.toml", TOML + "name = 4090\n", "name=4090: one line of text"),
        ("a.toml", TOML + 'name = ""\n', "name='': one line of text"),
        ("a.toml", TOML + 'name = "  "\n', "name='  ': one line of text"),
        ("a.toml", TOML + 'name = "a\\nb"\n', r"name='a\\nb': one line of text"),
        ("a.json", '{"name": null, "memory": 1, "bandwidth": 1, "compute": 1}', "name=None: one"),
        ("a.json", r'{"name": "\ud800", "memory": 1, "bandwidth": 1, "compute": 1}', "name=.* one"),
    ],
)
def test_a_device_file_that_describes_none(
    tmp_path: Path, file: str, text: str, message: str
) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(ConfigurationError, match=message) as caught:
        read_device(tmp_path / file)
    assert len(str(caught.value).splitlines()) == 1


def test_values_over_a_known_device() -> None:
    device = describe_device({"memory": "48GiB"}, DEVICES["rtx-4090"])
    assert (device.name, device.memory_bytes) == ("rtx-4090", 48 * GIB)
    assert device.bandwidth_bytes_per_s == 1008e9


def test_a_driver_knows_its_memory_better() -> None:
    device = known_device("NVIDIA GeForce RTX 4090", 23 * GIB)
    assert device is not None
    assert (device.name, device.memory_bytes) == ("NVIDIA GeForce RTX 4090", 23 * GIB)
    assert device.host_memory_bytes > 0
    assert known_device("NVIDIA GeForce GTX 970", 4 * GIB) is None


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts an `nvidia-smi` that prints the given lines before everything else."""

    def install(script: str) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

    return install


def test_this_machine_with_a_gpu(driver: Callable[[str], None]) -> None:
    driver("echo 'NVIDIA GeForce RTX 4090, 24564'; echo 'NVIDIA L4, 23034'")
    device = this_device()
    assert device.name == this_device_name() == "NVIDIA GeForce RTX 4090"
    assert (device.memory_bytes, device.is_cpu) == (24_564 * MIB, False)


def test_this_machine_with_a_gpu_that_is_not_in_the_table(driver: Callable[[str], None]) -> None:
    driver("echo 'NVIDIA GeForce GTX 970, 4096'")
    assert this_device_name() == "NVIDIA GeForce GTX 970"
    with pytest.raises(ConfigurationError, match=r"GTX 970 is not in the table"):
        this_device()


@pytest.mark.parametrize("script", ["exit 9", "echo broken", "true"])
def test_this_machine_without_a_gpu(driver: Callable[[str], None], script: str) -> None:
    driver(script)
    device = this_device()
    assert device.is_cpu
    assert device.name == this_device_name()
    assert device.name.endswith("cores")
    assert device.block_size == 32
    assert device.link_bytes_per_s is None
    assert device.memory_bytes > 1 << 28
    assert device.bandwidth_bytes_per_s > 1e7
    assert device.compute_flops > 1e7


def test_a_container_may_have_less_memory_than_the_machine(tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    physical = host_memory_bytes(limit)
    assert this_device().memory_bytes <= host_memory_bytes() <= physical
    limit.write_text("max\n")
    assert host_memory_bytes(limit) == physical
    limit.write_text("1048576\n")
    assert host_memory_bytes(limit) == 1_048_576
