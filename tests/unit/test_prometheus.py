"""Engines in Prometheus' words."""

import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.config import SchedulingConfig, SearchConfig
from fasttts.engine.result_cache import ResultCache
from fasttts.observability.prometheus import EngineCollector
from fasttts.search import BestOfNPolicy
from tests.searches import UNTIMED


def three_answers(config: SearchConfig) -> BestOfNPolicy:
    return BestOfNPolicy(n=3)


def scraped(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def test_the_numbers_are_those_of_the_statistics() -> None:
    registry = CollectorRegistry()
    generator, scheduling = FakeGenerator(max_draft_tokens=4), SchedulingConfig(draft_rule="always")
    with FastTTS(generator, FakeVerifier(), scheduling=scheduling) as engine:
        registry.register(EngineCollector({"a": engine}))
        assert scraped(registry)["fasttts_generated_tokens_total", "a"] == 0
        engine.search("hello", n=4)
        values, stats = scraped(registry), engine.stats()
    assert values["fasttts_requests_total", "a", "complete"] == 1
    assert values["fasttts_requests_total", "a", "failed"] == 0
    assert values["fasttts_generated_tokens_total", "a"] == stats.usage.generated_tokens > 0
    assert values["fasttts_verifier_tokens_total", "a", "cached"] == (
        stats.usage.verifier_cached_tokens
    )
    assert values["fasttts_drafted_tokens_total", "a", "kept"] == stats.usage.kept_draft_tokens > 0
    assert values["fasttts_drafted_tokens_total", "a", "wasted"] == (
        stats.usage.drafted_tokens - stats.usage.kept_draft_tokens
    )
    assert values["fasttts_busy_seconds_total", "a", "generator"] == stats.usage.generation_s
    assert values["fasttts_slots", "a"] == 128
    assert values["fasttts_healthy", "a"] == 1
    assert scraped(registry)["fasttts_healthy", "a"] == 0


def test_histograms_are_of_each_search() -> None:
    registry = CollectorRegistry()
    with FastTTS(FakeGenerator(), FakeVerifier(), scheduling=UNTIMED) as engine:
        registry.register(EngineCollector({"a": engine}))
        result = engine.search("hello", n=8)
        engine.search_many(["hello", "world"], search="none")
        values, stats = scraped(registry), engine.stats()
    duration = "fasttts_request_duration_seconds"
    assert values[f"{duration}_count", "a", "beam_search"] == 1
    assert values[f"{duration}_count", "a", "none"] == 2
    assert values[f"{duration}_bucket", "+Inf", "a", "none"] == 2
    sums = [values[f"{duration}_sum", "a", search] for search in ("beam_search", "none")]
    assert sum(sums) == pytest.approx(stats.requests.seconds)
    first = values["fasttts_time_to_first_token_seconds_sum", "a", "beam_search"]
    assert 0 < first < values[f"{duration}_sum", "a", "beam_search"]
    tokens = "fasttts_request_generated_tokens"
    usage = result.usage
    assert values[f"{tokens}_sum", "a", "beam_search"] == usage.generated_tokens
    assert values["fasttts_request_prompt_tokens_sum", "a", "beam_search"] == usage.prompt_tokens
    ahead = usage.speculated_tokens + usage.generated_tokens - usage.required_tokens
    share = values["fasttts_speculation_acceptance_ratio_sum", "a", "beam_search"]
    assert share == pytest.approx(usage.speculated_tokens / ahead)
    assert ("fasttts_speculation_acceptance_ratio_count", "a", "dvts") not in values


def test_a_cached_result_took_time_and_nothing_else(tmp_path: Path) -> None:
    with FastTTS(FakeGenerator(), FakeVerifier(), cache=ResultCache(tmp_path)) as engine:
        engine.search("hello", n=4)
        engine.search("hello", n=4)
        took = engine.stats().requests.distributions["beam_search"]
    assert took.seconds.num_values == 2
    assert took.generated_tokens.num_values == took.first_token_s.num_values == 1


def test_policies_of_users_are_one_search() -> None:
    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        engine.search("hello", search="tests.unit.test_prometheus:three_answers", n=4)
        assert list(engine.stats().requests.distributions) == ["custom"]


def test_engines_share_a_collector() -> None:
    registry = CollectorRegistry(auto_describe=True)
    with (
        FastTTS(FakeGenerator(), FakeVerifier()) as one,
        FastTTS(FakeGenerator(), FakeVerifier()) as two,
    ):
        registry.register(EngineCollector({"one": one, "two": two}))
        one.search("hello", search="none")
        values = scraped(registry)
    assert values["fasttts_requests_total", "complete", "one"] == 1
    assert values["fasttts_requests_total", "complete", "two"] == 0


def test_names_follow_the_conventions() -> None:
    registry = CollectorRegistry()
    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        registry.register(EngineCollector({"a": engine}))
        families = list(registry.collect())
    for family in families:
        assert family.name.startswith("fasttts_")
        assert family.documentation.endswith(".")
        is_counter = family.type == "counter"
        assert all(s.name.endswith("_total") == is_counter for s in family.samples)
    assert len({family.name for family in families}) == len(families)


def test_nothing_is_registered_unasked() -> None:
    assert not [family for family in REGISTRY.collect() if family.name.startswith("fasttts")]


def test_the_engine_does_without() -> None:
    program = (
        "import sys, fasttts; print('prometheus_client' in sys.modules)\n"
        "sys.modules['prometheus_client'] = None\n"
        "import fasttts.observability.prometheus"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout == "False\n"
    assert "ImportError: pip install 'fasttts[metrics]'" in done.stderr
