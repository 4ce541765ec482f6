"""The planner: the fastest split, what it promises, and when it offloads."""

from dataclasses import replace

import pytest

from fasttts.errors import CapacityError, ConfigurationError
from fasttts.memory import (
    DEVICES,
    MODELS,
    ModelShape,
    Workload,
    engine_arguments,
    find_device,
    make_plan,
)
from fasttts.memory.costs import Costs
from fasttts.memory.curves import size_for_rate
from fasttts.memory.requirements import PROCESS_BYTES
from fasttts.memory.units import GB, GIB

MATH = MODELS["Qwen2.5-Math-1.5B-Instruct"]
MATH_7B = MODELS["Qwen2.5-Math-7B-Instruct"]
SKYWORK = MODELS["Skywork-o1-Open-PRM-Qwen-2.5-1.5B"]
PRM_7B = MODELS["Qwen2.5-Math-PRM-7B"]
RTX_4090 = DEVICES["rtx-4090"]
BEAMS_64 = Workload(num_beams=64)


# What the design promises.


def test_the_verifier_reaches_80_percent_of_its_peak_in_under_a_gigabyte() -> None:
    """Steps of 64 tokens after whole paths, as many as it takes, each path's KV in memory."""
    costs = Costs(RTX_4090, SKYWORK)
    workload = Workload(num_beams=512)
    context, step = workload.longest_tokens, workload.step_tokens
    batch = size_for_rate(lambda paths: costs.prefill_s(paths, step, context), 512, 0.8)
    peak = 512 / costs.prefill_s(512, step, context)
    assert batch / costs.prefill_s(batch, step, context) >= 0.8 * peak
    assert batch * (context + step) * SKYWORK.kv_bytes_per_token < GB


def test_the_plan_gives_that_verifier_under_a_gigabyte() -> None:
    plan = make_plan(RTX_4090, MATH, SKYWORK, BEAMS_64)
    assert plan.kind == "side_by_side"
    assert plan.verifier is not None
    assert plan.verifier.kv_cache_memory_bytes < GB
    assert plan.verifier.num_resident_beams >= 64
    assert plan.generator.kv_cache_memory_bytes > 10 * GIB
    assert plan.times.recompute_s == plan.times.transfer_s == 0.0
    assert plan.verification_batch_tokens is not None
    assert 64 < plan.verification_batch_tokens < 256


def test_the_paper_s_pairs_fit_its_cards() -> None:
    for device, generator, verifier in (
        ("rtx-4090", MATH, SKYWORK),
        ("rtx-4090", MATH, PRM_7B),
        ("rtx-4090", MATH_7B, SKYWORK),
        ("rtx-4070-ti", MATH, SKYWORK),
        ("rtx-3070-ti", MATH, SKYWORK),
    ):
        plan = make_plan(find_device(device), generator, verifier, BEAMS_64)
        assert plan.predicted_s > 0


# Slots.


def test_slots_end_at_the_knee_where_memory_is_plenty() -> None:
    plan = make_plan(DEVICES["h200"], MATH, SKYWORK, Workload(num_beams=16))
    slots, context = plan.generator.max_num_seqs, plan.workload.mean_context_tokens
    costs = Costs(DEVICES["h200"], MATH)

    def share(batch: int) -> float:
        more_s = costs.decode_s(batch + 1, context) - costs.decode_s(batch, context)
        return more_s * batch / costs.decode_s(batch, context)

    assert share(slots) > 0.5 >= share(slots - 1)
    assert plan.generator.num_resident_beams > slots


def test_the_search_s_own_beams_go_beyond_the_knee() -> None:
    few = make_plan(RTX_4090, MATH, SKYWORK, Workload(num_beams=16))
    many = make_plan(RTX_4090, MATH, SKYWORK, Workload(num_beams=400))
    assert few.generator.max_num_seqs < many.generator.max_num_seqs == 400


def test_slots_end_where_memory_does() -> None:
    plan = make_plan(RTX_4090, MATH_7B, SKYWORK, Workload(num_beams=16))
    assert plan.generator.max_num_seqs == plan.generator.num_resident_beams
    assert any("more do not fit" in reason for reason in plan.reasons)


