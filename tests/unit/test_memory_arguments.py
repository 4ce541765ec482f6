"""From a configuration to a plan, and from a plan to the arguments of vLLM."""

from dataclasses import replace
from typing import Any

import pytest

from fasttts.config import engine_config
from fasttts.errors import CapacityError
from fasttts.memory import (
    DEVICES,
    MODELS,
    Calibration,
    Device,
    ModelShape,
    Workload,
    engine_arguments,
    make_plan,
    plan_engines,
    save_calibration,
)
from fasttts.memory.requirements import PROCESS_BYTES
from fasttts.memory.units import GIB

MATH = MODELS["Qwen2.5-Math-1.5B-Instruct"]
MATH_7B = MODELS["Qwen2.5-Math-7B-Instruct"]
SKYWORK = MODELS["Skywork-o1-Open-PRM-Qwen-2.5-1.5B"]
PRM_7B = MODELS["Qwen2.5-Math-PRM-7B"]
RTX_4090 = DEVICES["rtx-4090"]
TIGHT = replace(RTX_4090, memory_bytes=int(8.5 * GIB))
BEAMS_64 = Workload(num_beams=64)


def test_arguments_of_models_side_by_side() -> None:
    plan = make_plan(RTX_4090, MATH, SKYWORK, BEAMS_64)
    generator, verifier = engine_arguments(plan)
    assert plan.verifier is not None
    for arguments, engine in ((generator, plan.generator), (verifier, plan.verifier)):
        assert arguments == {
            "kv_cache_memory_bytes": engine.num_blocks * 16 * 28_672,
            "block_size": 16,
            "max_num_seqs": engine.max_num_seqs,
            "max_num_batched_tokens": 2048,
            "max_model_len": 4096,
            "gpu_memory_utilization": engine.memory_share,
        }
        assert not engine.has_own_process
    # The process is counted in both shares, for each is checked by itself.
    process = PROCESS_BYTES / RTX_4090.memory_bytes
    assert plan.generator.memory_share + plan.verifier.memory_share - process <= 0.9


def test_arguments_of_offloaded_blocks() -> None:
    workload = Workload(num_beams=512)
    plan = make_plan(TIGHT, MATH, SKYWORK, workload, gpu_memory_utilization=1.0, offloading="kv")
    generator, verifier = engine_arguments(plan)
    assert generator["kv_offloading_size"] * GIB == plan.generator.offload_bytes > 0
    extra = generator["kv_transfer_config"]["kv_connector_extra_config"]
    assert extra == {"offload_prompt_only": False}
    assert "kv_offloading_size" not in verifier
    # vLLM writes into the dictionary it is given.
    extra["cpu_bytes_to_use"] = 1
    again = engine_arguments(plan)[0]["kv_transfer_config"]["kv_connector_extra_config"]
    assert again == {"offload_prompt_only": False}


def test_arguments_of_models_that_take_turns() -> None:
    plan = make_plan(RTX_4090, MATH_7B, PRM_7B, BEAMS_64)
    generator, verifier = engine_arguments(plan)
    assert generator["enable_sleep_mode"] is verifier["enable_sleep_mode"] is True
    assert generator["async_scheduling"] is False
    assert max(plan.generator.memory_share, verifier["gpu_memory_utilization"]) <= 0.9


CPU = Device(
    name="cpu",
    memory_bytes=32 * GIB,
    bandwidth_bytes_per_s=20e9,
    compute_flops=200e9,
    is_cpu=True,
)


def test_a_cpu_s_cache_holds_what_decodes_and_no_more() -> None:
    plan = make_plan(CPU, MATH, SKYWORK, Workload(num_beams=16))
    generator, _ = engine_arguments(plan)
    assert generator["block_size"] == 32
    assert "gpu_memory_utilization" not in generator
    assert plan.generator.runtime_bytes == 0
    assert plan.generator.max_num_seqs == plan.generator.num_resident_beams == 128


