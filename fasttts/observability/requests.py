"""Counts, traces and logs the requests of one engine, each with one outcome."""

import collections
import logging
import threading
import time
from collections.abc import Mapping
from typing import get_args

from fasttts.config import SearchMethod, TracingConfig
from fasttts.errors import SearchError
from fasttts.observability.distributions import RequestRecorder, Taken, taken
from fasttts.observability.stats import REQUEST_OUTCOMES, RequestOutcome, RequestStats
from fasttts.observability.tracing import RequestSpan, begin_span
from fasttts.scheduling.result import is_complete, without_result
from fasttts.scheduling.run import SearchRequest, SearchRun
from fasttts.scheduling.timeline import Timeline
from fasttts.scheduling.usage import Account
from fasttts.types import SearchResult

logger = logging.getLogger(__name__)

_KNOWN_SEARCHES = frozenset(get_args(SearchMethod))


class RequestTracker:
    """The requests of an engine, from any thread, over restarts.

    Args:
        tracing: Spans and their attributes, where the application has set OpenTelemetry up.

    Attributes:
        account: Cost of the searches.
    """

    def __init__(self, tracing: TracingConfig = TracingConfig()) -> None:  # noqa: B008, immutable
        self.account = Account()
        self._tracing = tracing
        self._lock = threading.Lock()
        self._ended: collections.Counter[RequestOutcome] = collections.Counter(
            dict.fromkeys(REQUEST_OUTCOMES, 0)
        )
        self._counts: collections.Counter[str] = collections.Counter()
        self._seconds = 0.0
        self._recorders: dict[str, RequestRecorder] = {}

    def begin(
        self,
        request: SearchRequest,
        *,
        generator: str,
        verifier: str | None,
        is_streamed: bool = False,
    ) -> "TrackedRequest":
        """Registers a request in the calling thread or task; the caller has to end it once.

        Args:
            request: The request.
            generator: Name of the generator.
            verifier: Name of the verifier; None without one.
            is_streamed: Whether its caller reads events.
        """
        with self._lock:
            self._counts["num_open"] += 1
        span = begin_span(
            request,
            self._tracing,
            generator=generator,
            verifier=verifier,
            is_streamed=is_streamed,
        )
        return TrackedRequest(self, request, span)

    def looked_up(self, *, is_hit: bool) -> None:
        """Counts a lookup in the result cache."""
        with self._lock:
            self._counts["num_cache_hits" if is_hit else "num_cache_misses"] += 1

    def ended(self, search: str, outcome: RequestOutcome, taken: Taken) -> None:
        """Counts a request that has ended.

        Args:
            search: Its search.
            outcome: How it ended.
            taken: What it took.
        """
        kind = search if search in _KNOWN_SEARCHES else "custom"
        with self._lock:
            self._counts["num_open"] -= 1
            self._ended[outcome] += 1
            self._seconds += taken.seconds
            self._recorders.setdefault(kind, RequestRecorder()).add(taken)

    def stats(self) -> RequestStats:
        """Returns the counts so far."""
        with self._lock:
            ended: Mapping[RequestOutcome, int] = dict(self._ended)
            kinds = {kind: one.snapshot() for kind, one in self._recorders.items()}
            return RequestStats(
                ended=ended, seconds=self._seconds, distributions=kinds, **self._counts
            )


class TrackedRequest:
    """One request in flight.

    Args:
        requests: The tracker that counts it.
        request: The request.
        span: Its span; None where it is not traced.
    """

    def __init__(
        self, requests: RequestTracker, request: SearchRequest, span: RequestSpan | None
    ) -> None:
        self._requests = requests
        self._request = request
        self._span = span
        self._started = time.perf_counter()

    def timeline(self) -> Timeline | None:
        """Returns a timeline for the search to keep; None where its times are not asked for."""
        return None if self._span is None else self._span.timeline()

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
        if self._span is not None:
            self._span.ended(run, outcome, error)
        self._end(outcome, run)

    def refused(self, error: BaseException) -> None:
        """Records that the search could not be submitted to the loop."""
        outcome = _outcome_of(error)
        if self._span is not None:
            self._span.refused(outcome, error)
        self._end(outcome, None)

    def found(self, result: SearchResult) -> None:
        """Records a hit of the result cache."""
        if self._span is not None:
            self._span.found(result)
        self._end(result.stop_reason, None)

    def _end(self, outcome: RequestOutcome, run: SearchRun | None) -> None:
        seconds = time.perf_counter() - self._started
        search = self._request.config.search
        self._requests.ended(search, outcome, taken(seconds, run))
        fields = {"search": search, "outcome": outcome, "seconds": seconds}
        if self._span is not None:
            fields |= self._span.log_fields
        logger.debug("%s ended after %.3f s: %s", search, seconds, outcome, extra=fields)


def _outcome_of(error: BaseException) -> RequestOutcome:
    if isinstance(error, SearchError) and error.stop_reason in ("refused", "cancelled"):
        return error.stop_reason
    return "failed"
