"""Properties of every plan: the best of its scan, within memory, never slower with more."""

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fasttts.errors import CapacityError
from fasttts.memory import (
    MODELS,
    Device,
    MemoryPlan,
    ModelShape,
    Workload,
    make_plan,
)
from fasttts.memory.costs import Costs
from fasttts.memory.partitions import STEP_BYTES, MemoryBudget, fastest
from fasttts.memory.requirements import PROCESS_BYTES, generator_needs, verifier_needs
from fasttts.memory.units import GIB, MIB

pytestmark = pytest.mark.usefixtures("unmeasured")

MATH = MODELS["Qwen2.5-Math-1.5B-Instruct"]
MATH_7B = MODELS["Qwen2.5-Math-7B-Instruct"]
SKYWORK = MODELS["Skywork-o1-Open-PRM-Qwen-2.5-1.5B"]
PRM_7B = MODELS["Qwen2.5-Math-PRM-7B"]

DEVICE = st.builds(
    Device,
    name=st.just("any"),
    memory_bytes=st.integers(4 * GIB, 100 * GIB),
    bandwidth_bytes_per_s=st.floats(1e11, 5e12),
    compute_flops=st.floats(1e13, 1e15),
    link_bytes_per_s=st.none() | st.floats(4e9, 64e9),
    host_memory_bytes=st.integers(MIB, 64 * GIB),
    is_cpu=st.booleans(),
)
GENERATOR = st.sampled_from([MATH, MATH_7B, MODELS["Qwen3-4B"], MODELS["Llama-3.2-1B-Instruct"]])
VERIFIER = st.sampled_from([SKYWORK, PRM_7B, MODELS["Llama3.1-8B-PRM-Mistral-Data"]])
WORKLOAD = st.builds(
    Workload,
    num_beams=st.integers(1, 600),
    beam_width=st.integers(1, 8),
    step_tokens=st.integers(8, 256),
    depth=st.integers(1, 12),
    prompt_tokens=st.integers(1, 512),
)


def planned(device: Device, *arguments: object, **options: object) -> MemoryPlan | None:
    try:
        return make_plan(device, *arguments, **options)
    except CapacityError:
        return None


@settings(max_examples=25)
@given(DEVICE, GENERATOR, VERIFIER, WORKLOAD)
def test_the_chosen_split_is_the_best_of_the_scan(
    device: Device, generator: ModelShape, verifier: ModelShape, workload: Workload
) -> None:
    own = generator_needs(device, Costs(device, generator), workload, 64)
    other = verifier_needs(device, Costs(device, verifier), workload, own)
    budget = MemoryBudget(device, int(0.9 * device.memory_bytes), own, other, slots=64)
    splits = list(budget.resident())
    chosen = fastest(splits)
    if chosen is None:
        assert budget.resident_kv_bytes < own.min_kv_bytes + other.min_kv_bytes
        return
    assert chosen.times.total_s == min(split.times.total_s for split in splits)
    for split in splits:
        assert split.generator_kv_bytes >= own.min_kv_bytes
        assert other.min_kv_bytes <= split.verifier_kv_bytes <= other.enough_kv_bytes
        assert split.generator_kv_bytes + split.verifier_kv_bytes <= budget.resident_kv_bytes
        assert split.generator_kv_bytes % own.block_bytes == 0
        assert split.verifier_kv_bytes % other.block_bytes == 0
    sizes = [split.verifier_kv_bytes for split in splits]
    assert sizes[0] == other.min_kv_bytes
    assert max(b - a for a, b in zip(sizes, [*sizes[1:], sizes[-1]], strict=True)) <= (
        STEP_BYTES + other.block_bytes
    )


@settings(max_examples=25)
@given(DEVICE, GENERATOR, st.none() | VERIFIER, WORKLOAD, st.floats(0.1, 1.0))
def test_a_plan_never_exceeds_the_memory(
    device: Device,
    generator: ModelShape,
    verifier: ModelShape | None,
    workload: Workload,
    utilization: float,
) -> None:
    plan = planned(device, generator, verifier, workload, gpu_memory_utilization=utilization)
    assume(plan is not None)
    assert plan is not None
    usable = utilization * device.memory_bytes
    engines = [engine for engine in (plan.generator, plan.verifier) if engine is not None]
    process = 0 if device.is_cpu else PROCESS_BYTES
    sizes = [
        each.weight_bytes + each.activation_bytes + each.runtime_bytes + each.kv_cache_memory_bytes
        for each in engines
    ]
    if plan.kind == "time_shared":
        asleep = sum(each.runtime_bytes for each in engines)
        for engine, size in zip(engines, sizes, strict=True):
            assert size + asleep - engine.runtime_bytes + 2 * process <= usable
        assert sum(each.weight_bytes for each in engines) <= device.host_memory_bytes
    else:
        assert sum(sizes) + process <= usable
    assert plan.generator.offload_bytes <= device.host_memory_bytes
    assert 1 <= plan.generator.max_num_seqs <= max(1, plan.generator.num_resident_beams)
    for engine in engines:
        longest = -(-engine.max_model_len // engine.block_size)
        assert engine.num_blocks > longest


@settings(max_examples=25)
@given(DEVICE, GENERATOR, st.none() | VERIFIER, WORKLOAD, st.integers(0, 40 * GIB))
def test_more_memory_is_never_slower(
    device: Device,
    generator: ModelShape,
    verifier: ModelShape | None,
    workload: Workload,
    more_bytes: int,
) -> None:
    plan = planned(device, generator, verifier, workload)
    assume(plan is not None)
    assert plan is not None
    larger = replace(device, memory_bytes=device.memory_bytes + more_bytes)
    better = planned(larger, generator, verifier, workload)
    assert better is not None
    assert better.predicted_s <= plan.predicted_s * (1 + 1e-9)


@settings(max_examples=15)
@given(DEVICE, GENERATOR, VERIFIER, WORKLOAD)
def test_a_plan_survives_json(
    device: Device, generator: ModelShape, verifier: ModelShape, workload: Workload
) -> None:
    plan = planned(device, generator, verifier, workload)
    assume(plan is not None)
    assert plan is not None
    assert MemoryPlan.from_json(plan.to_json()) == plan
