"""Engines in Prometheus' words."""

import subprocess
import sys

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.observability.prometheus import EngineCollector


def scraped(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def test_the_numbers_are_those_of_the_statistics() -> None:
    registry = CollectorRegistry()
    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
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
    assert values["fasttts_busy_seconds_total", "a", "generator"] == stats.usage.generation_s
    assert values["fasttts_slots", "a"] == 128
    assert values["fasttts_healthy", "a"] == 1
    assert scraped(registry)["fasttts_healthy", "a"] == 0


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
