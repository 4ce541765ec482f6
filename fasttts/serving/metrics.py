"""Metrics of the server beside those of its engine."""

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from fasttts.engine import FastTTS
from fasttts.observability.prometheus import EngineCollector
from fasttts.serving.admission import Admission

CONTENT_TYPE = CONTENT_TYPE_LATEST


class ServerMetrics:
    """Counts responses; a registry of its own, so that a process may hold several servers.

    Args:
        engine: The engine.
        name: Its name in the metrics.
        admission: The requests in work.
    """

    def __init__(self, engine: FastTTS, name: str, admission: Admission) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(EngineCollector({name: engine}))
        self._responses = Counter(
            "fasttts_http_responses",
            "Responses, by endpoint and status; 499 where the client left first.",
            ["endpoint", "status"],
            registry=self._registry,
        )
        open_requests = Gauge(
            "fasttts_http_open_requests", "Requests in work.", registry=self._registry
        )
        open_requests.set_function(lambda: admission.num_open)

    def count(self, endpoint: str, status: int) -> None:
        """Counts a response.

        Args:
            endpoint: The path.
            status: The HTTP status.
        """
        self._responses.labels(endpoint, str(status)).inc()

    def text(self) -> bytes:
        """Everything, in Prometheus's text format."""
        return generate_latest(self._registry)
