"""Plans for several GPUs of one machine: what each has, and which options an engine is told."""

from dataclasses import replace
from typing import Any

import pytest

from fasttts.config import engine_config
from fasttts.errors import CapacityError, ConfigurationError
from fasttts.memory import (
    DEVICES,
    MODELS,
    MemoryPlan,
    ModelShape,
    Workload,
    make_plan,
    plan_on_gpus,
)
from fasttts.memory.costs import Costs
from fasttts.memory.requirements import PROCESS_BYTES

RTX_4090 = DEVICES["rtx-4090"]
MATH_7B = MODELS["Qwen2.5-Math-7B-Instruct"]
LARGE = MODELS["Qwen2.5-14B-Instruct"]
SKYWORK = MODELS["Skywork-o1-Open-PRM-Qwen-2.5-1.5B"]
PRM_7B = MODELS["Qwen2.5-Math-PRM-7B"]
BEAMS_64 = Workload(num_beams=64)
PAIR = (RTX_4090, MATH_7B, SKYWORK, BEAMS_64)


def planned(
    num_gpus: int, generator: ModelShape, verifier: ModelShape | None, **options: Any
) -> MemoryPlan:
    config = engine_config(verifier=None if verifier is None else "prm", **options)
    return plan_on_gpus(config, RTX_4090, generator, verifier, BEAMS_64, num_gpus=num_gpus)


def places(plan: MemoryPlan) -> tuple[int, str, str]:
    return plan.generator.tensor_parallel_size, plan.kind, plan.reasons[-1]


def test_parts_are_as_large_as_the_whole() -> None:
    part = LARGE.shard(2)
    norms = LARGE.norm_parameters
    assert 2 * part.num_parameters - norms == pytest.approx(LARGE.num_parameters, rel=1e-4)
    assert 2 * part.kv_bytes_per_token == LARGE.kv_bytes_per_token
    assert part.vocab_size == LARGE.vocab_size  # logits are gathered
    assert LARGE.shard(1) is LARGE


def test_heads_of_keys_and_values_are_repeated_where_there_are_fewer_than_gpus() -> None:
    few = MODELS["Qwen2.5-Math-1.5B-Instruct"]
    assert (few.num_heads, few.num_kv_heads) == (12, 2)
    assert few.shard(4).kv_bytes_per_token == few.shard(2).kv_bytes_per_token
    with pytest.raises(ConfigurationError, match="12 attention heads, 2 of keys and values"):
        few.shard(5)


def test_a_generator_is_on_as_few_gpus_as_it_fits_on() -> None:
    left = "; the other is for engines of their own."
    apart = "An engine is opened so with verifier_device=1"
    assert places(planned(2, MATH_7B, PRM_7B)) == (1, "apart", f"{apart}.")
    assert places(planned(3, MATH_7B, PRM_7B)) == (1, "apart", apart + left)
    spread = "An engine is opened so with tensor_parallel_size=2"
    assert places(planned(2, LARGE, SKYWORK)) == (2, "side_by_side", f"{spread}.")
    assert places(planned(2, LARGE, None)) == (2, "alone", f"{spread}.")
    both = f"{spread} and verifier_device=2"
    assert places(planned(3, LARGE, PRM_7B)) == (2, "apart", f"{both}.")
    left = "; the others are for engines of their own."
    assert places(planned(5, LARGE, PRM_7B)) == (2, "apart", both + left)


@pytest.mark.parametrize("num_gpus", [2, 3])
def test_a_verifier_has_no_gpu_of_its_own_where_that_is_slower(num_gpus: int) -> None:
    plan = planned(num_gpus, MATH_7B, SKYWORK)
    num_parts, kind, options = places(plan)
    assert (num_parts, kind) == (1, "side_by_side")
    assert options.startswith("One GPU is enough; the other")
    assert "its process holds up the generator's" in plan.reasons[-2]
    alone = plan_on_gpus(engine_config(verifier="prm"), *PAIR, num_gpus=1)
    assert plan.times == alone.times
    asked = planned(num_gpus, MATH_7B, SKYWORK, verifier_device=1)
    assert places(asked) == (1, "apart", asked.reasons[-1])
    assert "verifier_device=1" in asked.reasons[-1]


