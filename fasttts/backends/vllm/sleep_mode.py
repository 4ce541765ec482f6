"""Two engines on one GPU of which one sleeps in host memory while the other runs.

vLLM's sleep mode frees an engine's weights and KV cache on the device and keeps the weights in host
memory. It serves one engine in a process, so that the verifier's engine has a process of its own;
the generator's stays in this one, where the sampling rule is.
"""

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from fasttts.backends.vllm.error_translation import translate
from fasttts.backends.vllm.generator import VLLMGenerator
from fasttts.backends.vllm.verifier import VLLMVerifier
from fasttts.errors import FastTTSError, Role
from fasttts.interfaces import GenerationOutput, Verification, VerificationRequest

logger = logging.getLogger(__name__)

_WEIGHTS_TO_HOST = 1
"""vLLM's level of sleep that keeps the weights."""

_ALL_TAGS = frozenset({"weights", "kv_cache"})
"""vLLM's names of what an engine frees."""

_MEMORY_GREW = "increased after sleeping"
"""From the message of a check of vLLM's worker that comes when it is asleep already. It compares
the free memory of the whole device, so that it fails where another program took some meanwhile."""


class Sleeper(Protocol):
    """An engine that can leave the device and come back."""

    def sleep(self) -> None:
        """Frees the device; the KV cache is lost, and sequences in flight are computed again."""
        ...

    def wake_up(self) -> None:
        """Loads the weights onto the device again."""
        ...


class DeviceOwner:
    """Tracks which engine has the device; none at first."""

    def __init__(self) -> None:
        self._owner: Sleeper | None = None

    def take(self, engine: Sleeper) -> None:
        """Wakes an engine, after the other one has gone to sleep, unless it is awake already."""
        if engine is self._owner:
            return
        started_s = time.perf_counter()
        self.leave()
        engine.wake_up()
        self._owner = engine
        logger.debug("turns were changed in %.2f s", time.perf_counter() - started_s)

    def start(self, engine: Sleeper) -> None:
        """Registers an engine that has just opened, and so has the device."""
        assert self._owner is None, "another engine is awake"
        self._owner = engine

    def leave(self) -> None:
        """Sends the engine that has the device to sleep."""
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.sleep()

    def forget(self, engine: Sleeper) -> None:
        """Removes a closed engine."""
        if engine is self._owner:
            self._owner = None


class SleepingGenerator(VLLMGenerator):
    """A generator that sleeps while the verifier runs; awake when it opens.

    Args:
        llm: As for `VLLMGenerator`, with sleep mode.
        device_owner: Shared with the verifier.
        others: As for `VLLMGenerator`.
    """

    def __init__(self, llm: Any, *, device_owner: DeviceOwner, **others: Any) -> None:
        super().__init__(llm, **others)
        self._device_owner = device_owner
        device_owner.start(self)

    def step(self) -> list[GenerationOutput]:
        """Runs one iteration, after taking the device."""
        self._check_usable()
        self._device_owner.take(self)
        return super().step()

    def sleep(self) -> None:
        """Sends running sequences back to the queue and frees the device.

        vLLM's own `LLM.sleep` would abort them.
        """
        with _translated("generator"):
            self.preempt_all()
            _drain()
            executor = self._executor
            if not _checked_sleep(executor):
                executor.sleeping_tags, executor.is_sleeping = set(_ALL_TAGS), True

    def wake_up(self) -> None:
        """Brings the weights back."""
        with _translated("generator"):
            self._executor.wake_up(None)

    @property
    def _executor(self) -> Any:
        return self._engine.engine_core.engine_core.model_executor  # type: ignore[attr-defined]  # only the in-process client has it

    def close(self) -> None:
        """Wakes the engine and frees its memory; vLLM cannot free that of a sleeping engine."""
        if self._llm is not None:
            with contextlib.suppress(FastTTSError):
                self._device_owner.take(self)
        super().close()
        self._device_owner.forget(self)


class SleepingVerifier(VLLMVerifier):
    """A verifier in a process of its own that sleeps while the generator runs.

    Args:
        llm: As for `VLLMVerifier`, with sleep mode, just opened and awake.
        device_owner: Shared with the generator.
        others: As for `VLLMVerifier`.
    """

    def __init__(self, llm: Any, *, device_owner: DeviceOwner, **others: Any) -> None:
        super().__init__(llm, **others)
        self._device_owner = device_owner
        self._sleeps_unnoticed = False
        device_owner.start(self)

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        """Scores steps, after taking the device."""
        self._check_usable()
        self._device_owner.take(self)
        return super().score(requests)

    def sleep(self) -> None:
        """Frees the device; between two calls nothing is in flight."""
        with _translated("verifier"):
            self._sleeps_unnoticed = not _checked_sleep(self._engine)

    def wake_up(self) -> None:
        """Brings the weights back."""
        with _translated("verifier"):
            if self._sleeps_unnoticed:
                self._engine.collective_rpc("wake_up", args=(None,))
                self._sleeps_unnoticed = False
            self._engine.wake_up()

    def close(self) -> None:
        """Ends the engine's process, which frees its memory."""
        super().close()
        self._device_owner.forget(self)


def _checked_sleep(engine: Any) -> bool:
    """Sends an engine to sleep; False where it sleeps without vLLM's having noted it.

    Args:
        engine: vLLM's engine or its executor.
    """
    try:
        engine.sleep(_WEIGHTS_TO_HOST)
    except Exception as error:  # from a process of its own the check's error has no type
        if _MEMORY_GREW not in str(error):
            raise
        logger.debug("another program took memory of the device while an engine fell asleep")
        return False
    return True


def _drain() -> None:
    """Waits until the device is idle: vLLM 0.32 frees memory that is still in use."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


@contextlib.contextmanager
def _translated(role: Role) -> Iterator[None]:
    try:
        yield
    except FastTTSError:
        raise
    except Exception as error:  # vLLM raises many types; each becomes one of ours
        raise translate(error, role, f"the {role} could not change turns") from error
