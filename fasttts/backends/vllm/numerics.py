"""What equal results need of vLLM, by `EngineConfig.numerics`.

On a GPU the sums in a kernel depend on the shape of the batch, unless vLLM runs its batch-invariant
kernels. They replace operators of torch when an engine starts, for the whole process and to its
end, so the first engine of a process decides for all. On a CPU results are equal without anything
being set, which `tests/vllm` shows; the kernels are none of a CPU's, and its engines are opened
without vLLM's variable for them.

Both hold in float32. In bfloat16 a token that was decoded has other last bits on a GPU than the
same token in a prompt, so that a restarted sequence may go on in another way, unless the attention
is Triton's, which vLLM takes for float32 by itself and has to be told to take here. That was shown
for generators, not for process reward models, which stay in float32.
"""

import os
import threading
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from fasttts.backends.vllm.arguments import VllmDevice, model_dtype
from fasttts.backends.vllm.checkpoint import Checkpoint
from fasttts.config import EngineConfig, option_hint
from fasttts.errors import ConfigurationError
from fasttts.types import Numerics

if TYPE_CHECKING:
    from vllm import LLM

VARIABLE = "VLLM_BATCH_INVARIANT"
"""vLLM's variable; a user's own "1" counts as asking for "deterministic"."""

_LEAST_CAPABILITY = (8, 0)
"""Least compute capability of vLLM's batch-invariant kernels."""

_FLOAT32 = frozenset({"float", "float32", "torch.float32"})
_BFLOAT16 = frozenset({"bfloat16", "torch.bfloat16"})

_OTHERS: Mapping[str, tuple[Any, ...]] = {
    "kv_cache_dtype": (None, "auto"),
    "enable_lora": (None, False),
    "enable_dbo": (None, False),
    "hf_overrides": (None, {}),
}
"""Further arguments of vLLM that change how numbers are computed or kept, and the values of each
that change nothing."""

_QUANTIZING_LOAD = "bitsandbytes"

_BACKEND = "attention_backend"
_TRITON = "TRITON_ATTN"
_OTHER_BACKENDS = "attention_config"

_COMPILATION = "compilation_config"
_INDUCTOR: Mapping[str, Any] = {
    # Else a kernel's reduction is chosen by timing, and another process may choose another one.
    "deterministic": True,
    "combo_kernels": False,
}
_NORM = "rms_norm"
"""Left to torch's compiler: before 0.27 vLLM's own kernel that adds the residual sums in blocks of
another size from 256 tokens on, in batch-invariant mode too (vLLM's pull request 48391)."""

_NATIVE = {"rms_norm": ["native"], "fused_add_rms_norm": ["native"]}
"""The same for engines that are not compiled."""


class ProcessNumerics:
    """What the engines of one process run on a GPU with: the first decides for all.

    Args:
        environ: The process's environment variables.
    """

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        self._environ = environ
        self._lock = threading.Lock()
        self._fixed: Numerics | None = None
        self._is_set_here = False

    def asked(self, config: EngineConfig) -> Numerics:
        """Returns the numerics that a configuration asks for, on any device.

        They are the option, or "deterministic" where the user's environment has `VARIABLE`.

        Raises:
            ConfigurationError: The environment says the opposite of the option, or nothing known.
        """
        return "deterministic" if self._is_in_environment(config) else config.numerics

    def check(self, config: EngineConfig) -> Numerics:
        """Returns the numerics that engines of a configuration are opened with on a GPU.

        Raises:
            ConfigurationError: As for `asked`, or the first engine of this process was opened with
                something else.
        """
        asked = self.asked(config)
        if self._fixed not in (None, asked):
            raise ConfigurationError(
                f"numerics={asked!r} {option_hint('numerics')}: the first engine of this process "
                f"was opened with {self._fixed!r}, which vLLM cannot change: start another "
                f"process, or give all engines of this one numerics={self._fixed!r}"
            )
        return asked

    def fix(self, config: EngineConfig) -> Numerics:
        """Decides for this process, before vLLM opens an engine; raises and returns as `check`."""
        with self._lock:
            asked = self.check(config)
            self._fixed = asked
            if asked == "deterministic" and VARIABLE not in self._environ:
                self._environ[VARIABLE] = "1"
                self._is_set_here = True
            return asked

    def _is_in_environment(self, config: EngineConfig) -> bool:
        """Whether the user has switched batch-invariant kernels on."""
        value = None if self._is_set_here else self._environ.get(VARIABLE)
        if value not in (None, "0", "1"):
            raise ConfigurationError(
                f"{VARIABLE}={value!r}: vLLM knows 0 and 1: make it one of them, or unset it"
            )
        if value == "0" and config.numerics == "deterministic":
            raise ConfigurationError(
                f"{VARIABLE}=0 switches off what numerics='deterministic' needs: unset it"
            )
        return value == "1"


PROCESS = ProcessNumerics()
"""This process's."""


def check_numerics(
    config: EngineConfig,
    device: VllmDevice,
    generator: Checkpoint,
    verifier: Checkpoint | None,
    process: ProcessNumerics = PROCESS,
) -> EngineConfig:
    """Checks, before any memory is taken, that the models can run with the numerics asked for.

    Args:
        config: The engine's options.
        device: The device that the models run on.
        generator: The generator's model.
        verifier: The verifier's; None without one.
        process: The process that opens them.

    Returns:
        The configuration, with the numerics that the user's environment asks for.

    Raises:
        ConfigurationError: They cannot; the message says which option to change.
    """
    models = [(generator, config.generator_args)]
    if verifier is not None:
        models.append((verifier, config.verifier_args))
    asked = process.asked(config) if device.is_cpu else process.check(config)
    config = config.model_copy(update={"numerics": asked})
    if config.numerics == "deterministic":
        if not device.is_cpu:
            _check_gpu(device)
        for model, extra in models:
            _check_dtype(config, device, model, extra)
            _check_others(model, extra)
            if not device.is_cpu:
                _check_compilation(model, extra)
                _check_attention(model, extra)
    return config


