"""Models on a GPU each: what is asked of CUDA and of vLLM, without either."""

from dataclasses import replace

import pytest

from fasttts import ConfigurationError
from fasttts.backends.vllm.gpu_placement import VISIBLE, GpuPlacement
from fasttts.backends.vllm.verifier_process import ConcurrentVerifier
from fasttts.config import engine_config
from fasttts.memory import DEVICES, MODELS, plan_engines
from tests.vllm.test_sleep_mode import Opened, builder

MATH, PRM_7B = MODELS["Qwen2.5-Math-1.5B-Instruct"], MODELS["Qwen2.5-Math-PRM-7B"]


def placement(
    environ: dict[str, str], num_gpus: int = 4, *, is_claimed: bool = False
) -> GpuPlacement:
    return GpuPlacement(environ, lambda: num_gpus, lambda: is_claimed)


def test_nothing_is_touched_unasked() -> None:
    environ: dict[str, str] = {}
    unusable = GpuPlacement(environ, lambda: 1 // 0, lambda: bool(1 // 0))
    assert unusable.place(engine_config()) == {}
    assert environ == {}


def test_the_verifier_sees_its_own_gpu_alone() -> None:
    environ: dict[str, str] = {}
    assert placement(environ).place(engine_config(verifier_device=3)) == {VISIBLE: "3"}
    assert environ == {}


def test_the_generators_gpu_is_the_first() -> None:
    environ = {VISIBLE: "GPU-a, GPU-b,GPU-c"}
    gpus = placement(environ)
    placed = gpus.place(engine_config(generator_device=2, verifier_device=0))
    assert placed == {VISIBLE: "GPU-a"}
    assert environ[VISIBLE] == "GPU-c,GPU-a,GPU-b"
    # Numbers of a second engine are those of the beginning.
    placed = gpus.place(engine_config(generator_device=2, verifier_device=1))
    assert placed == {VISIBLE: "GPU-b"}
    assert environ[VISIBLE] == "GPU-c,GPU-a,GPU-b"


def test_the_ranks_gpus_are_the_first() -> None:
    environ: dict[str, str] = {}
    gpus = placement(environ)
    placed = gpus.place(engine_config(tensor_parallel_size=2, verifier_device=2))
    assert (placed, environ) == ({VISIBLE: "2"}, {})
    config = engine_config(generator_device=2, tensor_parallel_size=2, verifier_device=0)
    assert gpus.place(config) == {VISIBLE: "0"}
    assert environ[VISIBLE] == "2,3,0,1"


def test_ranks_on_a_cpu_need_no_gpu() -> None:
    environ: dict[str, str] = {}
    assert placement(environ, 0).place(engine_config(tensor_parallel_size=2)) == {}
    assert environ == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tensor_parallel_size": 3}, "tensor_parallel_size .*=3 from GPU 0 on: this process sees"),
        ({"generator_device": 1, "tensor_parallel_size": 2}, "=2 from GPU 1 on: this process sees"),
        ({"generator_device": 1, "verifier_device": 2}, "verifier_device .*=2: this process sees"),
        ({"generator_device": 2}, "generator_device .*=2: this process sees 2 GPUs"),
        ({"verifier_device": 5}, "verifier_device .*=5: this process sees 2 GPUs"),
    ],
)
def test_gpus_that_are_not_there(options: dict[str, int], message: str) -> None:
    environ: dict[str, str] = {}
    with pytest.raises(ConfigurationError, match=message):
        placement(environ, 2).place(engine_config(**options))
    assert environ == {}


def test_a_process_keeps_its_first_gpu() -> None:
    environ: dict[str, str] = {}
    gpus = placement(environ, is_claimed=True)
    assert gpus.place(engine_config(generator_device=0, verifier_device=1)) == {VISIBLE: "1"}
    with pytest.raises(ConfigurationError, match="works on GPU 0 already"):
        gpus.place(engine_config(generator_device=1))
    assert environ == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"verifier_device": 0}, "verifier_device=0 is the generator's GPU"),
        ({"generator_device": 1, "verifier_device": 1}, "verifier_device=1 is the generator's"),
        ({"verifier_device": 1, "tensor_parallel_size": 2}, "verifier_device=1 is the generator's"),
        ({"verifier_device": 1, "verifier": "judge"}, "no verifier's model is loaded"),
        ({"verifier_device": -1}, "verifier_device=-1"),
    ],
)
def test_choices_that_cannot_work(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        engine_config(**options)


def test_each_model_is_planned_with_a_gpu_for_itself() -> None:
    together = plan_engines(engine_config(), DEVICES["rtx-4090"], MATH, PRM_7B)
    config = engine_config(generator_device=1, verifier_device=0)
    apart = plan_engines(config, DEVICES["rtx-4090"], MATH, PRM_7B)
    alone = plan_engines(engine_config(), DEVICES["rtx-4090"], MATH, None)
    assert apart.kind == "apart"
    assert apart.generator == alone.generator
    assert apart.generator.kv_cache_memory_bytes > together.generator.kv_cache_memory_bytes
    assert apart.verifier is not None
    assert apart.verifier.has_own_process
    assert apart.verifier.num_resident_beams >= apart.workload.num_beams
    for engine in (apart.generator, apart.verifier):
        assert engine.memory_share <= 0.9
    assert apart.times.generation_s == alone.times.generation_s
    assert 0 < apart.times.verification_s < apart.predicted_s


def test_a_verifier_that_has_no_room_on_its_gpu_is_refused() -> None:
    from fasttts import CapacityError

    small = replace(DEVICES["rtx-4090"], memory_bytes=10 << 30)
    with pytest.raises(CapacityError, match=r"second rtx-4090.*PRM-7B lacks") as caught:
        plan_engines(engine_config(verifier_device=1), small, MATH, PRM_7B)
    assert caught.value.role == "verifier"


def test_a_cpu_is_no_second_gpu() -> None:
    from fasttts.memory import cpu_device

    for options in ({"verifier_device": 1}, {"tensor_parallel_size": 2}):
        with pytest.raises(ConfigurationError, match="is no GPU"):
            plan_engines(engine_config(**options), cpu_device(), MATH, PRM_7B)


@pytest.mark.vllm
def test_the_verifiers_process_is_opened_on_its_gpu() -> None:
    opened = Opened([])
    planned = replace(
        builder("auto", opened, verifier_device=1), verifier_environment={VISIBLE: "1"}
    )
    generator, verifier = planned.open_generator(()), planned.open_verifier()
    assert generator is not None
    assert isinstance(verifier, ConcurrentVerifier)
    asked = opened.arguments["verifier"]
    assert asked["has_own_process"]
    assert asked["environment"][VISIBLE] == "1"
    assert VISIBLE not in opened.arguments["generator"]["environment"]
    verifier._thread.shutdown()
    verifier._is_closing.set()


@pytest.mark.vllm
def test_without_a_plan_each_model_may_use_its_gpu() -> None:
    opened = Opened([])
    planned = replace(builder("auto", opened, verifier_device=1), plan=None)
    planned.open_generator(())
    verifier = planned.open_verifier()
    assert isinstance(verifier, ConcurrentVerifier)
    shares = {role: one["gpu_memory_utilization"] for role, one in opened.arguments.items()}
    assert shares == {"generator": 0.9, "verifier": 0.9}
    verifier._thread.shutdown()
    verifier._is_closing.set()
