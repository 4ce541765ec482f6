"""Arguments of vLLM's `LLM` for each role."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from fasttts.backends.vllm.checkpoint import Checkpoint
from fasttts.config import EngineConfig, option_hint, option_name
from fasttts.config.validation import did_you_mean
from fasttts.errors import ConfigurationError, shown
from fasttts.interfaces import MAX_LOGPROBS
from fasttts.memory.requirements import VERIFIER_CONTEXT_FACTOR

_CPU_KV_CACHE_BYTES = 1 << 28
_CPU_BLOCK_SIZE = 32
"""vLLM's CPU attention requires a multiple of 32."""

_MAX_NUM_SEQS = 128
"""Sequences decoded together where neither the user nor a plan gives a number."""

_AS_LONG_AS_FITS = -1
"""vLLM's word for the model's context, or as much of it as the KV cache holds."""

_VERIFIER_GRAPH_SIZES = (16, 32, 64, 128, 192, 256, 384, 512, 768, *range(1024, 2049, 256))
"""Tokens of the batches that CUDA graphs cover. vLLM's own sizes suit decoding, and end at 512 or
twice `max_num_seqs`; a verifier's batch has hundreds of tokens, and one of 1100 takes 5 ms more
without (1.5B parameters, H200)."""

_MAX_GRAPH_TOKENS = 512
"""Tokens of the largest batch that vLLM captures a CUDA graph for by itself."""

_GENERATOR_SHARE = 0.8
"""Share of the memory beside both models' weights; the verifier needs far less."""

_RESERVED = frozenset(
    {
        "model",
        "runner",
        "convert",
        "logits_processors",
        "scheduling_policy",
        "pooler_config",
        "skip_tokenizer_init",
        "speculative_config",
    }
)
"""Arguments that the promise of equal results depends on."""

RAW_LOGPROBS = "raw_logprobs"
"""vLLM's word for log-probabilities of the model's own logits."""

