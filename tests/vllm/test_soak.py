"""Mixed calls on real models: the checks of the fake soak; the KV cache is as full as before."""

import pytest

from benchmarks.mixed_calls import MixedCalls, Soak
from fasttts import FastTTS
from fasttts.demo.problems import generate_problems


@pytest.mark.vllm
@pytest.mark.slow
def test_every_call_has_its_own_outcome_and_nothing_leaks(demo_engine: FastTTS) -> None:
    (problem,) = generate_problems("test", 0, 1, min_operations=2)
    calls = MixedCalls(engine=demo_engine, problem=problem.text, max_tokens=50)
    assert calls.soak(200, num_workers=32) == Soak(calls=200, lost=0, leaked=0)
