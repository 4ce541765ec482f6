"""Spans of steps and of the verifier's batches, and the attributes of OpenInference."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider, sampling
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.trace import StatusCode

from fasttts import BackendError, ConfigurationError, FastTTS, SearchResult, __version__
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.config import SchedulingConfig, TracingConfig, engine_config
from fasttts.engine.result_cache import ResultCache
from fasttts.testing.faults import FaultyVerifier
from fasttts.types.record import RecordedNode
from tests.drafters import Oracle
from tests.searches import UNTIMED

STEPS = TracingConfig(steps=True)

OPENINFERENCE = {
    "llm.invocation_parameters",
    "llm.model_name",
    "llm.provider",
    "llm.system",
    "llm.token_count.completion",
    "llm.token_count.prompt",
    "llm.token_count.total",
    "openinference.span.kind",
}
"""Names of openinference-semantic-conventions 0.1.32."""


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    return exported_by(TracerProvider(shutdown_on_exit=False), monkeypatch)


def exported_by(provider: TracerProvider, monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What the process's tracer provider exports for one test."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


@pytest.fixture(params=[0, 16], ids=["plain", "drafting"])
def engine(request: pytest.FixtureRequest) -> Iterator[FastTTS]:
    """Without drafts, and with those that are right over the ends of steps."""
    generator = FakeGenerator(max_draft_tokens=request.param, drafter=Oracle())
    scheduling = UNTIMED.model_copy(update={"draft_rule": "always", "draft_tokens": 16})
    with FastTTS(generator, FakeVerifier(), scheduling=scheduling, tracing=STEPS) as engine:
        yield engine


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def named(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.name.startswith(name)]


def dotted(node: RecordedNode) -> str:
    return ".".join(map(str, node.path))


def tree(result: SearchResult) -> list[Any]:
    nodes = [node for node in result.record.nodes if node.fate != "wasted"]
    return [(node.path, node.steps, node.score, node.fate) for node in nodes]


def summed(spans: list[ReadableSpan], name: str) -> int:
    total: int = sum(attributes(span)[name] for span in spans)
    return total


def test_each_step_is_a_span_below_the_request_s(
    engine: FastTTS, exporter: InMemorySpanExporter
) -> None:
    result = engine.search("hello", n=8)
    (request,) = named(exporter, "chat")
    steps = named(exporter, "step")
    assert all(span.parent == request.context for span in steps)
    in_tree = [span for span in steps if attributes(span)["fasttts.step.is_in_tree"]]
    assert [attributes(span)["fasttts.step.path"] for span in in_tree] == [
        dotted(node) for node in result.record.nodes if node.fate != "wasted"
    ]
    assert summed(steps, "fasttts.step.num_tokens") == result.usage.generated_tokens
    assert summed(in_tree, "fasttts.step.num_tokens") == result.usage.required_tokens
    ahead = "fasttts.step.num_speculated_tokens"
    assert summed(in_tree, ahead) == result.usage.speculated_tokens > 0


def test_their_times_are_those_of_the_search(
    engine: FastTTS, exporter: InMemorySpanExporter
) -> None:
    before = time.time_ns()
    engine.search("hello", n=8)
    after = time.time_ns()
    (request,) = named(exporter, "chat")
    begun = {}
    for span in exporter.get_finished_spans():
        assert span.start_time is not None
        assert span.end_time is not None
        assert before - 10**7 < span.start_time <= span.end_time < after + 10**7
        begun[attributes(span).get("fasttts.step.path")] = (span.start_time, span.end_time)
    assert request.start_time is not None
    for path, (_, end) in begun.items():
        if path is not None and (child := begun.get(f"{path}.0")) is not None:
            assert child[0] >= begun[path][0]
            assert end <= child[1]


def test_scores_have_the_conventions_names(engine: FastTTS, exporter: InMemorySpanExporter) -> None:
    result = engine.search("hello", n=4)
    conventions = {name for name in vars(gen_ai_attributes).values() if isinstance(name, str)}
    scores = {}
    for span in named(exporter, "step"):
        told = attributes(span)
        assert {name for name in told if not name.startswith("fasttts.")} <= conventions
        if "gen_ai.evaluation.score.value" in told:
            assert told["gen_ai.evaluation.name"] == "fake-verifier"
            scores[told["fasttts.step.path"]] = told["gen_ai.evaluation.score.value"]
        assert "gen_ai.usage.output_tokens" not in told  # readers add those of all spans up
    scored = [node for node in result.record.nodes if node.scored_at is not None and node.steps]
    assert {dotted(node): node.steps[-1].score for node in scored}.items() <= scores.items()
    assert scored


def test_each_batch_of_the_verifier_is_a_span(
    engine: FastTTS, exporter: InMemorySpanExporter
) -> None:
    result = engine.search("hello", n=8)
    (request,) = named(exporter, "chat")
    batches = named(exporter, "score fake-verifier")
    assert all(span.parent == request.context for span in batches)
    usage = result.usage
    assert summed(batches, "fasttts.batch.num_requests") == usage.num_verifications > 0
    assert summed(batches, "fasttts.batch.num_computed_tokens") == usage.verifier_computed_tokens
    assert summed(batches, "fasttts.batch.num_cached_tokens") == usage.verifier_cached_tokens
    assert summed(batches, "fasttts.batch.num_steps") >= usage.num_verifications


def test_a_shared_batch_is_a_span_of_each_of_its_searches(
    engine: FastTTS, exporter: InMemorySpanExporter
) -> None:
    engine.search_many(["hello", "world"], n=8)
    requests = named(exporter, "chat")
    batches = named(exporter, "score")
    parents = {span.parent.span_id for span in batches if span.parent}
    assert parents == {span.context.span_id for span in requests if span.context}
    shared = [span for span in batches if attributes(span)["fasttts.batch.num_searches"] == 2]
    parents_of_shared = [span.parent.span_id for span in shared if span.parent]
    assert {parents_of_shared.count(parent) for parent in parents} == {len(shared) // 2}
    assert shared


def test_plain_decoding_is_one_step_and_is_not_scored(
    engine: FastTTS, exporter: InMemorySpanExporter
) -> None:
    engine.search("hello", search="none")
    (step,) = named(exporter, "step")
    assert attributes(step)["fasttts.step.finish_reason"] in ("stop", "length")
    assert "gen_ai.evaluation.score.value" not in attributes(step)
    assert named(exporter, "score") == []


def test_a_failed_batch_is_recorded(exporter: InMemorySpanExporter) -> None:
    lost = BackendError("lost", role="verifier")
    verifier = FaultyVerifier(FakeVerifier(), {1: lost})
    with (
        FastTTS(FakeGenerator(), verifier, tracing=STEPS) as engine,
        pytest.raises(BackendError, match="lost"),
    ):
        engine.search("hello", n=4)
    (batch,) = named(exporter, "score")
    assert batch.status.status_code is StatusCode.ERROR
    assert attributes(batch)["error.type"] == "BackendError"
    assert attributes(batch)["fasttts.error.role"] == "verifier"
    assert named(exporter, "step")


def test_a_cached_result_has_no_steps(tmp_path: Any, exporter: InMemorySpanExporter) -> None:
    cache = ResultCache(tmp_path)
    with FastTTS(FakeGenerator(), FakeVerifier(), cache=cache, tracing=STEPS) as engine:
        engine.search("hello", n=4)
        exporter.clear()
        engine.search("hello", n=4)
    assert [span.name for span in exporter.get_finished_spans()] == ["chat fake-generator"]


def test_off_there_are_none(exporter: InMemorySpanExporter) -> None:
    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        engine.search("hello", n=4)
    (span,) = exporter.get_finished_spans()
    assert not [name for name in attributes(span) if name.startswith(("llm.", "openinference."))]


def test_a_request_that_is_not_sampled_keeps_no_times(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = TracerProvider(sampler=sampling.ALWAYS_OFF, shutdown_on_exit=False)
    exporter = exported_by(provider, monkeypatch)
    with FastTTS(FakeGenerator(), FakeVerifier(), tracing=STEPS) as engine:
        handle = engine.submit("hello", n=4)
        assert handle.result().candidates
    assert exporter.get_finished_spans() == ()


@pytest.mark.parametrize("scheduling", [UNTIMED, SchedulingConfig(early_verification=False)])
def test_results_are_the_same(scheduling: SchedulingConfig, exporter: InMemorySpanExporter) -> None:
    def found(tracing: TracingConfig) -> SearchResult:
        with FastTTS(
            FakeGenerator(), FakeVerifier(), scheduling=scheduling, tracing=tracing
        ) as engine:
            return engine.search("hello", n=8, seed=5)

    off, on = found(TracingConfig()), found(TracingConfig(steps=True, openinference=True))
    assert (on.text, on.candidates, on.votes) == (off.text, off.candidates, off.votes)
    assert tree(on) == tree(off)
    assert exporter.get_finished_spans()


def test_openinference_s_names_are_added_on_request(exporter: InMemorySpanExporter) -> None:
    both = TracingConfig(steps=True, openinference=True)
    with FastTTS(FakeGenerator(), FakeVerifier(), tracing=both) as engine:
        result = engine.search("hello", n=4, seed=3)
    (request,) = named(exporter, "chat")
    told = attributes(request)
    theirs = {name: told[name] for name in told if name.startswith(("llm.", "openinference."))}
    assert set(theirs) == OPENINFERENCE
    asked = json.loads(theirs.pop("llm.invocation_parameters"))
    assert (asked["seed"], asked["max_tokens"]) == (3, 1024)
    prompt, completion = result.usage.prompt_tokens, result.usage.generated_tokens
    assert theirs == {
        "llm.model_name": "fake-generator",
        "llm.provider": "fasttts",
        "llm.system": "fasttts",
        "llm.token_count.completion": completion,
        "llm.token_count.prompt": prompt,
        "llm.token_count.total": prompt + completion,
        "openinference.span.kind": "LLM",
    }
    kinds = {
        (span.name, attributes(span)["openinference.span.kind"])
        for span in exporter.get_finished_spans()
    }
    assert kinds == {
        ("chat fake-generator", "LLM"),
        ("step", "CHAIN"),
        ("score fake-verifier", "EVALUATOR"),
    }


def test_spans_name_the_version_of_their_names(
    engine: FastTTS, exporter: InMemorySpanExporter
) -> None:
    engine.search("hello", search="none")
    scopes = {span.instrumentation_scope for span in exporter.get_finished_spans()}
    (scope,) = scopes
    assert scope is not None
    assert (scope.name, scope.version) == ("fasttts", __version__)
    assert scope.schema_url == Schemas.V1_41_1.value


def test_the_environment_asks_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine_config().tracing == TracingConfig()
    monkeypatch.setenv("FASTTTS_TRACING", '{"steps": true}')
    assert engine_config().tracing == STEPS
    monkeypatch.setenv("FASTTTS_TRACING", '{"step": true}')
    with pytest.raises(ConfigurationError, match="did you mean 'steps'"):
        engine_config()