def engine_numerics(llm: "LLM", device: VllmDevice, asked: Numerics) -> Numerics:
    """Returns what numerics an open engine gives.

    Args:
        llm: The engine.
        device: The device that it runs on.
        asked: What it was opened with, on a GPU.
    """
    if not device.is_cpu:
        return asked
    is_exact = str(llm.llm_engine.model_config.dtype) in _FLOAT32
    return "deterministic" if is_exact else "default"


def deterministic_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Adds to the arguments of an engine on a GPU what equal results need beside `VARIABLE`.

    vLLM itself switches off cascade attention and what splits a sum by the batch. What is left to
    torch's compiler is the choice of kernels, which is made independent of timings. In bfloat16 the
    attention is Triton's.

    Args:
        arguments: Arguments of vLLM's `LLM`.
    """
    compilation = dict(arguments.get(_COMPILATION) or {})
    operators = [name for name in compilation.get("custom_ops", ()) if name[1:] != _NORM]
    inductor = {**compilation.get("inductor_compile_config", {}), **_INDUCTOR}
    compilation |= {"custom_ops": [*operators, f"-{_NORM}"], "inductor_compile_config": inductor}
    attention = {_BACKEND: _TRITON} if str(arguments.get("dtype")) in _BFLOAT16 else {}
    return {**arguments, **attention, _COMPILATION: compilation, "ir_op_priority": _NATIVE}


def _check_gpu(device: VllmDevice) -> None:
    from vllm import envs

    if VARIABLE not in envs.environment_variables:
        raise ConfigurationError(f"{_asked()} needs vLLM 0.24 or newer: this one has no {VARIABLE}")
    capability = device.capability
    if capability is None or capability < _LEAST_CAPABILITY:
        found = "no CUDA device" if capability is None else "{}.{}".format(*capability)
        raise ConfigurationError(
            f"{_asked()} needs a GPU of compute capability {{}}.{{}} or more, and {device.name} is "
            f"{found}: use numerics='default'".format(*_LEAST_CAPABILITY)
        )


def _check_compilation(model: Checkpoint, extra: Mapping[str, Any]) -> None:
    given = extra.get(_COMPILATION)
    if not isinstance(given, Mapping | None):
        raise ConfigurationError(
            f"{model.role}_args[{_COMPILATION!r}] is completed for {_asked()}: give a dict"
        )
    parts = given or {}
    operators, inductor = parts.get("custom_ops", []), parts.get("inductor_compile_config", {})
    is_list = isinstance(operators, list) and all(isinstance(name, str) for name in operators)
    if not is_list or not isinstance(inductor, Mapping):
        raise ConfigurationError(
            f"{model.role}_args[{_COMPILATION!r}] is completed for {_asked()}: give a list of "
            "names as custom_ops, and a dict as inductor_compile_config, or leave them out"
        )


def _check_others(model: Checkpoint, extra: Mapping[str, Any]) -> None:
    for name, harmless in _OTHERS.items():
        if extra.get(name) not in harmless:
            raise ConfigurationError(
                f"{model.role}_args: {name} may change numbers, and equal results with it were "
                f"not shown, which {_asked()} needs: leave it out, or give numerics='default'"
            )


def _check_attention(model: Checkpoint, extra: Mapping[str, Any]) -> None:
    chosen = str(extra.get(_BACKEND) or _TRITON).upper()
    if _OTHER_BACKENDS in extra or chosen != _TRITON:
        name = _OTHER_BACKENDS if _OTHER_BACKENDS in extra else f"{_BACKEND}={chosen!r}"
        raise ConfigurationError(
            f"{model.role}_args: {name} is not known to compute alike whatever the batch, which "
            f"{_asked()} needs: leave it out for {_TRITON}, or give numerics='default'"
        )


def _check_dtype(
    config: EngineConfig, device: VllmDevice, model: Checkpoint, extra: Mapping[str, Any]
) -> None:
    dtype = str(extra.get("dtype") or model_dtype(config, model, device))
    takes_bfloat16 = model.role == "generator" and not device.is_cpu
    is_quantizing = bool(extra.get("quantization")) or extra.get("load_format") == _QUANTIZING_LOAD
    is_quantized = model.is_quantized or model.is_gguf or is_quantizing
    known = _FLOAT32 | _BFLOAT16 if takes_bfloat16 else _FLOAT32
    if dtype in known and not is_quantized:
        return
    types = "float32 or bfloat16" if takes_bfloat16 else "float32"
    remedy = f"give dtype='float32' {option_hint('dtype')}"
    if extra.get("dtype"):
        remedy = f"leave dtype out of {model.role}_args"
    if is_quantized:
        dtype, remedy = "quantised weights", "take a model of whole weights"
    if is_quantizing:
        remedy = f"leave quantization and load_format out of {model.role}_args"
    raise ConfigurationError(
        f"{_asked()} holds for a {model.role} in {types} alone, and {model.role}={model.name!r} "
        f"would run in {dtype}: {remedy}, or numerics='default'"
    )


def _asked() -> str:
    return f"numerics='deterministic' {option_hint('numerics')} or {VARIABLE}=1"
