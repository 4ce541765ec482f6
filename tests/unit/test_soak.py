"""Mixed calls from threads and tasks at once: one outcome each, the right one, and no leak.

A longer one is run by hand, with NUM_CALLS raised.
"""

import pytest

from benchmarks.mixed_calls import MixedCalls, Soak
from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.scheduling.gauges import Gauges

NUM_CALLS = 5000


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
@pytest.mark.timeout(170)
def test_every_call_has_its_own_outcome_and_nothing_leaks() -> None:
    generator = FakeGenerator(max_num_seqs=24)
    with FastTTS(generator, FakeVerifier()) as engine:
        calls = MixedCalls(engine=engine, problem="a", max_tokens=50)
        assert calls.soak(NUM_CALLS, num_workers=32) == Soak(calls=NUM_CALLS, lost=0, leaked=0)
        assert engine.stats().gauges == Gauges(num_slots=24), "nothing runs, waits or is held"
        assert generator.num_unfinished() == 0
