"""The arguments of vLLM's engines, from a configuration."""

from dataclasses import replace
from typing import Any

import pytest

from fasttts.backends.vllm.arguments import (
    VllmDevice,
    check_context,
    check_extra_arguments,
    generator_arguments,
    verifier_arguments,
)
from fasttts.backends.vllm.checkpoint import Checkpoint
from fasttts.config import EngineConfig, engine_config
from fasttts.errors import ConfigurationError

GIB = 1 << 30
CPU = VllmDevice(is_cpu=True, name="cpu", memory_bytes=0)
GPU = VllmDevice(is_cpu=False, name="NVIDIA GeForce RTX 4090", memory_bytes=24 * GIB)
GENERATOR = Checkpoint(
    name="/g", role="generator", config={"max_position_embeddings": 4096}, weight_bytes=3 * GIB
)
VERIFIER = Checkpoint(
    name="/v", role="verifier", config={"max_position_embeddings": 2048}, weight_bytes=2 * GIB
)


def config(**options: object) -> EngineConfig:
    return engine_config(generator="/g", verifier="/v", **options)


def test_a_cpu_takes_a_quarter_gibibyte_each_and_float32() -> None:
    for arguments in (
        generator_arguments(config(), GENERATOR, VERIFIER, CPU),
        verifier_arguments(config(), GENERATOR, VERIFIER, CPU),
    ):
        assert arguments["kv_cache_memory_bytes"] == GIB // 4
        assert arguments["dtype"] == "float32"
        assert arguments["enforce_eager"] is True
        assert arguments["block_size"] % 32 == 0
        assert "gpu_memory_utilization" not in arguments


def test_a_quantised_model_keeps_its_type_on_a_cpu() -> None:
    quantized = replace(GENERATOR, config={"quantization_config": {"quant_method": "gptq"}})
    assert generator_arguments(config(), quantized, VERIFIER, CPU)["dtype"] == "auto"
    assert verifier_arguments(config(), quantized, VERIFIER, CPU)["dtype"] == "float32"
    chosen = config(dtype="bfloat16")
    assert generator_arguments(chosen, quantized, VERIFIER, CPU)["dtype"] == "bfloat16"


def test_a_gpu_is_shared() -> None:
    shares = [
        generator_arguments(config(), GENERATOR, VERIFIER, GPU)["gpu_memory_utilization"],
        verifier_arguments(config(), GENERATOR, VERIFIER, GPU)["gpu_memory_utilization"],
    ]
    left = 0.9 * 24 - 5
    assert shares == pytest.approx([(3 + 0.8 * left) / 24, (2 + 0.2 * left) / 24])
    assert sum(shares) == pytest.approx(0.9)


def test_a_generator_alone_takes_the_whole_share() -> None:
    arguments = generator_arguments(config(), GENERATOR, None, GPU)
    assert arguments["gpu_memory_utilization"] == 0.9
    assert arguments["dtype"] == "auto"
    assert "enforce_eager" not in arguments


def test_weights_of_unknown_size_leave_the_plain_ratio() -> None:
    hub = Checkpoint(name="org/g", role="generator")
    other = Checkpoint(name="org/v", role="verifier")
    arguments = generator_arguments(config(), hub, other, GPU)
    assert arguments["gpu_memory_utilization"] == pytest.approx(0.8 * 0.9)


@pytest.mark.parametrize("device", [CPU, GPU])
def test_a_cache_size_is_for_each_engine(device: VllmDevice) -> None:
    arguments = generator_arguments(
        config(kv_cache_memory_bytes=5 * GIB), GENERATOR, VERIFIER, device
    )
    assert arguments["kv_cache_memory_bytes"] == 5 * GIB
    # vLLM starts only where this share is free, and the other engine may have the rest.
    expected = None if device.is_cpu else pytest.approx(8 / 24)
    assert arguments.get("gpu_memory_utilization") == expected


@pytest.mark.parametrize(("slots", "largest"), [(8, None), (256, None), (257, 576), (512, 1024)])
def test_large_batches_have_graphs(slots: int, largest: int | None) -> None:
    options = config(max_num_seqs=slots)
    arguments = generator_arguments(options, GENERATOR, VERIFIER, GPU)
    sizes = arguments.get("compilation_config", {}).get("cudagraph_capture_sizes")
    if largest is None:  # vLLM's own are enough
        assert sizes is None
    else:
        assert max(sizes) == largest >= 2 * slots
        assert {1, 2, 4, 8, 256, 512} < set(sizes)
    assert "compilation_config" not in generator_arguments(options, GENERATOR, VERIFIER, CPU)


