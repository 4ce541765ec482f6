"""A span for each request, where OpenTelemetry's API is installed.

Attributes have the names of OpenTelemetry's conventions for generative AI where there is one, and
begin with `fasttts.` otherwise. Texts are not among them.
"""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fasttts.errors import BackendError
from fasttts.scheduling.run import SearchRequest, SearchRun
from fasttts.scheduling.usage import token_counts
from fasttts.types import SearchResult

if TYPE_CHECKING:
    from opentelemetry.trace import Span

logger = logging.getLogger(__name__)

Attributes = dict[str, Any]


def begin_span(request: SearchRequest, *, generator: str, verifier: str | None) -> "Span | None":
    """Starts a span below the current one of the caller's thread or task; None where that fails.

    Args:
        request: The search.
        generator: The generator's name.
        verifier: The verifier's; None without one.
    """
    from opentelemetry import trace

    try:
        return trace.get_tracer("fasttts").start_span(
            f"chat {generator}", attributes=_asked(request, generator, verifier)
        )
    except Exception:  # the application's exporter may raise anything; no request may fail by it
        logger.exception("a span could not be started")
        return None


def end_span(span: "Span", outcome: str, found: Attributes, error: BaseException | None) -> None:
    """Ends a span with the outcome of the request.

    Args:
        span: From `begin_span`.
        outcome: One of `fasttts.observability.stats.RequestOutcome`.
        found: Attributes from `run_attributes` or `result_attributes`.
        error: The error that the caller gets; None if it gets a result.
    """
    try:
        span.set_attributes({**found, "fasttts.outcome": outcome})
        if error is not None:
            _record(span, error)
        span.end()
    except Exception:  # as above; the caller is the step loop
        logger.exception("a span could not be ended")


def run_attributes(run: SearchRun) -> Attributes:
    """Attributes of an ended search: its cost and its candidates' finish reasons, in path order."""
    reasons = [str(node.finish_reason) for node in run.ended_nodes()]
    return {
        **_told(token_counts(run.counts, run.tree), reasons),
        "fasttts.usage.num_iterations": run.counts.num_iterations,
        "fasttts.is_cached": False,
    }


def result_attributes(result: SearchResult) -> Attributes:
    """Attributes of a result from the result cache: nothing was generated for it."""
    candidates = sorted(result.candidates, key=lambda candidate: candidate.path)
    return {
        **_told({"generated_tokens": 0}, [one.finish_reason for one in candidates]),
        "fasttts.is_cached": True,
    }


def _told(counts: Mapping[str, int], reasons: list[str]) -> Attributes:
    return {
        "gen_ai.usage.output_tokens": counts["generated_tokens"],
        "gen_ai.response.finish_reasons": reasons,
        **{f"fasttts.usage.{name}": count for name, count in counts.items()},
    }


def _asked(request: SearchRequest, generator: str, verifier: str | None) -> Attributes:
    config = request.config
    asked = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "fasttts",
        "gen_ai.request.model": generator,
        "gen_ai.response.model": generator,
        "gen_ai.request.max_tokens": config.max_tokens,
        "gen_ai.request.temperature": config.sampling.temperature,
        "gen_ai.request.top_k": config.top_k,
        "gen_ai.request.top_p": config.top_p,
        "gen_ai.request.stop_sequences": config.stop,
        "gen_ai.usage.input_tokens": len(request.prompt_token_ids),
        "fasttts.search": config.search,
        "fasttts.n": config.n,
        "gen_ai.request.seed": config.seed,
    }
    if request.uses_verifier and verifier is not None:
        asked["fasttts.verifier"] = verifier
    return asked


def _record(span: "Span", error: BaseException) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.record_exception(error)
    span.set_attribute("error.type", type(error).__qualname__)
    if isinstance(error, BackendError):
        span.set_attribute("fasttts.error.role", error.role)
    span.set_status(Status(StatusCode.ERROR, str(error)))
