"""Prometheus metrics: a collector that reads engines' statistics when it is scraped.

    registry = prometheus_client.CollectorRegistry()
    registry.register(EngineCollector({"math": engine}))

Nothing is registered unless the caller does it, and nothing is counted twice: the numbers are those
of `FastTTS.stats`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from fasttts.observability.histograms import Histogram
from fasttts.observability.stats import EngineStats, RequestDistributions

try:
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )
    from prometheus_client.registry import Collector
    from prometheus_client.utils import floatToGoString
except ImportError as error:
    raise ImportError("pip install 'fasttts[metrics]' for prometheus-client") from error

Family = CounterMetricFamily | GaugeMetricFamily
AnyFamily = Family | HistogramMetricFamily


class HasStats(Protocol):
    """An engine, or any other object with an engine's statistics."""

    def stats(self) -> EngineStats:
        """Returns a snapshot; called from any thread."""
        ...


@dataclass(frozen=True, slots=True)
class _Metric:
    """A metric and its values; `read` returns one for each value of `label`."""

    family: type[Family]
    name: str
    help: str
    read: Callable[[EngineStats], Mapping[str, float] | float]
    label: str | None = None


_COUNTERS = (
    _Metric(
        CounterMetricFamily,
        "fasttts_requests",
        "Calls that ended, by outcome.",
        lambda s: {str(outcome): num for outcome, num in s.requests.ended.items()},
        "outcome",
    ),
    _Metric(
        CounterMetricFamily,
        "fasttts_request_seconds",
        "From call to outcome, summed over the calls that ended.",
        lambda s: s.requests.seconds,
    ),
    _Metric(
        CounterMetricFamily,
        "fasttts_cache_lookups",
        "Calls that could be in the result cache, by whether they were.",
        lambda s: {"hit": s.requests.num_cache_hits, "miss": s.requests.num_cache_misses},
        "result",
    ),
    _Metric(
        CounterMetricFamily,
        "fasttts_iterations",
        "Iterations of the generator.",
        lambda s: s.usage.num_iterations,
    ),
    _Metric(
        CounterMetricFamily,
        "fasttts_generated_tokens",
        "Tokens the generator sampled.",
        lambda s: s.usage.generated_tokens,
    ),
    _Metric(
        CounterMetricFamily,
        "fasttts_ended_tokens",
        "Tokens of searches that ended: of the tree, of it ran ahead, wasted, recomputed.",
        lambda s: {
            "required": s.usage.required_tokens,
            "speculated": s.usage.speculated_tokens,
            "wasted": s.usage.wasted_tokens,
            "recomputed": s.usage.recomputed_tokens,
        },
        "kind",
    ),
    _Metric(
        CounterMetricFamily,
        "fasttts_drafted_tokens",
        "Drafted tokens that the generator computed for searches that ended, kept and wasted.",
        lambda s: {
            "kept": s.usage.kept_draft_tokens,
            "wasted": s.usage.drafted_tokens - s.usage.kept_draft_tokens,
        },
        "kind",
    ),
    _Metric(
        CounterMetricFamily,
        "fasttts_verifier_tokens",
        "Tokens of searches that ended, by whether the verifier computed them or its cache did.",
        lambda s: {
            "computed": s.usage.verifier_computed_tokens,
            "cached": s.usage.verifier_cached_tokens,
        },
        "kind",
    ),
    _Metric(
        CounterMetricFamily,
        "fasttts_verifications",
        "Requests to the verifier, of searches that ended.",
        lambda s: s.usage.num_verifications,
    ),
    _Metric(
        CounterMetricFamily,
        "fasttts_scores",
        "Scores of searches that ended: compared with others, tied among those, not a number.",
        lambda s: {
            "compared": s.usage.num_compared_scores,
            "tied": s.usage.num_tied_scores,
            "nan": s.usage.num_nan_scores,
        },
        "kind",
    ),
    _Metric(
        CounterMetricFamily,
        "fasttts_comparisons",
        "Decisions and rankings of searches that ended, by whether all scores were equal.",
        lambda s: {
            "flat": s.usage.num_flat_rounds,
            "told_apart": s.usage.num_compared_rounds - s.usage.num_flat_rounds,
        },
        "kind",
    ),
    _Metric(
        CounterMetricFamily,
        "fasttts_preemptions",
        "Times a sequence lost its KV blocks.",
        lambda s: s.usage.num_preemptions,
    ),
    _Metric(
        CounterMetricFamily,
        "fasttts_busy_seconds",
        "Seconds in which the loop was in the generator, or held up by the verifier.",
        lambda s: {"generator": s.usage.generation_s, "verifier": s.usage.verification_s},
        "role",
    ),
    _Metric(
        CounterMetricFamily,
        "fasttts_restarts",
        "Times the models were loaded again.",
        lambda s: s.num_restarts,
    ),
)