def test_the_users_choice_is_kept() -> None:
    plan = planned(4, MATH_7B, PRM_7B, tensor_parallel_size=2, generator_device=2)
    options = "tensor_parallel_size=2 and verifier_device=0"
    assert places(plan)[:2] == (2, "apart")
    assert options in plan.reasons[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"verifier_device": 5},
            r"verifier_device \(FASTTTS_VERIFIER_DEVICE\)=5: --gpus says 2 GPUs",
        ),
        (
            {"verifier_device": 2},
            "VERIFIER_DEVICE.=2: .* choose one of them, leave it out, or raise",
        ),
        ({"generator_device": 3}, "GENERATOR_DEVICE.=3: --gpus says 2 GPUs, counted from 0"),
        ({"tensor_parallel_size": 4}, "PARALLEL_SIZE.=4 from GPU 0 on: --gpus says 2 GPUs"),
        (
            {"tensor_parallel_size": 2, "generator_device": 1},
            "PARALLEL_SIZE.=2 from GPU 1 on: --gpus says 2 .* lower it, or raise --gpus",
        ),
    ],
)
def test_gpus_that_are_not_there_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        planned(2, MATH_7B, PRM_7B, **options)
    assert planned(8, MATH_7B, PRM_7B, **options).kind in {"apart", "side_by_side"}


def test_a_count_of_gpus_that_cannot_be_is_refused() -> None:
    cpu = replace(RTX_4090, name="a CPU", link_bytes_per_s=None, is_cpu=True)
    for verifier in (SKYWORK, None):
        config = engine_config(verifier=None if verifier is None else "prm")
        with pytest.raises(ConfigurationError, match="--gpus 2: a CPU is no GPU; leave it out"):
            plan_on_gpus(config, cpu, MATH_7B, verifier, BEAMS_64, num_gpus=2)
    with pytest.raises(ConfigurationError, match="--gpus 0: at least 1"):
        planned(0, MATH_7B, None)


@pytest.mark.parametrize(
    "options", [{"verifier_device": 1}, {"generator_device": 1}, {"offloading": "kv"}]
)
def test_a_generator_is_not_spread_where_an_engine_would_refuse_that(
    options: dict[str, Any],
) -> None:
    """Over the verifier's GPU, one that is not there, or with an offloading of one GPU alone."""
    with pytest.raises(CapacityError, match="too little memory on rtx-4090"):
        planned(2, LARGE, SKYWORK, **options)
    assert planned(2, LARGE, SKYWORK).generator.tensor_parallel_size == 2


def test_models_take_turns_on_one_of_the_gpus() -> None:
    plan = planned(2, MATH_7B, PRM_7B, offloading="sleep")
    assert places(plan) == (
        *(1, "time_shared"),
        "One GPU is enough; the other is for engines of their own.",
    )
    for num_gpus in (1, 2):
        with pytest.raises(ConfigurationError, match=r"VERIFIER_DEVICE.=1: two models take turns"):
            planned(num_gpus, MATH_7B, PRM_7B, offloading="sleep", verifier_device=1)
    with pytest.raises(ConfigurationError, match="nobody to take turns with"):
        planned(2, MATH_7B, None, offloading="sleep")


def test_what_fits_nowhere_is_refused() -> None:
    with pytest.raises(CapacityError, match="raise tensor_parallel_size") as caught:
        planned(2, LARGE, PRM_7B)
    assert caught.value.role == "generator"
    with pytest.raises(CapacityError, match="too little memory on a second") as caught:
        planned(2, MATH_7B, LARGE)
    assert caught.value.role == "verifier"


def test_each_gpu_holds_what_it_is_planned_to() -> None:
    plan = planned(2, LARGE, SKYWORK)
    assert plan.verifier is not None
    assert plan.verifier.has_own_process
    engines = (plan.generator, plan.verifier)
    taken = sum(each.weight_bytes + each.activation_bytes + each.runtime_bytes for each in engines)
    caches = sum(each.kv_cache_memory_bytes for each in engines)
    assert taken + caches + 2 * PROCESS_BYTES <= plan.usable_bytes
    assert plan.generator.weight_bytes == LARGE.shard(2).weight_bytes
    assert MemoryPlan.from_json(plan.to_json()) == plan
    assert "adds" not in " ".join(plan.reasons)
    assert "the first has the verifier too" in plan.reasons[0]


def test_two_gpus_read_half_the_weights_and_exchange_sums() -> None:
    one, two = Costs(RTX_4090, LARGE), Costs(RTX_4090, LARGE, num_gpus=2)
    assert one.decode_s(1, 0) > two.decode_s(1, 0) > one.decode_s(1, 0) / 2
    more = two.decode_s(65, 0) - two.decode_s(64, 0)
    moved = 2 * LARGE.num_layers * LARGE.hidden_size * LARGE.item_bytes
    assert RTX_4090.link_bytes_per_s is not None
    assert more > moved / RTX_4090.link_bytes_per_s


def test_a_spread_generator_offloads_nothing() -> None:
    whole = make_plan(RTX_4090, MATH_7B, PRM_7B, BEAMS_64)
    assert whole.kind == "time_shared"
    with pytest.raises(CapacityError, match=r"lack, of \S+ GiB to use, \d+ MiB together; raise"):
        planned(2, MATH_7B, PRM_7B, tensor_parallel_size=2)
