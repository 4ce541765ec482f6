"""The planner against vLLM: names of arguments, sizes of caches, and a short calibration."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from fasttts import FastTTS, demo
from fasttts.config import EngineConfig, engine_config
from fasttts.memory import (
    DEVICES,
    MODELS,
    MemoryPlan,
    Workload,
    calibrate_generator,
    calibrate_verifier,
    engine_arguments,
    make_plan,
    plan_engines,
    read_shape,
    this_device,
)
from fasttts.memory.units import GIB
from tests.vllm.inside import engine_of

pytestmark = pytest.mark.vllm

MATH, PRM = MODELS["Qwen2.5-Math-7B-Instruct"], MODELS["Qwen2.5-Math-PRM-7B"]
ONE_FITS = replace(DEVICES["rtx-4090"], memory_bytes=34 * GIB)


def plans() -> Iterator[MemoryPlan]:
    """A plan of each kind."""
    yield make_plan(DEVICES["h200"], MATH, PRM, Workload())
    yield make_plan(DEVICES["h200"], MATH, None, Workload())
    yield make_plan(DEVICES["rtx-4090"], MATH, PRM, Workload())
    yield make_plan(ONE_FITS, MATH, PRM, Workload(num_beams=512), offloading="kv")


def test_every_argument_is_one_of_vllm_s() -> None:
    from vllm.engine.arg_utils import EngineArgs

    kinds, names = [], set()
    for plan in plans():
        kinds.append(plan.kind)
        for arguments in engine_arguments(plan):
            names |= arguments.keys()
    assert kinds == ["side_by_side", "alone", "time_shared", "kv_offload"]
    assert {"kv_offloading_size", "enable_sleep_mode", "kv_cache_memory_bytes"} <= names
    assert names - set(EngineArgs.__dataclass_fields__) == set()


def test_vllm_s_configuration_offloads_blocks_as_planned() -> None:
    """As far as a machine without a GPU gets: vLLM resolves the arguments to its connector."""
    from vllm.config import CacheConfig, KVTransferConfig, VllmConfig

    plan = list(plans())[-1]
    arguments = engine_arguments(plan)[0]
    resolved = VllmConfig(
        cache_config=CacheConfig(
            block_size=arguments["block_size"],
            kv_cache_memory_bytes=arguments["kv_cache_memory_bytes"],
            kv_offloading_size=arguments["kv_offloading_size"],
        ),
        kv_transfer_config=KVTransferConfig(**arguments["kv_transfer_config"]),
    )
    transfer = resolved.kv_transfer_config
    assert transfer is not None
    assert transfer.kv_connector == "OffloadingConnector"
    assert transfer.kv_connector_extra_config["cpu_bytes_to_use"] == plan.generator.offload_bytes
    assert transfer.kv_connector_extra_config["offload_prompt_only"] is False


def planned(config: EngineConfig) -> MemoryPlan:
    shapes = read_shape(demo.generator_path()), read_shape(demo.verifier_path())
    return plan_engines(config, this_device(), *shapes, Workload(num_beams=8, depth=4))


def test_engines_have_the_caches_that_were_planned() -> None:
    plan = planned(engine_config(max_model_len=512))
    generator_args, verifier_args = engine_arguments(plan)
    config = engine_config(
        max_model_len=512, generator_args=generator_args, verifier_args=verifier_args
    )
    with FastTTS.from_config(config) as engine:
        backends: tuple[Any, Any] = engine.generator, engine.verifier
        for backend, planned_engine in zip(backends, (plan.generator, plan.verifier), strict=True):
            assert planned_engine is not None
            found = engine_of(backend).vllm_config
            assert found.cache_config.num_gpu_blocks == planned_engine.num_blocks
            assert found.scheduler_config.max_num_seqs == planned_engine.max_num_seqs
            assert found.model_config.max_model_len == planned_engine.max_model_len
        assert engine.search("What is 2 + 2?", n=4, max_tokens=64, seed=1).candidates


def test_the_demonstration_models_can_be_calibrated(demo_engine: FastTTS) -> None:
    generator = calibrate_generator(demo_engine.generator, "here", budget_s=1.0)
    assert demo_engine.generator.num_unfinished() == 0
    sizes = [size for size, _ in generator.decode]
    assert sizes[0] == 1
    assert max(sizes) > 1
    assert generator.context_tokens > 10
    assert all(seconds > 0 for _, seconds in (*generator.decode, *generator.prefill))
    assert demo_engine.verifier is not None
    verifier = calibrate_verifier(demo_engine.verifier, "here", budget_s=1.0)
    assert verifier.prefill[0][0] > 16