_GAUGES = (
    _Metric(
        GaugeMetricFamily,
        "fasttts_healthy",
        "Whether calls are accepted.",
        lambda s: float(s.health.is_healthy),
    ),
    _Metric(
        GaugeMetricFamily,
        "fasttts_open_requests",
        "Calls that have not ended.",
        lambda s: s.requests.num_open,
    ),
    _Metric(
        GaugeMetricFamily,
        "fasttts_searches",
        "Searches and plain decodings that were admitted, and those in the queue.",
        lambda s: {"running": s.gauges.num_running, "waiting": s.gauges.num_waiting},
        "state",
    ),
    _Metric(
        GaugeMetricFamily,
        "fasttts_slots",
        "Sequences that may run together.",
        lambda s: s.gauges.num_slots,
    ),
    _Metric(
        GaugeMetricFamily,
        "fasttts_slots_in_use",
        "Sequences that run, by whether a decision waits for them.",
        lambda s: {"required": s.gauges.num_required, "speculative": s.gauges.num_speculative},
        "kind",
    ),
    _Metric(
        GaugeMetricFamily,
        "fasttts_unscored_steps",
        "Steps that wait for the verifier.",
        lambda s: s.gauges.num_unscored,
    ),
    _Metric(
        GaugeMetricFamily,
        "fasttts_kv_cache_usage_ratio",
        "Share of the generator's KV cache in use.",
        lambda s: s.gauges.kv_cache_usage,
    ),
)


@dataclass(frozen=True, slots=True)
class _HistogramMetric:
    """A metric with a histogram for each search."""

    name: str
    help: str
    read: Callable[[RequestDistributions], Histogram]


_HISTOGRAMS = (
    _HistogramMetric(
        "fasttts_request_duration_seconds",
        "From call to outcome, of the calls that ended.",
        lambda d: d.seconds,
    ),
    _HistogramMetric(
        "fasttts_time_to_first_token_seconds",
        "From call to the first token that was sampled for it.",
        lambda d: d.first_token_s,
    ),
    _HistogramMetric(
        "fasttts_request_prompt_tokens",
        "Tokens of the prompt of a search.",
        lambda d: d.prompt_tokens,
    ),
    _HistogramMetric(
        "fasttts_request_generated_tokens",
        "Tokens sampled for a search, in its tree or not.",
        lambda d: d.generated_tokens,
    ),
    _HistogramMetric(
        "fasttts_speculation_acceptance_ratio",
        "Share of a search's tokens generated ahead that became part of its tree.",
        lambda d: d.acceptance,
    ),
)


class EngineCollector(Collector):
    """The metrics of engines, for a registry of prometheus-client.

    Args:
        engines: Engines by their values of the label `engine`.
    """

    def __init__(self, engines: Mapping[str, HasStats]) -> None:
        self._engines = dict(engines)

    def collect(self) -> Iterator[AnyFamily]:
        """Yields one family for each metric; called by the registry, from any thread."""
        stats = {name: engine.stats() for name, engine in self._engines.items()}
        for metric in (*_COUNTERS, *_GAUGES):
            labels = ["engine"] if metric.label is None else ["engine", metric.label]
            family = metric.family(metric.name, metric.help, labels=labels)
            for name, of_engine in stats.items():
                _add(family, name, metric.read(of_engine))
            yield family
        for one in _HISTOGRAMS:
            yield _histogram_family(one, stats)


def _add(family: Family, engine: str, values: Mapping[str, float] | float) -> None:
    if not isinstance(values, Mapping):
        family.add_metric([engine], values)
        return
    for label, value in values.items():
        family.add_metric([engine, label], value)


def _histogram_family(
    metric: _HistogramMetric, stats: Mapping[str, EngineStats]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(metric.name, metric.help, labels=["engine", "search"])
    for name, of_engine in stats.items():
        for search, distributions in of_engine.requests.distributions.items():
            histogram = metric.read(distributions)
            buckets = [
                (floatToGoString(bound), num)  # type: ignore[no-untyped-call]  # it has no annotations
                for bound, num in histogram.cumulative()
            ]
            family.add_metric([name, search], buckets, histogram.total)
    return family
