"""What an engine counts over all its searches."""

import threading

from fasttts import FastTTS, Progress, SearchResult
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.scheduling.usage import EngineUsage


def total(results: list[SearchResult], name: str) -> int:
    return sum(getattr(result.usage, name) for result in results)


def test_a_new_engine_has_cost_nothing() -> None:
    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        assert engine.usage == EngineUsage()
        assert engine.usage.mean_sequences == 0


def test_one_search_costs_the_engine_what_it_costs() -> None:
    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        result = engine.search("What is 2 + 2?", n=8)
    totals = engine.usage
    assert totals.num_searches == 1
    assert totals.num_iterations == result.usage.num_iterations
    assert totals.required_sequences == sum(result.occupancy.required)
    assert totals.speculative_sequences == sum(result.occupancy.speculative)
    assert totals.generation_s == result.timings.generation_s
    assert totals.verification_s == result.timings.verification_s
    assert totals.peak_kv_cache_usage == result.usage.peak_kv_cache_usage
    assert totals.wasted_tokens == result.usage.generated_tokens - result.usage.required_tokens


def test_searches_add_up_and_share_iterations() -> None:
    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        outcomes = engine.search_many(["2 + 2?", "3 + 3?", "4 + 4?"], n=4)
        results = [outcome for outcome in outcomes if isinstance(outcome, SearchResult)]
        totals = engine.usage
    assert len(results) == totals.num_searches == 3
    for name in (
        "generated_tokens",
        "required_tokens",
        "speculated_tokens",
        "recomputed_tokens",
        "verifier_computed_tokens",
        "verifier_cached_tokens",
        "num_verifications",
    ):
        assert getattr(totals, name) == total(results, name), name
    assert totals.num_iterations < total(results, "num_iterations")
    assert totals.mean_sequences > 1


def test_a_stopped_search_counts() -> None:
    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        events = engine.stream("What is 2 + 2?", n=16)
        next(event for event in events if isinstance(event, Progress))
        events.close()
    assert engine.usage.num_searches == 1
    assert engine.usage.generated_tokens > 0


def test_usage_may_be_asked_while_searches_run() -> None:
    seen: list[int] = []
    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        done = threading.Event()

        def watch() -> None:
            while not done.is_set():
                seen.append(engine.usage.num_iterations)

        listener = threading.Thread(target=watch)
        listener.start()
        engine.search("What is 2 + 2?", n=32)
        done.set()
        listener.join()
    assert seen == sorted(seen)
    assert engine.usage.num_iterations >= seen[-1]