_NO_LIMIT = -1
"""vLLM's word for log-probabilities of as many tokens as there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmDevice:
    """The device that vLLM runs on.

    Attributes:
        is_cpu: Whether it is a CPU.
        name: The driver's name of the GPU, or "cpu".
        memory_bytes: All of the GPU's memory; 0 on a CPU.
        capability: The GPU's compute capability; None where it is no CUDA device.
    """

    is_cpu: bool
    name: str
    memory_bytes: int
    capability: tuple[int, int] | None = None


def check_extra_arguments(option: str, given: Mapping[str, Any], known: Iterable[str]) -> None:
    """Checks `generator_args` or `verifier_args` against the arguments of vLLM.

    Args:
        option: Name of the option, for messages.
        given: Its value.
        known: Names of vLLM's arguments.

    Raises:
        ConfigurationError: An argument is unknown, it is one that FastTTS itself sets, or its value
            changes what log-probabilities are or how many there may be.
    """
    names = sorted(known)
    for name in given:
        if option == "generator_args" and name == "tensor_parallel_size":
            raise ConfigurationError(
                f"{option}[{name!r}]: give the engine's option {option_name(name)} instead"
            )
        if name in _RESERVED:
            raise ConfigurationError(f"{option}[{name!r}] is set by FastTTS: leave it out")
        if name not in names:
            hint = did_you_mean(name, names, otherwise="see vLLM's EngineArgs")
            raise ConfigurationError(f"{option}[{name!r}] is no argument of vLLM's LLM: {hint}")
    _check_logprobs(option, given)


def _check_logprobs(option: str, given: Mapping[str, Any]) -> None:
    """Refuses what signals, judges and requests for log-probabilities cannot work with."""
    mode = given.get("logprobs_mode", RAW_LOGPROBS)
    if mode != RAW_LOGPROBS:
        raise ConfigurationError(
            f"{option}['logprobs_mode']={shown(mode)}: FastTTS reads {RAW_LOGPROBS!r} alone, which "
            "are taken before temperature, filters and grammars: leave it out"
        )
    most: object = given.get("max_logprobs", MAX_LOGPROBS)
    if type(most) is not int or (most != _NO_LIMIT and most < MAX_LOGPROBS):
        raise ConfigurationError(
            f"{option}['max_logprobs']={shown(most)}: up to {MAX_LOGPROBS} tokens may be asked "
            f"for: make it {MAX_LOGPROBS} or more, {_NO_LIMIT} for all, or leave it out"
        )


def check_reports_distributions(config: EngineConfig) -> None:
    """Checks that a generator can report numbers of whole distributions; see `distributions`.

    Args:
        config: Its sampler has to be in this process.

    Raises:
        ConfigurationError: It does not.
    """
    pipeline = "pipeline_parallel_size"
    found = (
        (f"generator_args[{pipeline!r}]", config.generator_args.get(pipeline, 1)),
        (option_name("tensor_parallel_size"), config.tensor_parallel_size),
    )
    for name, value in found:
        if value != 1:
            raise ConfigurationError(
                f"{name}={value!r}: a verifier reads self-certainty or entropy, which such a "
                "generator cannot report: make it 1, or choose another signal, such as "
                "'perplexity' or 'mean_confidence'"
            )


def offloads(given: Mapping[str, Any]) -> bool:
    """Whether vLLM's arguments have an engine keep KV blocks elsewhere as well.

    That is so for its whole process: an engine that is opened beside it would be held to have the
    same blocks.

    Args:
        given: Arguments of vLLM's `LLM`, all of them or the user's.
    """
    return any(given.get(name) for name in ("kv_offloading_size", "kv_transfer_config"))


def check_context(checkpoint: Checkpoint, max_model_len: int | None) -> None:
    """Checks that the model supports a context length.

    Args:
        checkpoint: The model.
        max_model_len: Context in tokens; None takes the model's.

    Raises:
        ConfigurationError: The model's context is shorter.
    """
    longest = checkpoint.max_model_len
    if max_model_len is not None and longest is not None and max_model_len > longest:
        raise ConfigurationError(
            f"max_model_len={max_model_len} is more than the {longest} tokens that "
            f"{checkpoint.role}={checkpoint.name!r} was made for: lower it "
            f"{option_hint('max_model_len')}"
        )


def generator_arguments(
    config: EngineConfig,
    generator: Checkpoint,
    verifier: Checkpoint | None,
    device: VllmDevice,
    planned: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Arguments of the generator's engine, `logits_processors` excepted.

    A plan's arguments take precedence over the defaults, and the user's `generator_args` over both.
    vLLM schedules asynchronously where it can, which is on GPUs: an iteration starts before the
    loop has the tokens of the last one, so the loop learns of a step's end one token late, and work
    on the host overlaps with the device.

    Args:
        config: The engine's options.
        generator: The generator's model.
        verifier: The verifier's; None without one, or where it is on another device.
        device: The device that they run on.
        planned: Arguments of the memory plan; empty without one.
    """
    arguments = {
        **_shared_arguments(config, generator, device),
        **_memory_arguments(config, _part(generator, config), verifier, device),
        **_rank_arguments(config),
        "max_model_len": config.max_model_len or _AS_LONG_AS_FITS,
        "max_num_seqs": config.max_num_seqs or _MAX_NUM_SEQS,
        "scheduling_policy": "priority",
        **planned,
        **config.generator_args,
    }
    return {**_generator_graphs(arguments["max_num_seqs"], device), **arguments}


def verifier_arguments(
    config: EngineConfig,
    generator: Checkpoint | None,
    verifier: Checkpoint,
    device: VllmDevice,
    planned: Mapping[str, Any] = MappingProxyType({}),
    *,
    num_thought_tokens: int = 0,
) -> dict[str, Any]:
    """Arguments of the verifier's engine, `pooler_config` excepted.

    Args:
        config: The engine's options.
        generator: The generator's model; None where it is on another device.
        verifier: The verifier's.
        device: The device that they run on.
        planned: Arguments of the memory plan; empty without one.
        num_thought_tokens: The most tokens that the verifier writes before a score.
    """
    beside = None if generator is None else _part(generator, config)
    wanted = config.max_model_len
    if wanted is not None:
        wanted = VERIFIER_CONTEXT_FACTOR * wanted + num_thought_tokens
    return {
        **_shared_arguments(config, verifier, device),
        **_memory_arguments(config, verifier, beside, device),
        "max_model_len": _verifier_context(wanted, verifier.max_model_len),
        "runner": "pooling",
        **_verifier_graphs(device),
        **planned,
        **config.verifier_args,
    }


