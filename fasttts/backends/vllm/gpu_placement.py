"""Which GPU each model runs on, where they are not to share the first.

A process's engines run on the first GPUs that it sees, so the generator's are made the first of
this process, and the verifier's the only one of its own. CUDA reads the variable once.
"""

import os
from collections.abc import Callable, MutableMapping

from fasttts.config import EngineConfig, option_name
from fasttts.errors import ConfigurationError

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""CUDA's variable of the GPUs that a process sees, in their order."""


class GpuPlacement:
    """The GPUs of this process, whose order is chosen once.

    Args:
        environ: The environment.
        count: Counts the GPUs, without claiming one.
        is_claimed: Whether this process has begun to use its first GPU.
    """

    def __init__(
        self,
        environ: MutableMapping[str, str],
        count: Callable[[], int],
        is_claimed: Callable[[], bool],
    ) -> None:
        self._environ = environ
        self._count = count
        self._is_claimed = is_claimed
        self._names: tuple[str, ...] | None = None
        self._first = 0

    def place(self, config: EngineConfig) -> dict[str, str]:
        """Makes the generator's GPUs the first of this process.

        Args:
            config: The options of the engine.

        Returns:
            The variables of the verifier's process; empty where it has the generator's GPU.

        Raises:
            ConfigurationError: There is no such GPU, there are too few, or this process works on
                another already.
        """
        is_chosen = config.generator_device is not None or config.verifier_device is not None
        if not is_chosen and config.tensor_parallel_size == 1:
            return {}
        if self._names is None:
            self._names = self._visible()
        if not is_chosen and not self._names:
            return {}  # ranks on a CPU
        for option in ("generator_device", "verifier_device"):
            self._check(option, getattr(config, option))
        self._check_ranks(config)
        generators = config.generator_devices
        if generators.start != self._first:
            self._make_first(generators)
        if config.verifier_device is None:
            return {}
        return {VISIBLE: self._names[config.verifier_device]}

    def _visible(self) -> tuple[str, ...]:
        listed = self._environ.get(VISIBLE)
        if listed is None:
            return tuple(map(str, range(self._count())))
        return tuple(name.strip() for name in listed.split(",") if name.strip())

    def _check(self, option: str, index: int | None) -> None:
        names = self._names or ()
        if index is not None and index >= len(names):
            raise ConfigurationError(
                f"{option_name(option)}={index}: this process sees {len(names)} GPUs, counted from "
                f"0; choose one of them, or see {VISIBLE}"
            )

    def _check_ranks(self, config: EngineConfig) -> None:
        num_gpus = len(self._names or ())
        if config.generator_devices.stop > num_gpus:
            raise ConfigurationError(
                f"{option_name('tensor_parallel_size')}={config.tensor_parallel_size} from GPU "
                f"{config.generator_devices.start} on: this process sees {num_gpus} GPUs, counted "
                f"from 0; lower it, or see {VISIBLE}"
            )

    def _make_first(self, generators: range) -> None:
        first = generators.start
        if self._is_claimed():
            raise ConfigurationError(
                f"{option_name('generator_device')}={first}: this process works on GPU "
                f"{self._first} already: open the engine before anything else uses CUDA, or in a "
                "process of its own"
            )
        names = self._names or ()
        others = [name for index, name in enumerate(names) if index not in generators]
        self._environ[VISIBLE] = ",".join([*(names[index] for index in generators), *others])
        self._first = first


def _count() -> int:
    import torch

    return torch.cuda.device_count()


def _is_claimed() -> bool:
    import torch

    return bool(torch.cuda.is_initialized())


PROCESS_GPUS = GpuPlacement(os.environ, _count, _is_claimed)
"""The GPUs of this process."""
