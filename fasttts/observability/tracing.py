"""A span for each request, where the application has set OpenTelemetry up.

On request, spans below it for each step and each batch of the verifier. Those are made from the
search's timeline once it has ended, so that nothing is done for a token and nothing while it runs.
"""

import functools
import importlib.metadata
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fasttts.config import TracingConfig
from fasttts.errors import BackendError
from fasttts.observability.attributes import (
    BATCH_KIND,
    SCHEMA_URL,
    STEP_KIND,
    Attributes,
    batch_attributes,
    in_openinference,
    request_attributes,
    result_attributes,
    run_attributes,
    step_attributes,
)
from fasttts.scheduling.run import SearchRequest, SearchRun
from fasttts.scheduling.timeline import Timeline
from fasttts.tree import Node
from fasttts.types import SearchResult

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

logger = logging.getLogger(__name__)


class RequestSpan:
    """The span of one request, below the current one of the caller's thread or task.

    Args:
        request: The search.
        config: Which spans and attributes there are.
        generator: The generator's name.
        verifier: The verifier's; None without one.
        is_streamed: Whether the caller reads events.
    """

    def __init__(
        self,
        request: SearchRequest,
        config: TracingConfig,
        *,
        generator: str,
        verifier: str | None,
        is_streamed: bool,
    ) -> None:
        from opentelemetry import trace

        self._config = config
        self._verifier = verifier
        self._is_streamed = is_streamed
        # The loop's seconds are those of this clock, which has no date.
        self._epoch_ns = time.time_ns() - time.perf_counter_ns()
        asked = request_attributes(
            request, generator=generator, verifier=verifier, is_streamed=is_streamed
        )
        self._num_prompt_tokens = len(request.prompt_token_ids)
        self._tracer: Tracer = trace.get_tracer("fasttts", _version(), schema_url=SCHEMA_URL)
        self._span: Span = self._tracer.start_span(
            f"chat {generator}", attributes=self._in_all_names(asked)
        )

    @property
    def log_fields(self) -> dict[str, str]:
        """The ids of the trace and of the span in hexadecimal digits, for a message."""
        context = self._span.get_span_context()
        return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}

    def timeline(self) -> Timeline | None:
        """Returns a timeline for the search to keep; None where its steps are no spans."""
        return Timeline() if self._config.steps and self._span.is_recording() else None

    def found(self, result: SearchResult) -> None:
        """Ends it with a result of the result cache."""
        self._end(result.stop_reason, result_attributes(result), None)

    def refused(self, outcome: str, error: BaseException) -> None:
        """Ends it where the search was not admitted.

        Args:
            outcome: One of `fasttts.observability.stats.RequestOutcome`.
            error: The error that the caller gets.
        """
        self._end(outcome, {}, error)

    def ended(self, run: SearchRun, outcome: str, error: BaseException | None) -> None:
        """Ends it with a search that has ended, and makes the spans below it.

        Args:
            run: The search.
            outcome: One of `fasttts.observability.stats.RequestOutcome`.
            error: The error that the caller gets; None if it gets a result.
        """
        if run.timeline is not None:
            with _tolerated("the spans of steps could not be made"):
                self._make_children(run, run.timeline)
        self._end(outcome, run_attributes(run, is_streamed=self._is_streamed), error)

    def _end(self, outcome: str, told: Attributes, error: BaseException | None) -> None:
        with _tolerated("a span could not be ended"):
            self._span.set_attributes({**self._in_all_names(told), "fasttts.outcome": outcome})
            if error is not None:
                _record(self._span, error)
            self._span.end()

    def _in_all_names(self, attributes: Attributes) -> Attributes:
        if not self._config.openinference:
            return attributes
        theirs = in_openinference(attributes)
        if (num_completion_tokens := theirs.get("llm.token_count.completion")) is not None:
            theirs["llm.token_count.total"] = self._num_prompt_tokens + num_completion_tokens
        return {**attributes, **theirs}

    def _make_children(self, run: SearchRun, timeline: Timeline) -> None:
        from opentelemetry import trace

        context = trace.set_span_in_context(self._span)
        verifier = self._verifier if run.request.uses_verifier else None
        nodes = sorted([*run.tree, *run.tree.wasted], key=lambda node: node.path)
        for node in nodes:
            if (ran := _ran(node, timeline)) is not None:
                attributes = {**step_attributes(node, verifier), **self._kind(STEP_KIND)}
                self._child("step", context, ran[0], attributes).end(self._ns(ran[1]))
        for batch in timeline.batches:
            attributes = {**batch_attributes(batch, verifier), **self._kind(BATCH_KIND)}
            span = self._child(f"score {verifier}", context, batch.began_at, attributes)
            if batch.error is not None:
                _record(span, batch.error)
            span.end(self._ns(batch.ended_at))

    def _kind(self, kind: Attributes) -> Attributes:
        return kind if self._config.openinference else {}

    def _child(self, name: str, context: "Context", began_at: float, told: Attributes) -> "Span":
        return self._tracer.start_span(
            name, context=context, attributes=told, start_time=self._ns(began_at)
        )

    def _ns(self, seconds: float) -> int:
        """A time of the loop, in nanoseconds since 1970."""
        return self._epoch_ns + round(seconds * 1e9)


def begin_span(
    request: SearchRequest,
    config: TracingConfig,
    *,
    generator: str,
    verifier: str | None,
    is_streamed: bool,
) -> RequestSpan | None:
    """Starts the span of a request; None where nothing would record it, or that fails.

    Args:
        request: The search.
        config: Which spans and attributes there are.
        generator: The generator's name.
        verifier: The verifier's; None without one.
        is_streamed: Whether the caller reads events.
    """
    if not _is_traced():
        return None
    try:
        return RequestSpan(
            request, config, generator=generator, verifier=verifier, is_streamed=is_streamed
        )
    except Exception:  # the application's exporter may raise anything; no request may fail by it
        logger.exception("a span could not be started")
        return None


def _is_traced() -> bool:
    """Whether the application has set OpenTelemetry up; without that, spans record nothing."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return False
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


@functools.cache
def _version() -> str:
    """FastTTS's version; read from disk, once."""
    return importlib.metadata.version("fasttts")


@contextmanager
def _tolerated(what: str) -> Iterator[None]:
    """Logs what fails in the body: the application's exporter may raise anything.

    No request may fail by it, and one that ends is ended by the step loop.
    """
    try:
        yield
    except Exception:  # the application's exporter may raise anything
        logger.exception(what)


def _ran(node: Node, timeline: Timeline) -> tuple[float, float] | None:
    """When a node was decoded first and last; None where no iteration was."""
    if not node.ran or not timeline.iterations:
        return None
    first, last = node.ran[0], min(node.ran[-1], len(timeline.iterations)) - 1
    if len(node.ran) % 2:  # a sequence decodes it still
        last = len(timeline.iterations) - 1
    if len(node.token_ids) > len(node.limits.begins_with):
        first = min(first, last)  # its tokens may all have come with the last ones of its parent
    return (timeline.iterations[first][0], timeline.iterations[last][1]) if last >= first else None


def _record(span: "Span", error: BaseException) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.record_exception(error)
    span.set_attribute("error.type", type(error).__qualname__)
    if isinstance(error, BackendError):
        span.set_attribute("fasttts.error.role", error.role)
    span.set_status(Status(StatusCode.ERROR, str(error)))
