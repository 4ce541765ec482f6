"""A generator over several GPUs: what vLLM is asked for, and what its ranks get, without any."""

import os
import pickle
import sys
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from fasttts import ConfigurationError
from fasttts.backends.vllm.arguments import VllmDevice, check_extra_arguments, generator_arguments
from fasttts.backends.vllm.builder import EngineBuilder
from fasttts.backends.vllm.checkpoint import Checkpoint
from fasttts.backends.vllm.tensor_parallel import check_ranks
from fasttts.config import engine_config
from fasttts.decoding.grammar import Constraint
from tests.vllm.test_sleep_mode import Engine, Executor, Opened, builder

GPU = VllmDevice(is_cpu=False, name="NVIDIA L4", memory_bytes=24 << 30)
CPU = VllmDevice(is_cpu=True, name="cpu", memory_bytes=0)
HEADS = {"num_attention_heads": 28, "num_key_value_heads": 4, "intermediate_size": 18_944}
GENERATOR = Checkpoint(
    name="/g",
    role="generator",
    config={"hidden_size": 3584, "num_hidden_layers": 28, "vocab_size": 152_064, **HEADS},
    weight_bytes=12 << 30,
)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tensor_parallel_size": 8}, r"28 attention heads.* 8 GPUs cannot share alike"),
        ({"numerics": "deterministic"}, r"were not shown on a GPU.* give numerics='default'"),
        ({"generator_args": {"enable_sleep_mode": True}}, r"'enable_sleep_mode'\] was not tried"),
        ({"generator_args": {"kv_offloading_size": 4.0}}, r"'kv_offloading_size'\] was not tried"),
        ({"generator_args": {"pipeline_parallel_size": 2}}, r"'pipeline_parallel_size'\] was not"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_opened(
    options: dict[str, Any], message: str
) -> None:
    config = engine_config(**{"tensor_parallel_size": 2, **options})
    with pytest.raises(ConfigurationError, match=message):
        check_ranks(config, GENERATOR, GPU)
    check_ranks(config.model_copy(update={"tensor_parallel_size": 1}), GENERATOR, GPU)


@pytest.mark.parametrize("offloading", ["kv", "sleep"])
def test_offloading_goes_with_one_gpu(offloading: str) -> None:
    with pytest.raises(ConfigurationError, match="goes with one GPU alone"):
        engine_config(tensor_parallel_size=2, offloading=offloading)


def test_equal_results_hold_on_a_cpu() -> None:
    config = engine_config(tensor_parallel_size=2, numerics="deterministic")
    check_ranks(config, GENERATOR, CPU)


def test_a_model_that_the_planner_does_not_know_is_left_to_vllm() -> None:
    experts = replace(GENERATOR, config={**GENERATOR.config, "num_experts": 64})
    check_ranks(engine_config(tensor_parallel_size=8), experts, GPU)


def test_the_option_is_the_engines() -> None:
    with pytest.raises(ConfigurationError, match="give the engine's option tensor_parallel_size"):
        check_extra_arguments("generator_args", {"tensor_parallel_size": 2}, ())
    check_extra_arguments("verifier_args", {"tensor_parallel_size": 2}, {"tensor_parallel_size"})


def test_each_gpu_has_its_part_of_the_weights() -> None:
    one, two = (
        generator_arguments(engine_config(tensor_parallel_size=size), GENERATOR, None, GPU)
        for size in (1, 2)
    )
    assert "tensor_parallel_size" not in one
    assert two["tensor_parallel_size"] == 2
    assert two["distributed_executor_backend"] == "mp"
    sized = engine_config(tensor_parallel_size=2, kv_cache_memory_bytes=6 << 30)
    share = generator_arguments(sized, GENERATOR, None, GPU)["gpu_memory_utilization"]
    assert share == pytest.approx((6 + 6) / 24)


class Ranks(Executor):
    """Calls what is sent to ranks, here."""

    def collective_rpc(self, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        pickle.loads(pickle.dumps(call))(None, *pickle.loads(pickle.dumps(args)))
        self._diary.append(call.__name__)


class SpreadEngine(Engine):
    """Whose model is in other processes."""

    executor = Ranks

    def __init__(self, diary: list[str], **others: Any) -> None:
        super().__init__(diary, **others)
        self.model_config.get_vocab_size = lambda: 1792


def spread(opened: Opened, **options: Any) -> EngineBuilder:
    """The demonstration models, whose generator has three heads, on three GPUs."""
    return builder("auto", opened, tensor_parallel_size=3, **options)


@pytest.mark.vllm
def test_every_rank_knows_the_grammars_of_requests() -> None:
    diary: list[str] = []
    opened = Opened(diary, engine=SpreadEngine)
    generator = spread(opened).open_generator(())
    assert diary[-1] == "_receive_vocabulary"
    assert opened.arguments["generator"]["tensor_parallel_size"] == 3
    grammar = "start: /[0-9]{3}/"
    generator.compile_grammar(grammar)
    begun = tuple(generator.tokenizer.encode("1"))
    sent = generator._constraints.start(grammar, begun)
    received = pickle.loads(pickle.dumps(sent))
    assert isinstance(received, Constraint)
    assert (received.is_received, sent.is_received) == (True, False)
    assert received.allowed(()).tolist() == sent.allowed(()).tolist()
    assert 0 < sent.allowed(()).sum() < generator.vocab_size


@pytest.mark.vllm
def test_the_verifier_has_a_process_of_its_own_beside_ranks() -> None:
    opened = Opened([], engine=SpreadEngine)
    spread(opened).open_verifier()
    assert opened.arguments["verifier"]["has_own_process"]
    assert "tensor_parallel_size" not in opened.arguments["verifier"]
    opened = Opened([], engine=SpreadEngine)
    replace(spread(opened), plan=None).open_verifier()
    assert opened.arguments["verifier"]["has_own_process"]


@pytest.mark.vllm
def test_ranks_are_started_anew_and_share_the_cores_of_a_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import vllm

    from fasttts.backends.vllm.engine_lifecycle import open_engine

    names = ("VLLM_WORKER_MULTIPROC_METHOD", "VLLM_CPU_OMP_THREADS_BIND")
    seen: list[dict[str, Any]] = []

    def note(**arguments: Any) -> Any:
        main = sys.modules["__main__"]
        named = hasattr(main, "__file__")
        seen.append({name: os.environ.get(name) for name in names} | {"named": named})
        return SimpleNamespace(llm_engine=SimpleNamespace(engine_core=None))

    monkeypatch.setattr(vllm, "LLM", note)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "program.py", raising=False)
    monkeypatch.delenv(names[1], raising=False)
    monkeypatch.setenv(names[0], "fork")
    open_engine("generator", model="m", tensor_parallel_size=2)
    monkeypatch.setenv(names[1], "0|1")
    open_engine("generator", model="m", tensor_parallel_size=2)
    open_engine("generator", model="m")
    assert seen == [
        {names[0]: "spawn", names[1]: "nobind", "named": False},
        {names[0]: "spawn", names[1]: "0|1", "named": False},
        {names[0]: "fork", names[1]: "0|1", "named": True},
    ]
    assert hasattr(sys.modules["__main__"], "__file__")


@pytest.mark.vllm
def test_a_rank_finds_the_sampling_rule_by_its_name() -> None:
    from fasttts.backends.vllm.model_runner import sampler_processors

    for is_second in (False, True):
        processors = sampler_processors((), is_second=is_second)
        assert processors
        assert pickle.loads(pickle.dumps(processors)) == processors
