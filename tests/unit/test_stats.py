"""What an engine tells about itself while it runs, and afterwards."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from fasttts import BackendError, Budget, EngineStats, FastTTS, SearchError
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.observability.stats import REQUEST_OUTCOMES, RequestStats
from fasttts.testing.faults import FaultyGenerator
from tests.searches import UNTIMED


@pytest.fixture
def engine() -> Iterator[FastTTS]:
    with FastTTS(FakeGenerator(), FakeVerifier(), scheduling=UNTIMED) as engine:
        yield engine


def ended(stats: EngineStats) -> dict[str, int]:
    return {outcome: number for outcome, number in stats.requests.ended.items() if number}


def test_an_engine_begins_at_nothing(engine: FastTTS) -> None:
    stats = engine.stats()
    assert stats.health.is_healthy
    assert stats.requests == RequestStats(ended=dict.fromkeys(REQUEST_OUTCOMES, 0))
    assert (stats.gauges.num_slots, stats.gauges.num_running) == (128, 0)
    assert stats.usage == engine.usage
    with pytest.raises(AttributeError):
        stats.num_restarts = 1  # type: ignore[misc]  # that it is refused is what is tested


def test_every_call_has_one_outcome(engine: FastTTS) -> None:
    engine.search("hello", n=4)
    engine.search("hello", search="none")
    engine.search_many(["hello", "world"], n=4)
    engine.search("hello", n=4, budget=Budget(tokens=60))
    with pytest.raises(SearchError):
        engine.search("hello", n=4, max_tokens=1, on_cut="raise")
    engine.search("hello", n=4, max_tokens=3)
    with pytest.raises(SearchError):
        engine.search("hello", n=4, budget=Budget(seconds=1e-9), on_cut="raise")
    late = Budget(seconds=1e-9, refuse_late=True)
    with pytest.raises(SearchError):
        engine.search("hello", n=4, budget=late)
    stream = engine.stream("hello", n=16)
    next(stream)
    stream.close()
    engine.search("x", search="none", max_tokens=2)  # runs after the cancellation
    stats = engine.stats()
    assert ended(stats) == {
        "complete": 5,
        "tokens": 1,
        "no_answer": 3,
        "refused": 1,
        "cancelled": 1,
    }
    assert stats.requests.num_ended == 11
    assert stats.requests.num_open == 0
    assert stats.requests.seconds > 0


def test_nothing_is_held_after_the_last_call(engine: FastTTS) -> None:
    engine.search_many(["hello", "world"], n=16)
    load = engine.stats().gauges
    assert load == type(load)(num_slots=128)


def test_the_load_is_told_while_searches_run() -> None:
    seen: list[Any] = []
    engine: FastTTS

    def score(problem: str, steps: tuple[str, ...]) -> float:
        while not seen and engine.stats().requests.num_open < 8:
            time.sleep(0.001)  # until all are there, whoever of the two threads is faster
        seen.append(engine.stats())
        return 0.5

    generator = FakeGenerator(max_num_seqs=8)
    with FastTTS(generator, FakeVerifier(score), scheduling=UNTIMED) as engine:
        engine.search_many(list("abcdefgh"), n=8)
    assert seen[0].requests.num_open == 8
    assert max(stats.gauges.num_running + stats.gauges.num_waiting for stats in seen) == 8
    assert max(stats.gauges.num_waiting for stats in seen) > 0
    assert max(stats.gauges.num_unscored for stats in seen) > 0
    assert max(stats.gauges.num_speculative for stats in seen) > 0
    assert max(stats.gauges.kv_cache_usage for stats in seen) > 0
    assert all(0 < s.gauges.num_required + s.gauges.num_speculative <= 8 for s in seen[:8])
    generated = [stats.usage.generated_tokens for stats in seen]
    assert generated == sorted(generated)
    assert generated[0] > 0


def test_a_lost_engine_says_so_and_counts_on_after_a_restart() -> None:
    lost = BackendError("lost", role="generator")

    def reload() -> tuple[FakeGenerator, FakeVerifier]:
        return FakeGenerator(), FakeVerifier()

    generator = FaultyGenerator(FakeGenerator(), {5: lost})
    with FastTTS(generator, FakeVerifier(), reload=reload) as engine:
        for _ in range(2):
            with pytest.raises(BackendError):
                engine.search("hello", n=4)
        stats = engine.stats()
        assert not stats.health.is_healthy
        assert ended(stats) == {"failed": 2}
        assert (stats.requests.num_open, stats.gauges.num_running) == (0, 0)
        engine.restart()
        engine.search("hello", n=4)
        again = engine.stats()
        assert again.health.is_healthy
        assert again.num_restarts == 1
        assert ended(again) == {"failed": 2, "complete": 1}
        assert again.usage.generated_tokens > stats.usage.generated_tokens > 0
    assert not engine.stats().health.is_healthy


def test_any_thread_may_ask_at_any_time(engine: FastTTS) -> None:
    seen: list[EngineStats] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.001):
            seen.append(engine.stats())

    watchers = [threading.Thread(target=watch) for _ in range(2)]
    for listener in watchers:
        listener.start()
    engine.search_many(["a", "b", "c", "d"], n=8)
    done.set()
    for listener in watchers:
        listener.join()
    assert all(0 <= s.gauges.num_running + s.gauges.num_waiting <= 4 for s in seen)
    assert all(s.gauges.num_required + s.gauges.num_speculative <= 128 for s in seen)
