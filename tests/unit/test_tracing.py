"""Spans of calls, read with OpenTelemetry's own exporter in memory."""

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.trace import StatusCode

from fasttts import BackendError, FastTTS, SearchError
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.engine.result_cache import ResultCache
from fasttts.testing.faults import FaultyGenerator
from tests.searches import UNTIMED


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> TracerProvider:
    """The process's tracer provider for one test; OpenTelemetry lets it be set once in all."""
    provider = TracerProvider(shutdown_on_exit=False)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return provider


@pytest.fixture
def exporter(provider: TracerProvider) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


@pytest.fixture
def engine() -> Iterator[FastTTS]:
    with FastTTS(FakeGenerator(), FakeVerifier(), scheduling=UNTIMED) as engine:
        yield engine


def only(exporter: InMemorySpanExporter) -> ReadableSpan:
    (span,) = exporter.get_finished_spans()
    exporter.clear()
    return span


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_a_call_is_a_span_with_what_it_asked_and_cost(
    engine: FastTTS, exporter: InMemorySpanExporter
) -> None:
    result = engine.search("hello", n=4, seed=3, top_k=7, stop=["x y z"])
    span = only(exporter)
    found = attributes(span)
    assert span.name == "chat fake-generator"
    assert span.status.status_code is StatusCode.UNSET
    assert found.pop("gen_ai.response.finish_reasons") == tuple(
        one.finish_reason for one in sorted(result.candidates, key=lambda one: one.path)
    )
    assert 0 < found.pop("fasttts.time_to_first_token") < result.timings.total_s
    assert found == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "fasttts",
        "gen_ai.request.model": "fake-generator",
        "gen_ai.response.model": "fake-generator",
        "gen_ai.request.max_tokens": 1024,
        "gen_ai.request.temperature": 0.8,
        "gen_ai.request.top_k": 7,
        "gen_ai.request.top_p": 1.0,
        "gen_ai.request.seed": 3,
        "gen_ai.request.stop_sequences": ("x y z",),
        "gen_ai.usage.input_tokens": result.usage.prompt_tokens,
        "gen_ai.usage.output_tokens": result.usage.generated_tokens,
        "fasttts.search": "beam_search",
        "fasttts.n": 4,
        "fasttts.verifier": "fake-verifier",
        "fasttts.outcome": "complete",
        "fasttts.is_cached": False,
        "fasttts.usage.generated_tokens": result.usage.generated_tokens,
        "fasttts.usage.required_tokens": result.usage.required_tokens,
        "fasttts.usage.speculated_tokens": result.usage.speculated_tokens,
        "fasttts.usage.recomputed_tokens": result.usage.recomputed_tokens,
        "fasttts.usage.verifier_computed_tokens": result.usage.verifier_computed_tokens,
        "fasttts.usage.verifier_cached_tokens": result.usage.verifier_cached_tokens,
        "fasttts.usage.num_verifications": result.usage.num_verifications,
        "fasttts.usage.drafted_tokens": result.usage.drafted_tokens,
        "fasttts.usage.kept_draft_tokens": result.usage.kept_draft_tokens,
        "fasttts.usage.num_nan_scores": result.usage.num_nan_scores,
        "fasttts.usage.num_compared_scores": result.usage.num_compared_scores,
        "fasttts.usage.num_tied_scores": result.usage.num_tied_scores,
        "fasttts.usage.num_compared_rounds": result.usage.num_compared_rounds,
        "fasttts.usage.num_flat_rounds": result.usage.num_flat_rounds,
        "fasttts.usage.num_iterations": result.usage.num_iterations,
    }


def test_names_are_those_of_the_conventions(
    engine: FastTTS, exporter: InMemorySpanExporter
) -> None:
    engine.search("hello", n=4)
    conventions = {name for name in vars(gen_ai_attributes).values() if isinstance(name, str)}
    names = {name for name in attributes(only(exporter)) if not name.startswith("fasttts.")}
    assert names - conventions == set()


