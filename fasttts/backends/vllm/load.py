"""From a configuration to running engines.

Everything that can be checked without memory is checked first; then the generator opens, then the
verifier.
"""

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fasttts.backends.vllm.arguments import (
    Device,
    check_context,
    check_extra_arguments,
    generator_arguments,
    verifier_arguments,
)
from fasttts.backends.vllm.checkpoint import (
    Checkpoint,
    check_checkpoint,
    check_verifier_architecture,
)
from fasttts.backends.vllm.environment import check_vllm_installed, prepare_environment, quiet
from fasttts.config import DEMO, EngineConfig
from fasttts.errors import Role

if TYPE_CHECKING:
    from fasttts.backends.vllm.generator import VLLMGenerator
    from fasttts.backends.vllm.verifier import VLLMVerifier

logger = logging.getLogger(__name__)


def load_backends(
    config: EngineConfig, *, logits_processors: Sequence[type] = ()
) -> "tuple[VLLMGenerator, VLLMVerifier | None]":
    """Checks and opens the models of a configuration.

    Args:
        config: What to load.
        logits_processors: vLLM logits processors that act before the generator's sampler.

    Raises:
        ConfigurationError: A model, an option or the installation cannot work.
        CapacityError: The models do not fit.
        BackendError: vLLM failed otherwise.
    """
    generator_checkpoint = _checked(config, config.generator, "generator")
    verifier_checkpoint = None
    if config.verifier is not None:
        verifier_checkpoint = _checked(config, config.verifier, "verifier")
    check_context(generator_checkpoint, config.max_model_len)
    check_vllm_installed()
    prepare_environment(_weight_bytes(generator_checkpoint, verifier_checkpoint))
    with quiet():
        device = _prepare_vllm(config)
        generator_checkpoint = _described(config, generator_checkpoint)
        check_context(generator_checkpoint, config.max_model_len)
        if verifier_checkpoint is not None:
            verifier_checkpoint = _described(config, verifier_checkpoint)
            check_verifier_architecture(verifier_checkpoint.name, verifier_checkpoint.architectures)
    processors = list(logits_processors)
    generator = _open_generator(
        config, generator_checkpoint, verifier_checkpoint, device, processors
    )
    if verifier_checkpoint is None:
        return generator, None
    try:
        return generator, _open_verifier(config, generator_checkpoint, verifier_checkpoint, device)
    except BaseException:
        generator.close()
        raise


def _checked(config: EngineConfig, name: str, role: Role) -> Checkpoint:
    """The checks of one model that need no library."""
    return check_checkpoint(_directory(name, role), role, config.trust_remote_code)


def _directory(name: str, role: Role) -> str:
    """The name, or the bundled directory that "demo" stands for."""
    if name != DEMO:
        return name
    from fasttts import demo

    return str(demo.generator_path() if role == "generator" else demo.verifier_path())


def _weight_bytes(generator: Checkpoint, verifier: Checkpoint | None) -> int | None:
    """Size of all weights; None when one is on a hub."""
    own, other = generator.weight_bytes, verifier.weight_bytes if verifier is not None else 0
    return own + other if own is not None and other is not None else None


def _prepare_vllm(config: EngineConfig) -> Device:
    """Imports vLLM and checks against it what only it knows."""
    from vllm.engine.arg_utils import EngineArgs
    from vllm.platforms import current_platform

    from fasttts.backends.vllm.tools import check_tool_call_parser

    known = EngineArgs.__dataclass_fields__
    check_extra_arguments("generator_args", config.generator_args, known)
    check_extra_arguments("verifier_args", config.verifier_args, known)
    check_tool_call_parser(config.tool_call_parser)
    is_cpu = current_platform.is_cpu()
    memory_bytes = 0 if is_cpu else int(current_platform.get_device_total_memory())
    return Device(is_cpu=is_cpu, memory_bytes=memory_bytes)


def _described(config: EngineConfig, checkpoint: Checkpoint) -> Checkpoint:
    """A hub name with the configuration the hub has for it; local models are complete already."""
    if checkpoint.is_local:
        return checkpoint
    from vllm.transformers_utils.config import get_config

    from fasttts.backends.vllm.translation import opening

    with opening(checkpoint.role, checkpoint.name):
        found = get_config(checkpoint.name, trust_remote_code=config.trust_remote_code)
    return Checkpoint(name=checkpoint.name, role=checkpoint.role, config=found.to_dict())


def _open_generator(
    config: EngineConfig,
    generator: Checkpoint,
    verifier: Checkpoint | None,
    device: Device,
    processors: list[type],
) -> "VLLMGenerator":
    from fasttts.backends.vllm.generator import VLLMGenerator
    from fasttts.backends.vllm.lifetime import close_engine, open_engine
    from fasttts.backends.vllm.sampler import CounterSampler

    started = time.perf_counter()
    arguments = generator_arguments(config, generator, verifier, device)
    llm = open_engine("generator", logits_processors=[*processors, CounterSampler], **arguments)
    logger.info("generator %s open in %.1f s", generator.name, time.perf_counter() - started)
    try:
        return VLLMGenerator(llm, name=config.generator, tool_call_parser=config.tool_call_parser)
    except BaseException:
        close_engine(llm)
        raise


def _open_verifier(
    config: EngineConfig, generator: Checkpoint, verifier: Checkpoint, device: Device
) -> "VLLMVerifier":
    from vllm.config import PoolerConfig

    from fasttts.backends.vllm.lifetime import close_engine, open_engine
    from fasttts.backends.vllm.tokenizer import ChatTokenizer
    from fasttts.backends.vllm.verifier import VLLMVerifier
    from fasttts.verifiers.formats import FORMATS

    started = time.perf_counter()
    arguments = verifier_arguments(config, generator, verifier, device)
    # Every position's value: vLLM 0.32 picks step tags by their index in the whole prompt, which
    # is wrong where the prefix cache has left positions out.
    pooler = PoolerConfig(tok_pooling_type="ALL")
    llm = open_engine("verifier", pooler_config=pooler, **arguments)
    logger.info("verifier %s open in %.1f s", verifier.name, time.perf_counter() - started)
    name = str(config.verifier)
    format_name = check_verifier_architecture(name, verifier.architectures)
    try:
        prompt_format = FORMATS[format_name](ChatTokenizer(llm.get_tokenizer(), name), name)
        return VLLMVerifier(llm, name=name, prompt_format=prompt_format)
    except BaseException:
        close_engine(llm)
        raise