def test_slots_end_where_the_user_says() -> None:
    plan = make_plan(RTX_4090, MATH, SKYWORK, BEAMS_64, max_num_seqs=32)
    assert plan.generator.max_num_seqs == 32
    assert any("as max_num_seqs says" in reason for reason in plan.reasons)


# Offloading.

TIGHT = replace(RTX_4090, memory_bytes=int(8.5 * GIB))


def test_blocks_overflow_to_the_host_where_that_is_faster() -> None:
    workload = Workload(num_beams=512)
    plan = make_plan(TIGHT, MATH, SKYWORK, workload, gpu_memory_utilization=1.0)
    assert plan.kind == "kv_offload"
    assert plan.generator.num_resident_beams < 512
    # vLLM holds every engine of a process that offloads to have the offloaded blocks.
    assert plan.verifier is not None
    assert (plan.generator.has_own_process, plan.verifier.has_own_process) == (False, True)
    engines = (plan.generator, plan.verifier)
    taken = sum(each.weight_bytes + each.activation_bytes + each.runtime_bytes for each in engines)
    caches = sum(each.kv_cache_memory_bytes for each in engines)
    assert taken + caches + 2 * PROCESS_BYTES <= plan.usable_bytes
    assert plan.times.transfer_s > 0
    without = make_plan(
        TIGHT, MATH, SKYWORK, workload, gpu_memory_utilization=1.0, offloading="none"
    )
    assert without.kind == "side_by_side"
    assert plan.predicted_s < without.predicted_s
    assert plan.times.recompute_s < without.times.recompute_s
    assert any("host memory" in reason for reason in plan.reasons)
    assert any("computed again" in reason for reason in without.reasons)


def test_models_take_turns_where_both_do_not_fit() -> None:
    plan = make_plan(RTX_4090, MATH_7B, PRM_7B, BEAMS_64)
    assert plan.kind == "time_shared"
    assert plan.verifier is not None
    assert plan.generator.is_asleep_between
    assert plan.verifier.is_asleep_between
    # vLLM's sleep mode serves one engine in a process.
    assert not plan.generator.has_own_process
    assert plan.verifier.has_own_process
    weights = MATH_7B.weight_bytes + PRM_7B.weight_bytes
    assert plan.times.transfer_s == pytest.approx(10 * 2 * weights / 31.5e9)
    assert plan.times.recompute_s > 0
    assert any("take turns (there is no room for both)" in reason for reason in plan.reasons)


def test_a_verifier_beside_the_generator_may_have_its_own_process() -> None:
    shared = make_plan(RTX_4090, MATH, SKYWORK, BEAMS_64)
    apart = make_plan(RTX_4090, MATH, SKYWORK, BEAMS_64, verifier_process=True)
    assert apart.kind == "side_by_side"
    assert apart.verifier is not None
    assert shared.verifier is not None
    assert apart.verifier.has_own_process
    assert not apart.generator.has_own_process
    assert not shared.verifier.has_own_process
    lost = sum(
        mine.kv_cache_memory_bytes - other.kv_cache_memory_bytes
        for mine, other in ((shared.generator, apart.generator), (shared.verifier, apart.verifier))
    )
    assert lost == pytest.approx(PROCESS_BYTES, rel=0.01)
    alone = make_plan(RTX_4090, MATH, None, BEAMS_64, verifier_process=True)
    assert alone.generator == make_plan(RTX_4090, MATH, None, BEAMS_64).generator


def test_a_slow_link_is_not_used() -> None:
    slow = replace(TIGHT, link_bytes_per_s=1e6)
    workload = Workload(num_beams=512)
    plan = make_plan(slow, MATH, SKYWORK, workload, gpu_memory_utilization=1.0)
    assert plan.kind == "side_by_side"


def test_nothing_is_offloaded_where_everything_fits() -> None:
    for offloading in ("auto", "none", "kv"):
        plan = make_plan(RTX_4090, MATH, SKYWORK, BEAMS_64, offloading=offloading)
        assert plan.kind == "side_by_side"
    assert make_plan(RTX_4090, MATH, SKYWORK, BEAMS_64, offloading="sleep").kind == "time_shared"


