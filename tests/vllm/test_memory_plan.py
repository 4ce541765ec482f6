"""Which memory plan a configuration gets on a GPU, and where it gets none."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.dummy_models import QWEN2_1_5B, QWEN2_7B
from fasttts.backends.vllm.arguments import VllmDevice, generator_arguments, verifier_arguments
from fasttts.backends.vllm.checkpoint import Checkpoint
from fasttts.backends.vllm.memory_plan import try_plan
from fasttts.config import EngineConfig, engine_config
from fasttts.errors import CapacityError, ConfigurationError, Role
from fasttts.memory import (
    Calibration,
    Device,
    MemoryPlan,
    engine_arguments,
    known_device,
    save_calibration,
    try_calibration,
)
from fasttts.memory.units import GIB

RTX_4090 = VllmDevice(is_cpu=False, name="NVIDIA GeForce RTX 4090", memory_bytes=24 * GIB)
CPU = VllmDevice(is_cpu=True, name="cpu", memory_bytes=0)
THIS_CPU = Device(
    name="this cpu",
    memory_bytes=32 * GIB,
    bandwidth_bytes_per_s=20e9,
    compute_flops=200e9,
    is_cpu=True,
)

MATH_1_5B: Mapping[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    **QWEN2_1_5B,
    "max_position_embeddings": 4096,
    "torch_dtype": "bfloat16",
}
MATH_7B = {**MATH_1_5B, **QWEN2_7B}
PRM: Mapping[str, Any] = {"architectures": ["Qwen2ForProcessRewardModel"]}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def checkpoint(role: Role, config: Mapping[str, Any]) -> Checkpoint:
    return Checkpoint(name=f"/{role}", role=role, config=config, weight_bytes=GIB)


GENERATOR = checkpoint("generator", MATH_1_5B)
VERIFIER = checkpoint("verifier", {**MATH_1_5B, **PRM})
LARGE_GENERATOR = checkpoint("generator", MATH_7B)
LARGE_VERIFIER = checkpoint("verifier", {**MATH_7B, **PRM})


def config(**options: object) -> EngineConfig:
    return engine_config(**{"generator": "/generator", "verifier": "/verifier", **options})


def plan(settings: EngineConfig, device: VllmDevice = RTX_4090) -> MemoryPlan | None:
    return try_plan(settings, GENERATOR, VERIFIER, device, cpu=lambda: THIS_CPU)


def arguments(settings: EngineConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """What both engines would be opened with on the RTX 4090."""
    found = plan(settings)
    planned = engine_arguments(found) if found else ({}, {})
    return (
        generator_arguments(settings, GENERATOR, VERIFIER, RTX_4090, planned[0]),
        verifier_arguments(settings, GENERATOR, VERIFIER, RTX_4090, planned[1]),
    )


def test_a_gpu_s_engines_have_planned_caches_slots_and_contexts() -> None:
    generator, verifier = arguments(config())
    for found in (generator, verifier):
        assert found["kv_cache_memory_bytes"] > 0
        assert found["block_size"] == 16
        assert found["max_num_seqs"] >= 64
        assert found["dtype"] == "auto"
        assert "enforce_eager" not in found
    assert generator["max_model_len"] == 4096
    assert generator["scheduling_policy"] == "priority"
    assert "async_scheduling" not in generator  # vLLM's default: wherever it can
    assert max(verifier["compilation_config"]["cudagraph_capture_sizes"]) == 2048
    assert verifier["kv_cache_memory_bytes"] < 10**9 < generator["kv_cache_memory_bytes"]
    shares = generator["gpu_memory_utilization"] + verifier["gpu_memory_utilization"]
    assert 0.8 < shares < 0.95  # the process itself is in both


def test_a_model_of_the_hub_has_the_shape_that_the_hub_s_configuration_says() -> None:
    hub = Checkpoint(name="org/g", role="generator", config=MATH_1_5B)
    found = try_plan(config(verifier=None), hub, None, RTX_4090)
    assert found is not None
    assert (found.kind, found.generator.model) == ("alone", "org/g")


def test_the_configuration_s_options_reach_the_plan() -> None:
    found = plan(
        config(
            max_model_len=512,
            max_num_seqs=9,
            planned_beams=32,
            gpu_memory_utilization=0.5,
            dtype="float32",
        )
    )
    assert found is not None
    assert found.generator.max_model_len == 512
    assert found.generator.max_num_seqs == 9
    assert found.workload.num_beams == 32
    assert found.workload.longest_tokens <= 512
    assert found.usable_bytes == 12 * GIB
    assert found.generator.dtype == "float32"


def test_a_context_shorter_than_a_typical_search_is_no_error() -> None:
    found = plan(config(max_model_len=16))
    assert found is not None
    assert found.generator.max_model_len == 16


def test_float32_checkpoints_are_planned_in_the_16_bits_that_they_run_in() -> None:
    in_float32 = checkpoint("generator", {**MATH_1_5B, "torch_dtype": "float32"})
    found = try_plan(config(verifier=None), in_float32, None, RTX_4090)
    assert found is not None
    assert found.generator.dtype == "bfloat16"


def test_explicit_arguments_win_over_the_plan() -> None:
    settings = config(generator_args={"max_num_seqs": 7}, verifier_args={"block_size": 32})
    generator, verifier = arguments(settings)
    assert generator["max_num_seqs"] == 7
    assert generator["kv_cache_memory_bytes"] > 0
    assert verifier["block_size"] == 32


UNKNOWN = replace(RTX_4090, name="Somebody's Accelerator")


@pytest.mark.parametrize(
    ("settings", "device", "reason"),
    [
        (config(), UNKNOWN, '"Somebody\'s Accelerator" is not in the table of devices'),
        (config(kv_cache_memory_bytes=GIB), RTX_4090, "kv_cache_memory_bytes is set"),
        (
            config(verifier_args={"tensor_parallel_size": 2}),
            RTX_4090,
            "verifier_args['tensor_parallel_size'] is set",
        ),
        (config(tensor_parallel_size=2), CPU, "ranks share the memory of a CPU"),
        (
            config(verifier_args={"gpu_memory_utilization": 0.2}),
            RTX_4090,
            "verifier_args['gpu_memory_utilization'] is set",
        ),
    ],
)
def test_without_a_plan_a_log_line_says_why(
    settings: EngineConfig, device: VllmDevice, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="fasttts"):
        assert plan(settings, device) is None
    assert caplog.messages == [f"memory is not planned: {reason}"]


def test_a_model_that_the_planner_does_not_know_is_not_planned(
    caplog: pytest.LogCaptureFixture,
) -> None:
    mixture = checkpoint("generator", {**MATH_1_5B, "num_experts": 64})
    with caplog.at_level(logging.INFO, logger="fasttts"):
        assert try_plan(config(verifier=None), mixture, None, RTX_4090) is None
    assert "mixture of experts" in caplog.text


def test_a_gpu_that_the_table_lacks_may_be_described(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('memory = "1GiB"\nbandwidth = "500GB/s"\ncompute = "50TFLOPS"\n')
    found = plan(config(planned_device=str(file)), UNKNOWN)
    assert found is not None
    assert found.device.name == "Somebody's Accelerator"
    assert found.device.memory_bytes == 24 * GIB
    assert found.device.bandwidth_bytes_per_s == 500e9
    named = plan(config(planned_device="RTX 4090"), UNKNOWN)
    assert named is not None
    assert named.device.bandwidth_bytes_per_s == 1008e9
    with pytest.raises(ConfigurationError, match="did you mean 'rtx-4090'"):
        plan(config(planned_device="rtx-4900"), UNKNOWN)


@pytest.mark.parametrize("way", ["kv", "sleep"])
@pytest.mark.parametrize(
    ("device", "reason"),
    [(CPU, f"{THIS_CPU.name} has no link"), (UNKNOWN, "needs a memory plan, but ")],
)
def test_offloading_that_cannot_be_planned_is_refused(
    way: str, device: VllmDevice, reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"offloading='{way}'.*{reason}"):
        plan(config(offloading=way), device)


def test_a_cpu_s_caches_and_contexts_are_planned_from_its_memory() -> None:
    found = try_plan(config(verifier=None), GENERATOR, None, CPU, cpu=lambda: THIS_CPU)
    assert found is not None
    planned, _ = engine_arguments(found)
    opened = generator_arguments(config(verifier=None), GENERATOR, None, CPU, planned)
    assert opened["max_model_len"] == 4096
    assert opened["kv_cache_memory_bytes"] == found.generator.kv_cache_memory_bytes > GIB
    assert (opened["dtype"], opened["block_size"], opened["max_num_seqs"]) == ("float32", 32, 128)
    assert "gpu_memory_utilization" not in opened


def test_models_too_large_for_a_cpu_are_refused_before_they_are_read() -> None:
    small = replace(THIS_CPU, memory_bytes=4 * GIB)
    with pytest.raises(CapacityError, match=r"this cpu: .* of weights.*free memory, set dtype"):
        try_plan(config(), GENERATOR, VERIFIER, CPU, cpu=lambda: small)


def test_small_models_take_a_fixed_cache_on_a_cpu(caplog: pytest.LogCaptureFixture) -> None:
    small = replace(GENERATOR, weight_bytes=1 << 20)
    settings = config(verifier=None)
    with caplog.at_level(logging.INFO, logger="fasttts"):
        assert try_plan(settings, small, None, CPU, cpu=lambda: THIS_CPU) is None
    assert "models of this size need little" in caplog.text
    opened = generator_arguments(settings, small, None, CPU)
    assert opened["kv_cache_memory_bytes"] == GIB // 4
    assert opened["max_model_len"] == -1  # as long as that cache holds


def test_blocks_are_offloaded_when_asked_for() -> None:
    settings = config(offloading="kv", planned_beams=4096)
    generator, verifier = arguments(settings)
    assert generator["kv_offloading_size"] > 0
    assert generator["kv_transfer_config"]["kv_connector"] == "OffloadingConnector"
    assert "kv_offloading_size" not in verifier


def with_much_host_memory(
    name: str, memory_bytes: int, described: str | None = None
) -> Device | None:
    found = known_device(name, memory_bytes, described)
    return None if found is None else replace(found, host_memory_bytes=64 * GIB)


def test_models_take_turns_where_they_do_not_fit_together() -> None:
    models = LARGE_GENERATOR, LARGE_VERIFIER
    found = try_plan(config(), *models, RTX_4090, find=with_much_host_memory)
    assert found is not None
    assert found.kind == "time_shared"
    assert [each["enable_sleep_mode"] for each in engine_arguments(found)] == [True, True]
    with pytest.raises(CapacityError, match="too little memory on NVIDIA GeForce RTX 4090"):
        try_plan(config(offloading="none"), *models, RTX_4090)


def test_the_plan_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="fasttts"):
        plan(config())
    (message,) = caplog.messages
    assert message.startswith("planned: side_by_side, ")
    assert "a search of 64 beams" in message


def test_a_calibration_of_this_device_and_model_is_used() -> None:
    before = plan(config())
    slow = ((1, 1.0), (2, 1.1), (16, 1.2), (64, 9.0))
    save_calibration(
        Calibration(device=RTX_4090.name, model="/generator", role="generator", decode=slow)
    )
    assert try_calibration(RTX_4090.name, "/generator", "generator") is not None
    after = plan(config())
    assert before is not None
    assert after is not None
    assert (before.is_measured, after.is_measured) == (False, True)
    assert after.times.generation_s > 10 * before.times.generation_s
    assert after.generator.max_num_seqs < before.generator.max_num_seqs