def test_a_plan_s_arguments_come_before_the_defaults_and_the_user_s_before_both() -> None:
    planned = {"kv_cache_memory_bytes": GIB, "max_num_seqs": 50, "gpu_memory_utilization": 0.3}
    options = config(generator_args={"max_num_seqs": 7}, verifier_args={"max_num_seqs": 8})
    generator = generator_arguments(options, GENERATOR, VERIFIER, GPU, planned)
    verifier = verifier_arguments(options, GENERATOR, VERIFIER, GPU, planned)
    for arguments, slots in ((generator, 7), (verifier, 8)):
        assert arguments["max_num_seqs"] == slots
        assert arguments["kv_cache_memory_bytes"] == GIB
        assert arguments["gpu_memory_utilization"] == 0.3
    assert generator_arguments(config(), GENERATOR, VERIFIER, GPU)["max_num_seqs"] == 128


def test_extra_arguments_win() -> None:
    options = config(generator_args={"block_size": 64}, verifier_args={"max_model_len": 99})
    assert generator_arguments(options, GENERATOR, VERIFIER, CPU)["block_size"] == 64
    assert verifier_arguments(options, GENERATOR, VERIFIER, CPU)["max_model_len"] == 99


@pytest.mark.parametrize(
    ("max_model_len", "longest", "expected"),
    [(None, 2048, -1), (512, 2048, 1024), (4096, 2048, 2048), (512, None, 1024)],
)
def test_context_of_the_verifier(
    max_model_len: int | None, longest: int | None, expected: int
) -> None:
    found = {"max_position_embeddings": longest}
    verifier = Checkpoint(name="/v", role="verifier", config=found, weight_bytes=1)
    arguments = verifier_arguments(config(max_model_len=max_model_len), GENERATOR, verifier, CPU)
    assert arguments["max_model_len"] == expected


def test_a_context_longer_than_the_models_is_refused() -> None:
    check_context(GENERATOR, None)
    check_context(GENERATOR, 4096)
    check_context(Checkpoint(name="org/g", role="generator"), 1_000_000)
    with pytest.raises(ConfigurationError, match=r"4097 is more than the 4096 .*generator='/g'"):
        check_context(GENERATOR, 4097)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("enforce_eagre", "did you mean 'enforce_eager'"),
        ("zzzzzz", "see vLLM's EngineArgs"),
        ("logits_processors", "is set by FastTTS"),
        ("runner", "is set by FastTTS"),
    ],
)
def test_arguments_that_cannot_work_are_refused(name: str, message: str) -> None:
    known = ["enforce_eager", "logits_processors", "runner"]
    with pytest.raises(ConfigurationError, match=rf"generator_args\['{name}'\].*{message}"):
        check_extra_arguments("generator_args", {name: 1}, known)


@pytest.mark.parametrize("option", ["generator_args", "verifier_args"])
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        *[
            ("logprobs_mode", mode, "reads 'raw_logprobs' alone.*temperature.*: leave it out$")
            for mode in ("processed_logprobs", "raw_logits", "processed_logits", None)
        ],
        *[
            ("max_logprobs", most, "make it 20 or more, -1 for all, or leave it out")
            for most in (3, 19, 0, -2, "30", True, None)
        ],
    ],
)
def test_arguments_that_change_log_probabilities_are_refused(
    option: str, name: str, value: object, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=rf"{option}\['{name}'\]={value!r}: .*{message}"):
        check_extra_arguments(option, {name: value}, [name])


@pytest.mark.parametrize(
    "given",
    [
        {"logprobs_mode": "raw_logprobs"},
        {"max_logprobs": 20},
        {"max_logprobs": 500},
        {"max_logprobs": -1},
    ],
)
def test_arguments_that_leave_log_probabilities_as_they_are_pass(given: dict[str, Any]) -> None:
    check_extra_arguments("generator_args", given, given)


def test_known_arguments_pass() -> None:
    check_extra_arguments("generator_args", {"enforce_eager": True}, ["enforce_eager"])
