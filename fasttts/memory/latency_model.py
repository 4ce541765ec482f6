"""Predicted time of a search with KV caches of given sizes."""

from dataclasses import dataclass

from fasttts.memory.costs import Costs
from fasttts.memory.curves import knee
from fasttts.memory.requirements import EngineRequirements
from fasttts.memory.workload import Workload

SPECULATION_THRESHOLD = 0.5
"""Share of the mean cost of a sequence above which a further slot for speculation does not pay."""

BATCHING_THRESHOLD = 0.9
"""The same for sequences that must be decoded anyway, now or after the others."""

_LOOP_SEQUENCE_S = 1.2e-5
"""Seconds of the search loop for each sequence of an iteration (64 beams on an H200's host)."""

_OFFLOADING_COST = 0.02
"""Share of decoding time for the bookkeeping of blocks in two places (assumed)."""

MOST_SLOTS = 1024
"""vLLM's own largest default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchTimes:
    """Predicted seconds of a search.

    Attributes:
        generation_s: Decoding, and the loop's own work beside it.
        verification_s: Scoring new steps.
        recompute_s: Computing prefixes again that a cache could not keep.
        transfer_s: Moving KV blocks or weights over the host link.
    """

    generation_s: float
    verification_s: float
    recompute_s: float
    transfer_s: float

    @property
    def total_s(self) -> float:
        """Their sum."""
        return self.generation_s + self.verification_s + self.recompute_s + self.transfer_s


def slot_limit(costs: Costs, workload: Workload, most: int) -> int:
    """Sequences worth decoding together, if memory holds them.

    Up to the knee of the decode curve, speculation included; beyond it for the search's own beams
    only, as long as a larger batch still raises throughput.

    Args:
        costs: The generator's.
        workload: The search to optimise for.
        most: Largest number to consider.
    """
    context = workload.mean_context_tokens

    def seconds(batch: int) -> float:
        return costs.decode_s(batch, context)

    own = min(workload.num_beams, knee(seconds, most, BATCHING_THRESHOLD))
    return max(own, knee(seconds, most, SPECULATION_THRESHOLD))


def _longer_share(num_beams: int) -> float:
    """Iterations that the longest beam's step adds, by the mean length of a step.

    Jobs on machines end no later than work / machines + the longest (Graham, "Bounds on
    Multiprocessing Timing Anomalies", SIAM J. Appl. Math. 17(2), 1969). Searches of 8 to 512 beams
    and as many slots, with lengths of a lognormal distribution (sigma 0.7) and deep speculation,
    took 1.9 to 2.4 times the iterations of the mean length; one beam takes 1.
    """
    return 1.0 - 1.0 / num_beams


class LatencyModel:
    """The time of a search as a function of the bytes of both KV caches.

    FastTTS (arXiv 2509.00195), asymmetric memory allocation: for each step of `N` beams

        (N / B_v) * T_prefill(B_v) + (N * S / B_g) * T_decode(B_g)

    with batches `B` as large as memory holds. We add the cost of a cache that is too small for all
    beams: prefixes that other beams displaced are computed again, or come back over the host link.
    And a batch that holds all beams does not end with a step's mean length: the longest is waited
    for, less what runs ahead.

    Args:
        generator: The generator's requirements, its workload and costs included.
        verifier: The same for the verifier; None for a search without one.
        slots: Most sequences that decode together.
        link_bytes_per_s: Rate to the host in one direction; None where nothing can be offloaded.
    """

    def __init__(
        self,
        generator: EngineRequirements,
        verifier: EngineRequirements | None,
        *,
        slots: int,
        link_bytes_per_s: float | None,
    ) -> None:
        self._workload = generator.workload
        self._generator = generator
        self._verifier = verifier
        self._slots = slots
        self._link = link_bytes_per_s
        self._largest_batch = knee(self._scoring_s, self._workload.num_beams, 1.0)

    def times(
        self, generator_kv_bytes: int, verifier_kv_bytes: int, offload_bytes: int = 0
    ) -> SearchTimes:
        """Predicts a search with both models resident.

        vLLM copies every full block to the host, so the number of beams that can be kept depends on
        the host's memory alone, not on the sum of both.

        Args:
            generator_kv_bytes: The generator's KV cache.
            verifier_kv_bytes: The verifier's.
            offload_bytes: Host memory that keeps the generator's displaced blocks; 0 for none.
        """
        on_device = self._generator.num_resident(generator_kv_bytes)
        kept = max(on_device, self._generator.num_resident(offload_bytes))
        recompute_s = self._recompute_s(self._generator, self._displaced(kept))
        if self._verifier is not None:
            scored = self._verifier.num_resident(verifier_kv_bytes)
            recompute_s += self._recompute_s(self._verifier, self._displaced(scored))
        generation_s, transfer_s = self._generation_s(on_device), 0.0
        if offload_bytes:
            returning = self._displaced(on_device) - self._displaced(kept)
            transfer_s = self._block_transfer_s(returning) + _OFFLOADING_COST * generation_s
        return SearchTimes(
            generation_s=generation_s,
            verification_s=self._verification_s(verifier_kv_bytes),
            recompute_s=self._workload.depth * recompute_s,
            transfer_s=transfer_s,
        )

    def times_when_shared(self, generator_kv_bytes: int, verifier_kv_bytes: int) -> SearchTimes:
        """Predicts a search in which one model sleeps while the other runs.

        At each step both models' weights leave the device and return; vLLM's sleep mode drops the
        KV caches, so each model computes all prefixes again.

        Args:
            generator_kv_bytes: The generator's KV cache while it is awake.
            verifier_kv_bytes: The verifier's.
        """
        assert self._verifier is not None
        workload, everything = self._workload, self._workload.num_beams
        weights = self._generator.shape.weight_bytes + self._verifier.shape.weight_bytes
        recompute_s = sum(
            self._recompute_s(needs, everything, workload.prompt_tokens)
            for needs in (self._generator, self._verifier)
        )
        return SearchTimes(
            generation_s=self._generation_s(self._generator.num_resident(generator_kv_bytes)),
            verification_s=self._verification_s(verifier_kv_bytes),
            recompute_s=workload.depth * recompute_s,
            transfer_s=workload.depth * self._transfer_s(2 * weights),
        )

    def _block_transfer_s(self, num_returning: int) -> float:
        """Seconds to move new blocks to the host and displaced ones back, at each step."""
        num_tokens = self._num_step_tokens + num_returning * self._workload.inherited_tokens
        num_bytes = num_tokens * self._generator.shape.kv_bytes_per_token
        return self._workload.depth * self._transfer_s(num_bytes)

    def _displaced(self, num_resident: int) -> int:
        return max(0, self._workload.num_beams - num_resident)

    @property
    def _num_step_tokens(self) -> int:
        """New tokens of one step of all beams."""
        return self._workload.num_beams * self._workload.step_tokens

    def _transfer_s(self, num_bytes: float) -> float:
        assert self._link is not None  # else there are no partitions that offload
        return num_bytes / self._link

    def _generation_s(self, num_resident: int) -> float:
        workload = self._workload
        batch = max(1, min(workload.num_beams, num_resident, self._slots))
        all_s = workload.num_beams / batch * self._iteration_s(batch)
        # What is still decoded when most beams are done depends on the search, not on its slots.
        last_s = _longer_share(workload.num_beams) * self._iteration_s(workload.num_beams / 2)
        return workload.depth * workload.step_tokens * (all_s + last_s)

    def _iteration_s(self, batch: float) -> float:
        decode_s = self._generator.costs.decode_s(batch, self._workload.mean_context_tokens)
        return decode_s + batch * _LOOP_SEQUENCE_S

    def _verification_s(self, kv_bytes: int) -> float:
        if self._verifier is None:
            return 0.0
        batch = max(1, min(self._largest_batch, self._verifier.num_resident(kv_bytes)))
        return self._workload.depth * self._workload.num_beams / batch * self._scoring_s(batch)

    def _scoring_s(self, batch: int) -> float:
        """Seconds to score one new step of each of `batch` beams."""
        if self._verifier is None:
            return 0.0
        workload = self._workload
        return self._verifier.costs.prefill_s(
            batch, workload.step_tokens, workload.mean_context_tokens
        )

    def _recompute_s(
        self, needs: EngineRequirements, num_beams: int, extra_tokens: int = 0
    ) -> float:
        """Seconds to compute the inherited tokens of these beams, in iterations of full size."""
        num_tokens = num_beams * self._workload.inherited_tokens + extra_tokens
        if not num_tokens:
            return 0.0
        full = needs.max_num_batched_tokens
        return num_tokens / full * needs.costs.prefill_s(1, full, 0)
