"""What `numerics` needs of vLLM: the process, the device, the models and the arguments."""

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fasttts.backends.vllm import load_backends
from fasttts.backends.vllm.arguments import VllmDevice, generator_arguments, verifier_arguments
from fasttts.backends.vllm.checkpoint import Checkpoint
from fasttts.backends.vllm.numerics import (
    VARIABLE,
    ProcessNumerics,
    check_numerics,
    deterministic_arguments,
)
from fasttts.config import EngineConfig, engine_config
from fasttts.errors import ConfigurationError
from fasttts.interfaces import numerics

pytestmark = pytest.mark.vllm

CPU = VllmDevice(is_cpu=True, name="cpu", memory_bytes=0)
GPU = VllmDevice(
    is_cpu=False, name="NVIDIA H100 80GB HBM3", memory_bytes=80 << 30, capability=(9, 0)
)
GENERATOR = Checkpoint(name="/g", role="generator", weight_bytes=1 << 30)
VERIFIER = Checkpoint(name="/v", role="verifier", weight_bytes=1 << 30)


def config(**options: Any) -> EngineConfig:
    return engine_config(generator="/g", verifier="/v", **options)


def deterministic(**options: Any) -> EngineConfig:
    return config(numerics="deterministic", **options)


def check(
    settings: EngineConfig,
    device: VllmDevice,
    generator: Checkpoint = GENERATOR,
    verifier: Checkpoint | None = VERIFIER,
) -> None:
    check_numerics(settings, device, generator, verifier, ProcessNumerics({}))


def quantized(model: Checkpoint, method: str) -> Checkpoint:
    return replace(model, config={"quantization_config": {"quant_method": method}})


def test_the_first_engine_decides_for_its_process() -> None:
    environ: dict[str, str] = {}
    process = ProcessNumerics(environ)
    assert process.check(deterministic()) == "deterministic"
    assert process.check(config()) == "default"
    assert environ == {}, "a check decides nothing"
    assert process.fix(deterministic()) == "deterministic"
    assert environ == {VARIABLE: "1"}
    assert process.fix(deterministic()) == "deterministic"
    with pytest.raises(
        ConfigurationError,
        match=r"numerics='default' \(--numerics, FASTTTS_NUMERICS\).*first engine.*"
        r"'deterministic'.*start another process",
    ):
        process.check(config())


def test_a_process_that_began_without_cannot_begin_with() -> None:
    environ: dict[str, str] = {}
    process = ProcessNumerics(environ)
    assert process.fix(config()) == "default"
    with pytest.raises(ConfigurationError, match=r"numerics='deterministic'.*'default'"):
        check_numerics(deterministic(), GPU, GENERATOR, None, process)
    with pytest.raises(ConfigurationError, match="start another process"):
        process.fix(deterministic())
    assert environ == {}


def test_the_user_s_own_variable_asks_for_deterministic() -> None:
    environ = {VARIABLE: "1"}
    process = ProcessNumerics(environ)
    assert process.fix(config()) == "deterministic"
    assert process.fix(deterministic()) == "deterministic"
    assert process.check(config()) == "deterministic"
    assert environ == {VARIABLE: "1"}


def test_the_variable_alone_is_the_option() -> None:
    process = ProcessNumerics({VARIABLE: "1"})
    found = check_numerics(config(), GPU, GENERATOR, VERIFIER, process)
    assert found == deterministic()
    assert generator_arguments(found, GENERATOR, VERIFIER, GPU)["dtype"] == "float32"
    assert check_numerics(config(), CPU, GENERATOR, VERIFIER, process) == deterministic()
    with pytest.raises(ConfigurationError, match=f"{VARIABLE}=1 .*would run in bfloat16"):
        check_numerics(config(dtype="bfloat16"), CPU, GENERATOR, VERIFIER, process)


def test_engines_of_a_cpu_need_not_be_alike() -> None:
    process = ProcessNumerics({})
    assert process.fix(deterministic()) == "deterministic"
    assert check_numerics(config(), CPU, GENERATOR, VERIFIER, process) == config()