def test_a_configuration_decides_types_context_and_slots(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config = engine_config(
        generator="x/y", verifier="x/z", max_model_len=2048, max_num_seqs=8, dtype="float32"
    )
    plan = plan_engines(config, RTX_4090, MATH, SKYWORK, Workload())
    assert plan.generator.max_model_len == 2048
    assert plan.generator.max_num_seqs == 8
    assert plan.generator.dtype == "float32"
    automatic = engine_config(generator="x/y", verifier="x/z")
    assert plan_engines(automatic, RTX_4090, MATH, None, Workload()).generator.dtype == "bfloat16"
    on_cpu = plan_engines(automatic, CPU, MATH, SKYWORK, Workload())
    assert on_cpu.generator.dtype == "float32"
    assert not on_cpu.is_measured
    quantized = replace(MATH, weight_bits=4, dtype="float16")
    assert plan_engines(automatic, CPU, quantized, SKYWORK, Workload()).generator.dtype == "float16"


@pytest.mark.parametrize(
    ("dtype", "types"),
    [("auto", ("float32", "float32")), ("bfloat16", ("bfloat16", "float32"))],
)
def test_deterministic_models_are_planned_in_the_types_they_run_in(
    dtype: str, types: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config = engine_config(
        generator="x/y", verifier="x/z", numerics="deterministic", dtype=dtype, max_model_len=2048
    )
    plan = plan_engines(config, DEVICES["h200"], MATH, SKYWORK, Workload())
    assert plan.verifier is not None
    assert (plan.generator.dtype, plan.verifier.dtype) == types


@pytest.mark.parametrize(
    ("memory_gib", "model", "context"),
    [
        (32.0, MATH, 4096),
        (32.0, replace(MATH, max_model_len=32_768), 32_768),
        (16.0, replace(MATH, max_model_len=131_072), 16_384),
        (9.0, replace(MATH, max_model_len=131_072), 8192),
        (6.9, replace(MATH, max_model_len=131_072), 2048),
    ],
)
def test_a_cpu_s_context_is_the_model_s_or_what_fits(
    memory_gib: float, model: ModelShape, context: int
) -> None:
    device = replace(CPU, memory_bytes=int(memory_gib * GIB))
    plan = plan_engines(engine_config(generator="x/y"), device, model, None)
    engine = plan.generator
    assert engine.max_model_len == context
    taken = engine.weight_bytes + engine.activation_bytes + engine.kv_cache_memory_bytes
    assert taken <= 0.9 * device.memory_bytes


@pytest.mark.parametrize("context", [None, 4096])
def test_too_little_memory_on_a_cpu_is_an_error_with_numbers_and_remedies(
    context: int | None,
) -> None:
    device = replace(CPU, memory_bytes=4 * GIB)
    config = engine_config(generator="x/y", max_model_len=context)
    with pytest.raises(CapacityError) as error:
        plan_engines(config, device, MATH, None)
    message = str(error.value)
    assert "5.75 GiB of weights" in message
    assert "of 3.60 GiB to use" in message
    for flag in ("--dtype, FASTTTS_DTYPE", "--max-model-len, FASTTTS_MAX_MODEL_LEN"):
        assert flag in message


def test_a_configuration_finds_its_calibrations(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config = engine_config(generator="x/Y", verifier="x/z")
    slow = Calibration(device="rtx-4090", model="y", role="generator", decode=((1, 1.0), (64, 1.1)))
    save_calibration(slow)
    plan = plan_engines(config, RTX_4090, MATH, SKYWORK, BEAMS_64)
    assert plan.is_measured
    assert plan.times.generation_s > 64 * 10
    assert plan.generator.max_num_seqs == 64
    assert "measured on this device" in plan.reasons[-1]


def test_drafted_tokens_take_memory_from_the_kv_cache() -> None:
    """Logits of their rows, their CUDA graphs, and the texts that they are looked up in."""

    def kv_bytes(draft_tokens: int, **options: object) -> int:
        config = engine_config(
            scheduling={"draft_tokens": draft_tokens}, max_num_seqs=64, **options
        )
        plan = plan_engines(config, RTX_4090, MATH, SKYWORK, BEAMS_64)
        return plan.generator.num_blocks * 16 * 28_672

    drafted = kv_bytes(0) - kv_bytes(4)
    rows = (64 * 5 * 9 - 64 * 16) * MATH.vocab_size
    assert rows < drafted < rows + GIB // 2
    assert 0 < kv_bytes(4) - kv_bytes(16) < rows + GIB // 2, "512 rows at most"
    spread = {"tensor_parallel_size": 2, "verifier_device": 2}
    assert kv_bytes(0, **spread) == kv_bytes(4, **spread)


def test_nothing_is_drafted_on_a_cpu() -> None:
    plans = [
        plan_engines(
            engine_config(scheduling={"draft_tokens": number}, max_model_len=2048),
            CPU,
            MATH,
            SKYWORK,
        )
        for number in (0, 4)
    ]
    assert plans[0].generator == plans[1].generator


@pytest.mark.parametrize("memory_mib", [8000, 8200, 8300, 8500, 9000])
@pytest.mark.parametrize("offloading", ["auto", "none", "kv"])
def test_drafts_never_make_models_take_turns(memory_mib: int, offloading: str) -> None:
    """Where there is no memory for drafts beside all else, the plan is the one without them."""
    device = replace(RTX_4090, memory_bytes=memory_mib << 20)

    def plan(draft_tokens: int) -> Any:
        config = engine_config(scheduling={"draft_tokens": draft_tokens}, offloading=offloading)
        try:
            return plan_engines(config, device, MATH, SKYWORK, BEAMS_64)
        except CapacityError as error:
            return str(error)

    drafting, without = plan(4), plan(0)
    if isinstance(drafting, str) or drafting.workload.draft_tokens == 0:
        assert drafting == without
    else:
        assert drafting.kind == without.kind
        assert drafting.generator.offload_bytes == 0
