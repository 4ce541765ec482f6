"""Present state of an engine, written by the loop's thread and read by any."""

from collections.abc import Iterable, Sized
from dataclasses import dataclass

from fasttts.scheduling.run import SearchRun
from fasttts.scheduling.slots import Slots
from fasttts.scheduling.usage import PressureGauge


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


def read_gauges(
    admitted: Sized, running: Iterable[SearchRun], slots: Slots, pressure: PressureGauge
) -> Gauges:
    """Reads the state of an engine.

    Args:
        admitted: Every search that has not ended.
        running: Searches that left the queue.
        slots: Their sequences.
        pressure: The generator's last report.
    """
    num_unscored = [len(run.unscored) for run in running]
    num_speculative = len(slots.speculative())
    return Gauges(
        num_running=len(num_unscored),
        num_waiting=len(admitted) - len(num_unscored),
        num_slots=slots.num_slots,
        num_required=len(slots) - num_speculative,
        num_speculative=num_speculative,
        num_unscored=sum(num_unscored),
        kv_cache_usage=pressure.usage,
    )
