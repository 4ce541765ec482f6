"""Opens the engine of an actor, from values that travel to it."""

import math

from fasttts.config import EngineConfig, import_function, is_function_name
from fasttts.engine import FastTTS
from fasttts.errors import ConfigurationError, wrong_type
from fasttts.memory.gpus import check_gpu_numbers

_OPTION = "open_engine"


def check_opener(name: str | None) -> None:
    """Checks the form of a function's name; the module may be on the cluster's machines alone.

    Raises:
        ConfigurationError: It is not of the form `module:function`.
    """
    if name is not None and not is_function_name(name):
        raise ConfigurationError(
            f"{_OPTION}={name!r}: give module:function, a function that takes an EngineConfig and "
            "returns an engine, or leave it out"
        )


def check_actor_gpus(engine: EngineConfig, num_gpus: float) -> None:
    """Checks that an engine's GPUs are among those of its actor, which sees no others.

    Args:
        engine: Its options.
        num_gpus: GPUs that Ray sets aside for the actor; of a part it sees the whole. With 0
            nothing is checked: what an actor sees is up to Ray then.

    Raises:
        ConfigurationError: An option names a GPU beyond them.
    """
    if num_gpus > 0:
        check_gpu_numbers(engine, math.ceil(num_gpus), count_option="num_gpus")


def open_actor_engine(config: EngineConfig, opener: str | None) -> FastTTS:
    """Opens an engine; its actor closes it.

    Args:
        config: Its options.
        opener: A function `module:function` that opens it; None is `FastTTS.from_config`.

    Raises:
        ConfigurationError: An option cannot work, or the function is none that opens an engine.
        BackendError: vLLM could not start.
    """
    if opener is None:
        return FastTTS.from_config(config)
    opened = import_function(opener, option=_OPTION, purpose="a function that opens an engine")
    engine: object = opened(config)
    if not isinstance(engine, FastTTS):
        raise wrong_type(f"the result of {opener}", engine, "a FastTTS")
    return engine