def test_a_stream_says_so_and_when_it_began_to_speak(
    engine: FastTTS, exporter: InMemorySpanExporter
) -> None:
    for _ in engine.stream("hello", n=4):
        pass
    found = attributes(only(exporter))
    assert found["gen_ai.request.stream"] is True
    first_s = found["gen_ai.response.time_to_first_chunk"]
    assert first_s == found["fasttts.time_to_first_token"] > 0


async def test_the_caller_s_span_is_the_parent(
    engine: FastTTS, exporter: InMemorySpanExporter
) -> None:
    tracer = trace.get_tracer("tests")

    async def agent(name: str) -> None:
        with tracer.start_as_current_span(name):
            await engine.asearch("hello", n=4)
            async for _ in engine.astream("hello", search="none"):
                pass

    await asyncio.gather(agent("a"), agent("b"))
    with tracer.start_as_current_span("c"):
        engine.search_many(["hello", "world"], n=4)
    spans = exporter.get_finished_spans()
    parents = {span.context.span_id: span.name for span in spans if span.context}
    children = [parents[span.parent.span_id] for span in spans if span.parent]
    assert sorted(children) == ["a", "a", "b", "b", "c", "c"]


def test_a_stopped_stream_ends_its_span(engine: FastTTS, exporter: InMemorySpanExporter) -> None:
    stream = engine.stream("hello", n=16)
    next(stream)
    stream.close()
    engine.search("x", search="none", max_tokens=2)  # runs after the cancellation
    stopped = exporter.get_finished_spans()[0]
    assert attributes(stopped)["fasttts.outcome"] == "cancelled"


def test_errors_are_recorded(exporter: InMemorySpanExporter) -> None:
    lost = BackendError("lost", role="generator")
    with FastTTS(FaultyGenerator(FakeGenerator(), {40: lost}), FakeVerifier()) as engine:
        with pytest.raises(SearchError):
            engine.search("hello", n=4, max_tokens=1, on_cut="raise")
        unanswered = only(exporter)
        with pytest.raises(BackendError):
            engine.search("hello", n=32, max_tokens=2000)
        failed = only(exporter)
        with pytest.raises(BackendError, match="the engine failed"):
            engine.search("hello", n=4)
        refused = only(exporter)
    for span, outcome, name in (
        (unanswered, "no_answer", "SearchError"),
        (failed, "failed", "BackendError"),
        (refused, "failed", "BackendError"),
    ):
        assert span.status.status_code is StatusCode.ERROR
        assert attributes(span)["fasttts.outcome"] == outcome
        assert attributes(span)["error.type"] == name
        assert [event.name for event in span.events] == ["exception"]


def test_a_cached_result_is_a_span_that_cost_nothing(
    tmp_path: Any, exporter: InMemorySpanExporter
) -> None:
    with FastTTS(FakeGenerator(), FakeVerifier(), cache=ResultCache(tmp_path)) as engine:
        engine.search("hello", n=4)
        exporter.clear()
        engine.search("hello", n=4)
    found = attributes(only(exporter))
    assert (found["fasttts.is_cached"], found["gen_ai.usage.output_tokens"]) == (True, 0)


class Broken(SpanProcessor):
    def __init__(self, *, starts: bool) -> None:
        self._starts = starts

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        if not self._starts:
            raise ValueError("no start")

    def on_end(self, span: ReadableSpan) -> None:
        raise ValueError("no end")


@pytest.mark.parametrize(("starts", "what"), [(False, "started"), (True, "ended")])
def test_a_broken_exporter_loses_no_call(
    engine: FastTTS,
    provider: TracerProvider,
    caplog: pytest.LogCaptureFixture,
    starts: bool,
    what: str,
) -> None:
    provider.add_span_processor(Broken(starts=starts))
    assert engine.search("hello", n=4).candidates
    assert f"a span could not be {what}" in caplog.text


def test_without_opentelemetry_there_are_no_spans(
    engine: FastTTS, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    assert engine.search("hello", n=4).candidates
    assert exporter.get_finished_spans() == ()


def test_without_a_provider_no_span_is_begun(
    engine: FastTTS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "get_tracer", pytest.fail)
    assert engine.search("hello", n=4).candidates
