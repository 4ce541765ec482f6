"""What a search has cost so far, counted where it happens."""

import collections
import heapq
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fasttts.backends.base import MemoryPressure
from fasttts.tree import Node


@dataclass(slots=True, kw_only=True)
class Counts:
    """The raw counts of one run; see `fasttts.types.Usage` for their meanings.

    `requested_tokens` are the prompt tokens of all generator requests, `cached_tokens` those of
    them that the prefix cache supplied. The lists hold one number for each iteration.
    """

    generated_tokens: int = 0
    requested_tokens: int = 0
    cached_tokens: int = 0
    verifier_computed_tokens: int = 0
    verifier_cached_tokens: int = 0
    num_verifications: int = 0
    num_preemptions: int = 0
    peak_kv_cache_usage: float = 0.0
    generation_s: float = 0.0
    verification_s: float = 0.0
    num_needed: list[int] = field(default_factory=list)
    num_speculative: list[int] = field(default_factory=list)

    @property
    def num_iterations(self) -> int:
        """Generator iterations in which the run had a sequence."""
        return len(self.num_needed)


class PressureGauge:
    """Remembers the generator's last reported memory pressure, to tell what is new."""

    def __init__(self) -> None:
        self.usage = 0.0
        self.num_new_preemptions = 0
        self._num_preemptions = 0

    def read(self, pressure: MemoryPressure) -> None:
        """Takes the report of one iteration."""
        self.usage = pressure.kv_cache_usage
        self.num_new_preemptions = pressure.num_preemptions - self._num_preemptions
        self._num_preemptions = pressure.num_preemptions

    def is_short(self, threshold: float) -> bool:
        """Whether memory is short: usage above `threshold`, or a sequence was preempted."""
        return self.usage > threshold or self.num_new_preemptions > 0


def plain_occupancy(nodes: Iterable[Node], num_slots: int) -> tuple[int, ...]:
    """Sequences in each iteration, had the plain loop searched the same tree alone.

    The plain loop decodes a depth in the slots it has and waits for the last step before the next
    depth begins; since every schedule finds the same tree, its iterations need not be run to be
    counted.
    """
    depths: dict[int, list[Node]] = collections.defaultdict(list)
    for node in nodes:
        depths[node.depth].append(node)
    occupancy: list[int] = []
    for depth in sorted(depths):
        ordered = sorted(depths[depth], key=lambda node: (node.path[-1], node.path))
        occupancy += _one_depth([len(node.token_ids) for node in ordered], num_slots)
    return tuple(occupancy)


def _one_depth(lengths: Sequence[int], num_slots: int) -> list[int]:
    """Sequences in each iteration while steps of these lengths run, started in order."""
    free_at = [0] * num_slots
    changes: dict[int, int] = collections.Counter()
    for length in lengths:
        start = heapq.heappop(free_at)
        heapq.heappush(free_at, start + length)
        changes[start] += 1
        changes[start + length] -= 1
    last = max(free_at)
    return list(itertools.accumulate(changes[iteration] for iteration in range(last)))
