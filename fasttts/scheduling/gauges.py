"""Gauges of an engine at one moment; written by the loop's thread, read by any."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """State of an engine after one iteration.

    Attributes:
        num_running: Searches and plain decodings that have been admitted.
        num_waiting: Searches and plain decodings in the queue.
        num_slots: Sequences that may run together.
        num_required: Running sequences that some decision waits for.
        num_speculative: Running speculative sequences.
        num_unscored: Steps that wait for the verifier.
        kv_cache_usage: Share of the generator's KV cache in use, 0 to 1.
    """

    num_running: int = 0
    num_waiting: int = 0
    num_slots: int = 0
    num_required: int = 0
    num_speculative: int = 0
    num_unscored: int = 0
    kv_cache_usage: float = 0.0
