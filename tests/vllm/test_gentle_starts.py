"""Starts that take several iterations change no token, and nobody waits for them."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from fasttts import FastTTS
from fasttts.backends.vllm.gentle_starts import GentleStarts
from fasttts.config import SchedulingConfig
from tests.vllm.inside import engine_of, pace_starts

PROBLEM = "Tom has 10 pens. Tom buys 5 bags of 8 pens. How many pens does Tom have now?"
USUAL = 500


def scheduler_of(**computed: tuple[int, int]) -> Any:
    """A scheduler that knows requests: their tokens, and how many of them were computed."""
    requests = {
        name: SimpleNamespace(num_tokens=tokens, num_computed_tokens=done)
        for name, (tokens, done) in computed.items()
    }
    options = SimpleNamespace(long_prefill_token_threshold=USUAL)
    return SimpleNamespace(scheduler_config=options, requests=requests)


@pytest.mark.parametrize(
    ("requests", "starting", "num_sequences", "expected"),
    [
        ({}, {}, 3, USUAL),  # nothing begins
        ({"a": (90, 0)}, {"a": True}, 1, USUAL),  # nothing else decodes
        ({"a": (90, 0)}, {"a": True}, 3, 1),
        ({"a": (90, 0)}, {"a": False}, 3, USUAL),  # somebody waits
        ({"a": (90, 80), "b": (90, 0)}, {"a": True, "b": False}, 3, USUAL),
        ({"a": (90, 58)}, {"a": True}, 3, 1),
        ({"a": (90, 57)}, {"a": True}, 3, USUAL),  # too much of it was not in the cache
        ({}, {"a": True}, 3, 1),  # vLLM has not looked at it yet
    ],
)
def test_who_begins_slowly(
    requests: dict[str, tuple[int, int]],
    starting: dict[str, bool],
    num_sequences: int,
    expected: int,
) -> None:
    scheduler = scheduler_of(**requests)
    starts = GentleStarts(scheduler)
    for name, may_take_long in starting.items():
        starts.added(name, may_take_long=may_take_long)
    starts.pace(num_sequences)
    assert scheduler.scheduler_config.long_prefill_token_threshold == expected
    for name in starting:
        starts.begun(name)
    starts.pace(num_sequences)
    assert scheduler.scheduler_config.long_prefill_token_threshold == USUAL


@pytest.fixture(scope="module", params=[None, 40], ids=["roomy", "short"])
def engine(request: pytest.FixtureRequest) -> Iterator[FastTTS]:
    """Engines of which the second has so few blocks that sequences are preempted."""
    blocks = {"num_gpu_blocks_override": request.param} if request.param else {}
    scheduling = SchedulingConfig(speculation_rule="score")
    options: dict[str, Any] = {"max_num_seqs": 24, "max_model_len": 512, "generator_args": blocks}
    with FastTTS.load("demo", scheduling=scheduling, **options) as found:
        yield found


@pytest.mark.vllm
@pytest.mark.parametrize(("search", "n"), [("beam_search", 8), ("dvts", 8), ("best_of_n", 40)])
def test_they_change_no_token(engine: FastTTS, search: str, n: int) -> None:
    scheduler = engine_of(engine.generator).engine_core.engine_core.scheduler

    def found() -> list[Any]:
        results = [
            engine.search(PROBLEM, search=search, n=n, seed=seed, max_tokens=200, temperature=1.2)
            for seed in range(3)
        ]
        return [[(c.path, c.text, c.score) for c in result.candidates] for result in results]

    expected = found()
    paced = pace_starts(engine.generator, GentleStarts(scheduler))
    try:
        assert found() == expected
        assert paced.num_gentle > 0
    finally:
        pace_starts(engine.generator, None)