def _generator_graphs(max_num_seqs: int, device: VllmDevice) -> dict[str, Any]:
    """CUDA graphs for twice the sequences, where that is more than vLLM has graphs for.

    A batch in which some sequences begin has more tokens than sequences.
    """
    largest = 2 * max_num_seqs
    if device.is_cpu or largest <= _MAX_GRAPH_TOKENS:
        return {}
    sizes = [1, 2, 4, *range(8, 256, 8), *range(256, 512, 16), *range(512, largest + 63, 64)]
    return {"compilation_config": {"cudagraph_capture_sizes": sizes}}


def _verifier_graphs(device: VllmDevice) -> dict[str, Any]:
    if device.is_cpu:
        return {}
    return {"compilation_config": {"cudagraph_capture_sizes": list(_VERIFIER_GRAPH_SIZES)}}


def _shared_arguments(
    config: EngineConfig, model: Checkpoint, device: VllmDevice
) -> dict[str, Any]:
    arguments = {
        "model": model.name,
        "trust_remote_code": config.trust_remote_code,
        "dtype": model_dtype(config, model, device),
        "enable_prefix_caching": True,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }
    if device.is_cpu:
        arguments |= {"enforce_eager": True, "block_size": _CPU_BLOCK_SIZE}
    return arguments


def model_dtype(config: EngineConfig, model: Checkpoint, device: VllmDevice) -> str:
    """Chooses the type of weights; vLLM's kernels for quantised ones know no float32.

    Args:
        config: The engine's options.
        model: The model.
        device: The device that it runs on.
    """
    if model.is_quantized:
        return config.dtype
    return config.dtype_of(model.role, is_cpu=device.is_cpu)


def _memory_arguments(
    config: EngineConfig, model: Checkpoint, other: Checkpoint | None, device: VllmDevice
) -> dict[str, Any]:
    """Arguments of the KV cache of `model`'s engine, beside that of the `other` model."""
    if device.is_cpu:
        return {"kv_cache_memory_bytes": config.kv_cache_memory_bytes or _CPU_KV_CACHE_BYTES}
    if config.kv_cache_memory_bytes is not None:
        # vLLM sizes nothing by the share then, but refuses to start unless so much is free.
        needed = (model.weight_bytes or 0) + config.kv_cache_memory_bytes
        share = min(needed / device.memory_bytes, 1.0)
        size = config.kv_cache_memory_bytes
        return {"kv_cache_memory_bytes": size, "gpu_memory_utilization": share}
    share = _memory_share(model, other, config.gpu_memory_utilization, device.memory_bytes)
    return {"gpu_memory_utilization": share}


def _part(generator: Checkpoint, config: EngineConfig) -> Checkpoint:
    """The generator with the weights that one of its GPUs has."""
    if generator.weight_bytes is None:
        return generator
    return replace(generator, weight_bytes=generator.weight_bytes // config.tensor_parallel_size)


def _rank_arguments(config: EngineConfig) -> dict[str, Any]:
    """Arguments that spread a generator over its GPUs; none where there is one."""
    if config.tensor_parallel_size == 1:
        return {}
    return {
        "tensor_parallel_size": config.tensor_parallel_size,
        "distributed_executor_backend": "mp",
    }


def _memory_share(
    model: Checkpoint, other: Checkpoint | None, utilization: float, memory_bytes: int
) -> float:
    """The share of a GPU one engine may use: its weights and its share of the remaining memory.

    Weights of unknown size count as none, which leaves the plain ratio of the shares.
    """
    if other is None:
        return utilization
    own, others = (checkpoint.weight_bytes or 0 for checkpoint in (model, other))
    left = utilization * memory_bytes - own - others
    share = _GENERATOR_SHARE if model.role == "generator" else 1 - _GENERATOR_SHARE
    return max(own + share * max(left, 0), 1) / memory_bytes


def _verifier_context(wanted: int | None, longest: int | None) -> int:
    if wanted is None:
        return _AS_LONG_AS_FITS
    return wanted if longest is None else min(wanted, longest)
