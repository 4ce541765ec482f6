"""The ways to divide a device between two models, and the fastest of them."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from fasttts.memory.devices import Device
from fasttts.memory.latency_model import LatencyModel, SearchTimes
from fasttts.memory.requirements import PROCESS_BYTES, EngineRequirements
from fasttts.memory.units import MIB

Kind = Literal["alone", "side_by_side", "kv_offload", "time_shared", "apart"]
"""One model only; both on the device; both, with KV blocks of the generator also in host memory;
one asleep in host memory while the other runs; or each on a GPU of its own."""

STEP_BYTES = 32 * MIB
"""Distance of two partitions of the scan. It does not depend on the device, so that more memory
adds partitions and removes none: a larger device is never predicted to be slower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One way to use the memory, and its predicted time.

    Attributes:
        kind: How the models share the device.
        generator_kv_bytes: The generator's KV cache.
        verifier_kv_bytes: The verifier's.
        offload_bytes: Host memory for the generator's blocks.
        times: Predicted times of the search.
    """

    kind: Kind
    generator_kv_bytes: int
    verifier_kv_bytes: int
    offload_bytes: int
    times: SearchTimes


class MemoryBudget:
    """The memory of KV caches, and the ways to divide it.

    Args:
        device: The device.
        usable_bytes: Memory that may be used.
        generator: The generator's requirements.
        verifier: The verifier's requirements; None without one.
        slots: Most sequences that decode together. A CPU's KV cache holds these and the search's
            beams, a GPU's takes all remaining memory.
        verifier_process: Whether the verifier has a process of its own beside the generator's.
    """

    def __init__(
        self,
        device: Device,
        usable_bytes: int,
        generator: EngineRequirements,
        verifier: EngineRequirements | None,
        *,
        slots: int,
        verifier_process: bool = False,
    ) -> None:
        self._device = device
        self._usable_bytes = usable_bytes
        self._process_bytes = 0 if device.is_cpu else PROCESS_BYTES
        self._num_processes = 2 if verifier_process and verifier is not None else 1
        self._generator = generator
        self._verifier = verifier
        self._model = LatencyModel(
            generator, verifier, slots=slots, link_bytes_per_s=device.link_bytes_per_s
        )
        held = max(slots, generator.workload.num_beams)
        most = max(generator.min_kv_bytes, generator.kv_bytes_for(held))
        self._most_kv_bytes = most if device.is_cpu else usable_bytes

    @property
    def resident_kv_bytes(self) -> int:
        """Memory for KV caches with both models on the device; negative when they do not fit."""
        return self._kv_bytes(self._num_processes)

    def _kv_bytes(self, num_processes: int) -> int:
        fixed = sum(needs.fixed_bytes for needs in (self._generator, self._verifier) if needs)
        return self._usable_bytes - num_processes * self._process_bytes - fixed

    def resident(self) -> Iterator[Partition]:
        """Lists the partitions without offloading."""
        kind: Kind = "alone" if self._verifier is None else "side_by_side"
        for generator_bytes, verifier_bytes in self._divisions(self.resident_kv_bytes):
            yield Partition(
                kind=kind,
                generator_kv_bytes=generator_bytes,
                verifier_kv_bytes=verifier_bytes,
                offload_bytes=0,
                times=self._model.times(generator_bytes, verifier_bytes),
            )

    def kv_offload(self) -> Iterator[Partition]:
        """Lists partitions with host memory for the blocks of all beams.

        vLLM moves the blocks of every engine in a process that offloads, so the verifier has a
        process of its own.
        """
        if self._device.link_bytes_per_s is None:
            return
        enough = self._generator.enough_kv_bytes
        offload = self._generator.whole_blocks(min(enough, self._device.host_memory_bytes))
        left = self._kv_bytes(1 if self._verifier is None else 2)
        for generator_bytes, verifier_bytes in self._divisions(left):
            if generator_bytes < enough and offload > 0:
                yield Partition(
                    kind="kv_offload",
                    generator_kv_bytes=generator_bytes,
                    verifier_kv_bytes=verifier_bytes,
                    offload_bytes=offload,
                    times=self._model.times(generator_bytes, verifier_bytes, offload),
                )

    def time_shared(self) -> Iterator[Partition]:
        """Lists the partition in which each model sleeps while the other runs, if possible."""
        generator, verifier = self._generator, self._verifier
        if verifier is None or self.missing_for_sleep_bytes > 0:
            return
        own = generator.whole_blocks(self._turn_kv_bytes(generator, verifier))
        other = verifier.whole_blocks(self._turn_kv_bytes(verifier, generator))
        yield Partition(
            kind="time_shared",
            generator_kv_bytes=own,
            verifier_kv_bytes=other,
            offload_bytes=0,
            times=self._model.times_when_shared(own, other),
        )

    @property
    def missing_for_sleep_bytes(self) -> float:
        """Device or host memory that sleeping in turns lacks; not positive where it is possible."""
        generator, verifier = self._generator, self._verifier
        if verifier is None or self._device.link_bytes_per_s is None:
            return math.inf
        weights = generator.shape.weight_bytes + verifier.shape.weight_bytes
        return max(
            generator.min_kv_bytes - self._turn_kv_bytes(generator, verifier),
            verifier.min_kv_bytes - self._turn_kv_bytes(verifier, generator),
            weights - self._device.host_memory_bytes,
        )

    def _turn_kv_bytes(self, awake: EngineRequirements, asleep: EngineRequirements) -> int:
        """Memory for the KV cache of one model while the other, asleep, keeps its graphs."""
        fixed = awake.fixed_bytes + asleep.runtime_bytes
        return self._usable_bytes - 2 * self._process_bytes - fixed

    def _divisions(self, left: int) -> Iterator[tuple[int, int]]:
        """Bytes of the generator's and of the verifier's KV cache, in whole blocks.

        The verifier's grow in steps from its minimum to the size that holds every beam; the
        generator has the rest.

        Args:
            left: Bytes of both.
        """
        for verifier_bytes in self._verifier_sizes(left - self._generator.min_kv_bytes):
            rest = min(left - verifier_bytes, self._most_kv_bytes)
            if rest >= self._generator.min_kv_bytes:
                yield self._generator.whole_blocks(rest), verifier_bytes

    def _verifier_sizes(self, most: int) -> Iterator[int]:
        if self._verifier is None:
            yield 0
            return
        enough = self._verifier.enough_kv_bytes
        for size in range(self._verifier.min_kv_bytes, min(enough, most + 1), STEP_BYTES):
            yield self._verifier.whole_blocks(size)
        if enough <= most:
            yield enough


def fastest(splits: Iterable[Partition]) -> Partition | None:
    """The partition of the shortest predicted time, the first of equals; None if there is none."""
    return min(splits, key=lambda split: split.times.total_s, default=None)
