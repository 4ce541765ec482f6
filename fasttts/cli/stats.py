"""`--stats`: the counts of a search."""

from collections.abc import Iterable, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from fasttts.types import Numerics, SearchResult

_Row = tuple[str, str, str]
"""A label, a count, and a remark."""

_NUMERICS: Mapping[Numerics, str] = {
    "default": "may depend on what shared the batch",
    "deterministic": "nothing known depends on the batch",
}


def stats_view(result: SearchResult) -> RenderableType:
    """Tabulates the counts of one search, section by section."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    for title, rows in (
        ("Iterations", _iterations(result)),
        ("Generator", _generator(result)),
        ("Verifier", _verifier(result)),
        ("Seconds", _seconds(result)),
    ):
        table.add_row(Text(title, style="bold"))
        for label, value, remark in rows:
            table.add_row(f"  {label}", value, remark)
        table.add_section()
    return table


def _iterations(result: SearchResult) -> Iterable[_Row]:
    occupancy = result.occupancy
    num_iterations, num_plain = len(occupancy.required), len(occupancy.plain)
    required, speculative = _mean(occupancy.required), _mean(occupancy.speculative)
    yield "this search", f"{num_iterations:,}", "steps of the generator"
    yield "plain loop", f"{num_plain:,}", f"ratio {_ratio(num_iterations, num_plain)}"
    sequences = f"{required:.1f} required, {speculative:.1f} speculative"
    yield "mean slots in use", f"{required + speculative:.1f}", sequences
    yield "in the plain loop", f"{_mean(occupancy.plain):.1f}", ""
    num_passes = sum(occupancy.required) + sum(occupancy.speculative)
    a_pass = _ratio(result.usage.generated_tokens, num_passes)
    yield "tokens an iteration", a_pass, "of each sequence"


def _generator(result: SearchResult) -> Iterable[_Row]:
    usage = result.usage
    wasted = usage.generated_tokens - usage.required_tokens
    yield "tokens generated", f"{usage.generated_tokens:,}", "on all beams"
    yield "required", f"{usage.required_tokens:,}", "part of the search tree"
    yield "returned", f"{usage.returned_tokens:,}", "part of the answer"
    yield "speculative, used", f"{usage.speculated_tokens:,}", "ready before they were asked for"
    yield "speculative, wasted", f"{wasted:,}", f"ratio {_ratio(wasted, usage.generated_tokens)}"
    yield "drafted", f"{usage.drafted_tokens:,}", "looked up in the search's text"
    yield "drafted, kept", f"{usage.kept_draft_tokens:,}", "as the sampling rule drew them"
    yield "recomputed", f"{usage.recomputed_tokens:,}", "prefixes not in the cache"
    yield "preemptions", f"{usage.num_preemptions:,}", ""
    yield "peak KV cache use", f"{usage.peak_kv_cache_usage:.1%}", ""
    yield "numerics", result.numerics, _NUMERICS[result.numerics]


def _verifier(result: SearchResult) -> Iterable[_Row]:
    usage = result.usage
    yield "tokens computed", f"{usage.verifier_computed_tokens:,}", ""
    yield "tokens cached", f"{usage.verifier_cached_tokens:,}", "supplied by its prefix cache"
    yield "requests", f"{usage.num_verifications:,}", ""
    scores, tied = usage.num_compared_scores, usage.num_tied_scores
    yield "scores compared", f"{scores:,}", f"{tied:,} equal to that of another text"
    rounds, flat = usage.num_compared_rounds, usage.num_flat_rounds
    yield "comparisons", f"{rounds:,}", f"{flat:,} in which all scores were equal"
    yield "not a number", f"{usage.num_nan_scores:,}", "scores that count as 0"


def _seconds(result: SearchResult) -> Iterable[_Row]:
    timings = result.timings
    other_s = timings.total_s - timings.generation_s - timings.verification_s
    yield "total", f"{timings.total_s:.3f}", ""
    yield "generator", f"{timings.generation_s:.3f}", ""
    yield "verifier", f"{timings.verification_s:.3f}", ""
    yield (
        "everything else",
        f"{max(0.0, other_s):.3f}",
        "scheduling, other searches",
    )


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values) if values else 0.0


def _ratio(part: int, whole: int) -> str:
    return f"{part / whole:.2f}" if whole else "-"