def test_a_generator_alone() -> None:
    plan = make_plan(RTX_4090, MATH, None, Workload(num_beams=64, beam_width=1))
    assert plan.kind == "alone"
    assert plan.verifier is None
    assert plan.verification_batch_tokens is None
    assert plan.times.verification_s == 0.0
    arguments, none = engine_arguments(plan)
    assert none == {}
    assert arguments["max_num_seqs"] == plan.generator.max_num_seqs


def test_what_does_not_fit_names_what_to_change() -> None:
    with pytest.raises(CapacityError) as error:
        make_plan(DEVICES["rtx-3070-ti"], MATH_7B, PRM_7B, BEAMS_64)
    message = str(error.value)
    assert error.value.role == "generator"
    for words in (
        "14.2 GiB of weights",
        "7.20 GiB to use",
        "together",
        "in turns",
        "max_model_len",
    ):
        assert words in message, message
    with pytest.raises(CapacityError, match="with offloading='none'"):
        make_plan(RTX_4090, MATH_7B, PRM_7B, BEAMS_64, offloading="none")
    little = replace(RTX_4090, host_memory_bytes=20 * GIB)
    with pytest.raises(CapacityError, match=r"in turns \(with 20.0 GiB of host memory\)"):
        make_plan(little, MATH_7B, PRM_7B, BEAMS_64)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"offloading": "disk"}, "offloading='disk': use one of auto, none, kv, sleep"),
        ({"gpu_memory_utilization": 0.0}, "gpu_memory_utilization=0.0"),
        ({"gpu_memory_utilization": 1.1}, "gpu_memory_utilization=1.1"),
        ({"max_num_seqs": 0}, "max_num_seqs=0"),
    ],
)
def test_options_that_cannot_work(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make_plan(RTX_4090, MATH, SKYWORK, BEAMS_64, **options)


def test_offloading_needs_a_place_and_a_partner() -> None:
    island = replace(RTX_4090, link_bytes_per_s=None)
    for offloading in ("kv", "sleep"):
        with pytest.raises(ConfigurationError, match="no link"):
            make_plan(island, MATH, SKYWORK, BEAMS_64, offloading=offloading)
    with pytest.raises(ConfigurationError, match="take turns"):
        make_plan(RTX_4090, MATH, None, BEAMS_64, offloading="sleep")


# Workloads.


@pytest.mark.parametrize(
    "field", ["num_beams", "beam_width", "step_tokens", "depth", "prompt_tokens"]
)
def test_a_workload_is_positive(field: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{field}=0"):
        Workload(**{field: 0})


def test_a_workload_fits_its_context() -> None:
    with pytest.raises(ConfigurationError, match=r"are 896 tokens, the context is 512"):
        Workload(max_model_len=512)
    with pytest.raises(ConfigurationError, match=r"6,656 tokens is more than the 4,096"):
        make_plan(RTX_4090, MATH, SKYWORK, Workload(depth=100))
    with pytest.raises(ConfigurationError, match=r"8,192 tokens is more than the 4,096"):
        make_plan(RTX_4090, MATH, SKYWORK, Workload(max_model_len=8192))


def test_beams_share_their_ancestors() -> None:
    alone = Workload(depth=10, step_tokens=64, beam_width=1)
    assert alone.own_tokens == 640
    assert Workload(depth=10, step_tokens=64, beam_width=4).own_tokens == 64 + 9 * 64 / 4
    assert Workload(depth=1).own_tokens == Workload(depth=1).step_tokens
    assert Workload(depth=1).inherited_tokens == 0


def test_a_context_is_the_model_s_up_to_a_limit() -> None:
    def contexts(generator: ModelShape, workload: Workload) -> tuple[int, int]:
        plan = make_plan(DEVICES["h200"], generator, PRM_7B, workload)
        assert plan.verifier is not None
        return plan.generator.max_model_len, plan.verifier.max_model_len

    llama = MODELS["Llama-3.1-8B-Instruct"]
    assert contexts(MATH, BEAMS_64) == (4096, 4096)
    assert contexts(llama, BEAMS_64) == (8192, 4096)
    assert contexts(llama, Workload(max_model_len=1024)) == (1024, 2048)
    assert contexts(llama, Workload(depth=200))[0] == 256 + 200 * 64
