"""What a search has cost so far, counted where it happens."""

from dataclasses import dataclass, field

from fasttts.backends.base import MemoryPressure


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