@pytest.mark.parametrize("name", ["TRITON_ATTN", "triton_attn", None])
def test_triton_s_attention_may_be_named(name: str | None) -> None:
    check(deterministic(dtype="bfloat16", generator_args={"attention_backend": name}), GPU)


@pytest.mark.parametrize("device", [CPU, GPU])
@pytest.mark.parametrize(
    ("value", "reason"), [("0", "switches off"), ("yes", "knows 0 and 1"), ("", "knows 0 and 1")]
)
def test_a_variable_against_the_option_is_refused(
    value: str, reason: str, device: VllmDevice
) -> None:
    process = ProcessNumerics({VARIABLE: value})
    with pytest.raises(ConfigurationError, match=f"{VARIABLE}=.*{reason}"):
        check_numerics(deterministic(), device, GENERATOR, VERIFIER, process)


@pytest.mark.parametrize(("value", "options"), [("yes", {}), ("0", {"numerics": "deterministic"})])
def test_the_variable_is_read_before_vllm_reads_it(
    value: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fasttts.backends.vllm import loader

    monkeypatch.setenv(VARIABLE, value)
    monkeypatch.setattr(loader, "prepare_environment", lambda weight_bytes: pytest.fail("later"))
    with pytest.raises(ConfigurationError, match=f"^{VARIABLE}="):
        load_backends(engine_config(**options))


@pytest.mark.parametrize("is_cpu", [True, False])
def test_engines_of_a_cpu_are_opened_without_the_variable(
    is_cpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import vllm
    from vllm import envs

    from fasttts.backends.vllm import engine_lifecycle

    seen: list[str | None] = []

    def note(**arguments: Any) -> Any:
        seen.append(os.environ.get(VARIABLE))
        return SimpleNamespace(llm_engine=SimpleNamespace(engine_core=None))

    monkeypatch.setattr(vllm, "LLM", note)
    monkeypatch.setattr(envs, "__getattr__", envs.__getattr__)  # which has the cache
    monkeypatch.setattr(engine_lifecycle, "_is_cpu", lambda: is_cpu)
    monkeypatch.setenv(VARIABLE, "1")
    for environment in ({}, {"VLLM_USE_V2_MODEL_RUNNER": "0"}):
        engine_lifecycle.open_engine("generator", model="m", environment=environment)
    engine_lifecycle.open_engine("generator", model="m", tensor_parallel_size=2)
    assert seen == [None if is_cpu else "1"] * 3
    assert envs.VLLM_BATCH_INVARIANT is not is_cpu
    assert os.environ[VARIABLE] == "1"


def test_a_variable_that_is_off_is_the_default() -> None:
    assert ProcessNumerics({VARIABLE: "0"}).fix(config()) == "default"


@pytest.mark.parametrize(
    ("capability", "is_enough"), [((9, 0), True), ((8, 0), True), ((7, 5), False), (None, False)]
)
def test_batch_invariant_kernels_need_a_newer_gpu(
    capability: tuple[int, int] | None, is_enough: bool
) -> None:
    device = replace(GPU, capability=capability)
    check(config(), device)
    if is_enough:
        check(deterministic(), device)
        return
    found = "7.5" if capability else "no CUDA device"
    with pytest.raises(ConfigurationError, match=rf"capability 8\.0 or more.*is {found}"):
        check(deterministic(), device)


def test_a_vllm_without_the_kernels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm import envs

    monkeypatch.delitem(envs.environment_variables, VARIABLE)
    with pytest.raises(ConfigurationError, match=r"needs vLLM 0\.24 or newer"):
        check(deterministic(), GPU)


@pytest.mark.parametrize(
    ("generator", "verifier", "options", "named"),
    [
        (quantized(GENERATOR, "gptq"), VERIFIER, {}, "generator='/g'.*quantised"),
        (GENERATOR, quantized(VERIFIER, "fp8"), {}, "verifier='/v'.*quantised"),
        (replace(GENERATOR, is_gguf=True), None, {}, "generator='/g'.*quantised"),
        (GENERATOR, VERIFIER, {"dtype": "float16"}, "generator='/g'.*float16.*dtype='float32'"),
        (
            GENERATOR,
            VERIFIER,
            {"verifier_args": {"dtype": "bfloat16"}},
            "a verifier in float32 alone.*verifier='/v' would run in bfloat16",
        ),
        (GENERATOR, VERIFIER, {"verifier_args": {"dtype": "half"}}, "verifier='/v'.*half"),
        (
            GENERATOR,
            VERIFIER,
            {"verifier_args": {"quantization": "bitsandbytes"}},
            "verifier='/v'.*quantised weights: leave quantization",
        ),
        (
            GENERATOR,
            VERIFIER,
            {"generator_args": {"compilation_config": 3}},
            r"generator_args\['compilation_config'\].*give a dict",
        ),
        *[
            (
                GENERATOR,
                VERIFIER,
                {"generator_args": {"compilation_config": given}},
                "give a list of",
            )
            for given in (
                {"custom_ops": "all"},
                {"custom_ops": [3]},
                {"custom_ops": None},
                {"inductor_compile_config": 5},
            )
        ],
        *[
            (
                GENERATOR,
                VERIFIER,
                {"generator_args": given},
                "generator_args: .* not shown.*leave it",
            )
            for given in (
                {"kv_cache_dtype": "fp8"},
                {"enable_lora": True},
                {"hf_overrides": {"dtype": "float16"}},
            )
        ],
        (
            GENERATOR,
            VERIFIER,
            {"verifier_args": {"load_format": "bitsandbytes"}},
            "quantised weights: leave quantization and load_format out of verifier_args",
        ),
        (
            GENERATOR,
            VERIFIER,
            {"dtype": "float32", "generator_args": {"dtype": "half"}},
            "would run in half: leave dtype out of generator_args",
        ),
        (
            GENERATOR,
            VERIFIER,
            {"generator_args": {"attention_backend": "FLASH_ATTN"}},
            "generator_args: attention_backend='FLASH_ATTN' is not known.*leave it out",
        ),
        (
            GENERATOR,
            VERIFIER,
            {"verifier_args": {"attention_config": {"flash_attn_version": 2}}},
            "verifier_args: attention_config is not known.*leave it out",
        ),
    ],
)
def test_models_that_a_gpu_does_not_run_alike_are_refused(
    generator: Checkpoint, verifier: Checkpoint | None, options: dict[str, Any], named: str
) -> None:
    check(config(**options), GPU, generator, verifier)
    with pytest.raises(ConfigurationError, match=named):
        check(deterministic(**options), GPU, generator, verifier)


@pytest.mark.parametrize(
    ("options", "generator", "message"),
    [
        (
            {"dtype": "bfloat16"},
            GENERATOR,
            r"float32 alone, and generator='/g'.*give dtype='float32'",
        ),
        ({"verifier_args": {"dtype": "half"}}, GENERATOR, "verifier='/v'.*half"),
        ({}, quantized(GENERATOR, "gptq"), "quantised weights: take a model of whole weights"),
    ],
)
def test_a_cpu_is_deterministic_in_float32_alone(
    options: dict[str, Any], generator: Checkpoint, message: str
) -> None:
    check(config(**options), CPU, generator)
    with pytest.raises(ConfigurationError, match=message):
        check(deterministic(**options), CPU, generator)
    check(deterministic(), CPU)
    check(deterministic(dtype="float32"), CPU, verifier=None)


def test_deterministic_engines_on_a_gpu_run_in_float32_unasked() -> None:
    for settings, dtype in ((config(), "auto"), (deterministic(), "float32")):
        check(settings, GPU)
        assert generator_arguments(settings, GENERATOR, VERIFIER, GPU)["dtype"] == dtype
        assert verifier_arguments(settings, GENERATOR, VERIFIER, GPU)["dtype"] == dtype


@pytest.mark.parametrize(
    "options", [{"dtype": "bfloat16"}, {"generator_args": {"dtype": "torch.bfloat16"}}]
)
def test_a_generator_in_bfloat16_has_triton_s_attention_and_its_verifier_float32(
    options: dict[str, Any],
) -> None:
    check(settings := deterministic(**options), GPU)
    opened = deterministic_arguments(generator_arguments(settings, GENERATOR, VERIFIER, GPU))
    assert "bfloat16" in str(opened["dtype"])
    assert opened["attention_backend"] == "TRITON_ATTN"
    scored = deterministic_arguments(verifier_arguments(settings, GENERATOR, VERIFIER, GPU))
    assert scored["dtype"] == "float32"
    assert "attention_backend" not in scored, "vLLM takes Triton's by itself"


def test_the_default_leaves_types_and_attention_to_the_model() -> None:
    settings = config(dtype="bfloat16", generator_args={"attention_backend": "FLASH_ATTN"})
    check(settings, GPU)
    assert verifier_arguments(settings, GENERATOR, VERIFIER, GPU)["dtype"] == "bfloat16"


def test_what_the_compiler_chooses_does_not_depend_on_time() -> None:
    arguments = deterministic_arguments({"model": "/g"})
    assert arguments == {
        "model": "/g",
        "compilation_config": {
            "custom_ops": ["-rms_norm"],
            "inductor_compile_config": {"deterministic": True, "combo_kernels": False},
        },
        "ir_op_priority": {"rms_norm": ["native"], "fused_add_rms_norm": ["native"]},
    }


def test_other_options_of_the_compiler_are_kept() -> None:
    user = {
        "custom_ops": ["+rms_norm", "+silu_and_mul"],
        "inductor_compile_config": {"deterministic": False, "max_autotune": True},
    }
    settings = deterministic(generator_args={"compilation_config": user})
    opened = deterministic_arguments(generator_arguments(settings, GENERATOR, VERIFIER, GPU))
    assert opened["compilation_config"] == {
        "custom_ops": ["+silu_and_mul", "-rms_norm"],
        "inductor_compile_config": {
            "deterministic": True,
            "combo_kernels": False,
            "max_autotune": True,
        },
    }
    assert user["custom_ops"] == ["+rms_norm", "+silu_and_mul"]
    verifier = deterministic_arguments(verifier_arguments(settings, GENERATOR, VERIFIER, GPU))
    assert verifier["compilation_config"].keys() == {
        "cudagraph_capture_sizes",
        "custom_ops",
        "inductor_compile_config",
    }


def test_a_refusal_comes_before_anything_is_loaded() -> None:
    with pytest.raises(ConfigurationError, match="dtype='float32'"):
        load_backends(engine_config(numerics="deterministic", dtype="bfloat16"))
    assert VARIABLE not in os.environ


@pytest.mark.parametrize(
    ("options", "variable"),
    [
        ({"dtype": "float32", "numerics": "deterministic"}, None),
        ({"dtype": "float32"}, "1"),
        ({"dtype": "bfloat16"}, "0"),
    ],
)
def test_engines_on_a_cpu_say_what_their_type_gives(
    tiny_generator: Path,
    tiny_verifier: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    variable: str | None,
) -> None:
    from vllm import envs

    expected = "deterministic" if options["dtype"] == "float32" else "default"
    if variable is not None:
        monkeypatch.setenv(VARIABLE, variable)
    models = {"generator": str(tiny_generator), "verifier": str(tiny_verifier)}
    generator, verifier = load_backends(engine_config(**models, **options, max_num_seqs=8))
    try:
        assert (numerics(generator), numerics(verifier)) == (expected, expected)
        assert os.environ.get(VARIABLE) == variable
        assert not envs.VLLM_BATCH_INVARIANT
    finally:
        assert verifier is not None
        verifier.close()
        generator.close()
