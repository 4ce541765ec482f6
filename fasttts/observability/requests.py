"""Counts, traces and logs the requests of one engine, each with one outcome."""

import collections
import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping

from fasttts.errors import SearchError
from fasttts.observability.stats import REQUEST_OUTCOMES, RequestOutcome, RequestStats
from fasttts.observability.tracing import (
    Attributes,
    begin_span,
    end_span,
    result_attributes,
    run_attributes,
)
from fasttts.scheduling.result import is_complete, without_result
from fasttts.scheduling.run import SearchRequest, SearchRun
from fasttts.scheduling.usage import Account
from fasttts.types import SearchResult

logger = logging.getLogger(__name__)


class RequestTracker:
    """The requests of an engine, from any thread, over restarts.

    Attributes:
        account: Cost of the searches.
    """

    def __init__(self) -> None:
        self.account = Account()
        self._lock = threading.Lock()
        self._ended: collections.Counter[RequestOutcome] = collections.Counter(
            dict.fromkeys(REQUEST_OUTCOMES, 0)
        )
        self._counts: collections.Counter[str] = collections.Counter()
        self._seconds = 0.0

    def begin(
        self, request: SearchRequest, *, generator: str, verifier: str | None
    ) -> "TrackedRequest":
        """Registers a request in the calling thread or task; the caller has to end it once.

        Args:
            request: The request.
            generator: Name of the generator.
            verifier: Name of the verifier; None without one.
        """
        with self._lock:
            self._counts["num_open"] += 1
        return TrackedRequest(self, request, generator=generator, verifier=verifier)

    def looked_up(self, *, is_hit: bool) -> None:
        """Counts a lookup in the result cache."""
        with self._lock:
            self._counts["num_cache_hits" if is_hit else "num_cache_misses"] += 1

    def ended(self, outcome: RequestOutcome, seconds: float) -> None:
        """Counts a request that has ended.

        Args:
            outcome: How it ended.
            seconds: Seconds from call to outcome.
        """
        with self._lock:
            self._counts["num_open"] -= 1
            self._ended[outcome] += 1
            self._seconds += seconds

    def stats(self) -> RequestStats:
        """Returns the counts so far."""
        with self._lock:
            ended: Mapping[RequestOutcome, int] = dict(self._ended)
            return RequestStats(ended=ended, seconds=self._seconds, **self._counts)


class TrackedRequest:
    """One request in flight.

    Args:
        requests: The tracker that counts it.
        request: The request.
        generator: Name of the generator.
        verifier: Name of the verifier; None without one.
    """

    def __init__(
        self,
        requests: RequestTracker,
        request: SearchRequest,
        *,
        generator: str,
        verifier: str | None,
    ) -> None:
        self._requests = requests
        self._request = request
        self._span = None
        if _is_traced():
            self._span = begin_span(request, generator=generator, verifier=verifier)
        self._started = time.perf_counter()

    def ended(self, run: SearchRun, error: BaseException | None) -> None:
        """Records the end of the search; called by the loop's thread.

        Args:
            run: The ended run.
            error: The error that ended it; None if none did.
        """
        outcome: RequestOutcome = run.budget.stop_reason
        if error is not None:
            outcome = _outcome_of(error)
        elif not is_complete(run):
            outcome, error = "no_answer", without_result(run)
        self._end(outcome, lambda: run_attributes(run), error)

    def refused(self, error: BaseException) -> None:
        """Records that the search could not be submitted to the loop."""
        self._end(_outcome_of(error), dict, error)

    def found(self, result: SearchResult) -> None:
        """Records a hit of the result cache."""
        self._end(result.stop_reason, lambda: result_attributes(result), None)

    def _end(
        self,
        outcome: RequestOutcome,
        describe: Callable[[], Attributes],
        error: BaseException | None,
    ) -> None:
        seconds = time.perf_counter() - self._started
        self._requests.ended(outcome, seconds)
        if self._span is not None:
            end_span(self._span, outcome, describe(), error)
        search = self._request.config.search
        fields = {"search": search, "outcome": outcome, "seconds": seconds}
        logger.debug("%s ended after %.3f s: %s", search, seconds, outcome, extra=fields)


def _is_traced() -> bool:
    """Whether the application has set OpenTelemetry up; without that, spans record nothing."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return False
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _outcome_of(error: BaseException) -> RequestOutcome:
    if isinstance(error, SearchError) and error.stop_reason in ("refused", "cancelled"):
        return error.stop_reason
    return "failed"
