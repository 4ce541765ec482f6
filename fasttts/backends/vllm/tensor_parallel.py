"""Checks that a generator can be spread over several GPUs, and sends its ranks the vocabulary.

vLLM computes each rank of a model in a process of its own. The scheduler stays in this process, so
that what FastTTS changes there is there (`block_allocation`, `gentle_starts`); every rank draws the
same tokens from the same logits, so each has the sampling rule. Logits processors are classes that
a rank imports, and `model_runner.install_sampler` calls all ranks where vLLM takes none. Grammars
arrive with requests, and begin there with the vocabulary that is sent once.
"""

import functools
from typing import TYPE_CHECKING, Any

from fasttts.backends.vllm.arguments import VllmDevice
from fasttts.backends.vllm.checkpoint import Checkpoint
from fasttts.backends.vllm.tokenizer import ChatTokenizer
from fasttts.config import EngineConfig, option_name
from fasttts.decoding.grammar import Constraints, serve_received
from fasttts.errors import ConfigurationError
from fasttts.memory import ModelShape, shape_from_config

if TYPE_CHECKING:
    from vllm import LLM

_UNTRIED = (
    "data_parallel_size",
    "distributed_executor_backend",
    "enable_sleep_mode",
    "kv_offloading_size",
    "kv_transfer_config",
    "pipeline_parallel_size",
)
"""Arguments of vLLM that concern its processes or what they move, and were not tried with ranks."""


def check_ranks(config: EngineConfig, generator: Checkpoint, device: VllmDevice) -> None:
    """Checks, before any memory is taken, that the generator can be spread over its GPUs.

    Args:
        config: The engine's options.
        generator: The generator's model.
        device: The device that vLLM runs on.

    Raises:
        ConfigurationError: It cannot; the message says which option to change.
    """
    size = config.tensor_parallel_size
    if size == 1:
        return
    asked = f"{option_name('tensor_parallel_size')}={size}"
    for name in _UNTRIED:
        if config.generator_args.get(name):
            raise ConfigurationError(
                f"generator_args[{name!r}] was not tried with {asked}: leave one of them out"
            )
    if config.numerics == "deterministic" and not device.is_cpu:
        raise ConfigurationError(
            f"equal results with {asked} were not shown on a GPU, which numerics='deterministic' "
            "needs: give numerics='default', or leave it out"
        )
    if (shape := _try_shape(generator)) is not None:
        shape.shard(size)


def _try_shape(generator: Checkpoint) -> ModelShape | None:
    """The model's shape; None where the planner does not know it, and vLLM alone can check it."""
    try:
        return shape_from_config(generator.config, generator.name)
    except ConfigurationError:
        return None


def send_vocabulary(llm: "LLM", tokenizer: ChatTokenizer, vocab_size: int) -> None:
    """Tells every rank of an engine for which vocabulary its grammars are.

    Args:
        llm: The engine, whose scheduler is in this process.
        tokenizer: The model's.
        vocab_size: Width of its logits.
    """
    client: Any = llm.llm_engine.engine_core
    executor = client.engine_core.model_executor
    executor.collective_rpc(_receive_vocabulary, args=(tokenizer, vocab_size))


def _receive_vocabulary(worker: Any, tokenizer: ChatTokenizer, vocab_size: int) -> None:
    """Runs in a rank."""
    del worker
    serve_received(Constraints(functools.partial(tokenizer.vocabulary, vocab_size), vocab_size))
