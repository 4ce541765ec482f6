"""A configuration for the seconds that somebody is willing to wait, from measurements.

Pure: the same measurements and the same latency give the same advice.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fasttts.check.estimates import expected_seconds, serving_max_tokens
from fasttts.check.measure import Measured
from fasttts.check.summary import FEWEST_GROUPS, Accuracy, Summary, Threshold
from fasttts.config import SearchConfig, search_config

NUM_CANDIDATES = (64, 32, 16, 8, 4)
"""Sizes of a search, the largest first."""

ANNOUNCED = 0.9
"""Share of announced answers with which nothing has to change."""

PRESET = "preset:math"

_STEP_OPTIONS = ("step_separator", "step_pattern", "step_tokens", "max_step_tokens", "thinking")
_BEAM_WIDTH = 4
_EASY = 0.97
_GAIN = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A configuration, and why.

    Attributes:
        options: Options of a search.
        system: A system message, or a preset as the command line names it; None for none.
        uses_verifier: Whether the search scores; where it does not, no verifier need be loaded.
        threshold: Threshold of the router; None where every call is treated the same.
        expected_s: Estimated seconds of a long answer; None where no speed is known.
        latency_s: Seconds that were asked for.
        reasons: Why, a sentence each.
    """

    options: Mapping[str, Any]
    system: str | None
    uses_verifier: bool
    threshold: float | None
    expected_s: float | None
    latency_s: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """A way to search, before its size is known."""

    search: str
    reason: str
    selection: str | None = None
    scores: bool = False


def suggest(measured: Measured, summary: Summary, latency_s: float) -> Suggestion:
    """Chooses search, size, tokens and threshold for a latency.

    Args:
        measured: The measurements.
        summary: Their summary.
        latency_s: Seconds that an answer may take.
    """
    choice = _choose(measured, summary)
    num_candidates, size_reason = _size(choice, measured, summary, latency_s)
    if num_candidates == 1:
        choice = _Choice(search="none", reason=choice.reason)
    max_tokens, length_reason = _max_tokens(measured, summary)
    threshold = summary.threshold if choice.scores else None
    system = _system(measured, summary)
    reasons = [
        choice.reason,
        size_reason,
        length_reason,
        *_further_reasons(measured, choice, system, threshold),
    ]
    return Suggestion(
        options=_options(choice, num_candidates, max_tokens, measured),
        system=system,
        uses_verifier=choice.scores,
        threshold=None if threshold is None else threshold.threshold,
        expected_s=expected_seconds(measured, summary, num_candidates, scores=choice.scores),
        latency_s=latency_s,
        reasons=tuple(reason for reason in reasons if reason),
    )


def _options(
    choice: _Choice, num_candidates: int, max_tokens: int, measured: Measured
) -> dict[str, Any]:
    """The options of the search, without those that have no effect on it."""
    options: dict[str, Any] = {"search": choice.search}
    if num_candidates > 1:
        options["n"] = num_candidates
    if choice.selection is not None:
        options["selection"] = choice.selection
    options["max_tokens"] = max_tokens
    if choice.search == "beam_search":
        options["beam_width"] = _BEAM_WIDTH
        options |= _step_options(measured)
    return options


def _step_options(measured: Measured) -> dict[str, Any]:
    """Those of the measured search with the rule that suits, as far as they are no defaults."""
    rule, default = measured.suiting_rule, SearchConfig()
    config = search_config(measured.config, **(rule.options if rule else {}))
    return {
        name: value
        for name in _STEP_OPTIONS
        if (value := getattr(config, name)) != getattr(default, name)
    }


def _choose(measured: Measured, summary: Summary) -> _Choice:
    """The way to search that the measurements speak for, whatever the time."""
    if (plain := _plain_enough(summary)) is not None:
        return plain
    found = summary.separation
    if measured.facts.verifier is None:
        return _by_votes(summary, "there is no verifier")
    if found is None:
        why = "too few right and wrong answers were scored to tell whether the verifier helps"
        return _by_votes(summary, why)
    interval = f"{found.auc:.2f}, 95 % interval {found.low:.2f} to {found.high:.2f}"
    if not found.is_proven:
        return _by_votes(summary, f"the verifier does not separate right from wrong ({interval})")
    return _by_scores(measured, summary, f"the verifier separates right from wrong ({interval})")


def _plain_enough(summary: Summary) -> _Choice | None:
    """Plain decoding, where there is nothing to choose."""
    if summary.num_groups < FEWEST_GROUPS:
        return None
    widest = summary.accuracies[-1]
    single = summary.accuracies[0].majority or 0.0
    if single >= _EASY:
        return _Choice(search="none", reason=f"{single:.0%} of single answers are right already")
    solvable = widest.solvable or 0.0
    if solvable - single < _GAIN:
        return _Choice(
            search="none",
            reason=f"no choice could help: {widest.k} answers hold a right one for "
            f"{solvable:.0%} of the problems, one answer for {single:.0%}",
        )
    return None


def _by_votes(summary: Summary, why: str) -> _Choice:
    """Votes, unless they were measured and do not help."""
    if not summary.answered_share:
        return _Choice(search="none", reason=f"{why}, and there are no answers to vote for")
    if summary.num_groups >= FEWEST_GROUPS:
        single, widest = summary.accuracies[0], summary.accuracies[-1]
        gain = (widest.majority or 0.0) - (single.majority or 0.0)
        said = (
            f"the majority of {widest.k} is right for {widest.majority or 0.0:.0%}, a single "
            f"answer for {single.majority or 0.0:.0%}"
        )
        if gain < _GAIN:
            return _Choice(search="none", reason=f"{why}, and votes do not help: {said}")
        return _Choice(search="self_consistency", reason=f"{why}, but votes help: {said}")
    return _Choice(search="self_consistency", reason=f"{why}: votes remain")


def _by_scores(measured: Measured, summary: Summary, why: str) -> _Choice:
    """A search by scores, chosen by the rule that was best on the samples."""
    selection, said = None, ""
    rows = [row for row in summary.accuracies if row.k > 1 and row.best is not None]
    if rows and summary.num_groups >= FEWEST_GROUPS:
        selection, said = _best_selection(rows[-1])
        if selection == "majority":
            return _Choice(search="self_consistency", reason=f"{why}, but votes do better: {said}")
    if measured.suiting_rule is None:
        return _Choice(
            search="best_of_n",
            reason=f"{why}, and the answers have no steps to search over{said and ': ' + said}",
            selection=selection,
            scores=True,
        )
    return _Choice(
        search="beam_search",
        reason=f"{why}{said and '; ' + said}",
        selection=selection,
        scores=True,
    )


def _best_selection(row: Accuracy) -> tuple[str | None, str]:
    """The selection that solved most, None for the usual one, and what each solved."""
    shares = {"best": row.best, "weighted": row.weighted, "majority": row.majority}
    known = {name: share for name, share in shares.items() if share is not None}
    said = ", ".join(f"{name} of {row.k} {share:.0%}" for name, share in known.items())
    chosen = max(known, key=lambda name: known[name])
    return (None if known[chosen] - known["best"] < _GAIN else chosen), said


def _size(
    choice: _Choice, measured: Measured, summary: Summary, latency_s: float
) -> tuple[int, str]:
    """The largest search that is over in time, and the reason for its size."""
    if choice.search == "none":
        return 1, _late(measured, summary, latency_s)
    for num in NUM_CANDIDATES:
        seconds = expected_seconds(measured, summary, num, scores=choice.scores)
        if seconds is None:
            return NUM_CANDIDATES[-1], "no speed is known, so the search is a small one"
        if seconds <= latency_s:
            return num, f"{num} candidates take about {seconds:.1f} s"
    smallest = NUM_CANDIDATES[-1]
    seconds = expected_seconds(measured, summary, smallest, scores=choice.scores) or 0.0
    late = _late(measured, summary, latency_s)
    return 1, (
        f"{smallest} candidates would take about {seconds:.0f} s, more than {latency_s:g}: so "
        f"plain decoding{late and '; ' + late}"
    )


def _late(measured: Measured, summary: Summary, latency_s: float) -> str:
    seconds = expected_seconds(measured, summary, 1, scores=False)
    if seconds is None or seconds <= latency_s:
        return ""
    return f"even one long answer takes about {seconds:.0f} s on this device"


def _max_tokens(measured: Measured, summary: Summary) -> tuple[int, str]:
    found = serving_max_tokens(measured, summary)
    if summary.served_tokens is not None:
        return found, f"95 % of the answers end within {summary.served_tokens:,} tokens"
    if summary.cut_share:
        return found, f"{summary.cut_share:.0%} of the answers were cut at max_tokens"
    return found, ""


def _further_reasons(
    measured: Measured, choice: _Choice, system: str | None, threshold: Threshold | None
) -> Iterator[str]:
    rule = measured.suiting_rule
    if choice.search == "beam_search" and rule is not None and rule.options:
        yield f"ended by {rule.name}, an answer has {rule.num_steps:g} steps"
    if system is not None and system != measured.system:
        yield "too few answers are announced: the preset asks for that, and was not measured yet"
    if threshold is not None:
        yield (
            f"a draft whose steps all score {threshold.threshold:.4f} or more needs no search: "
            f"rehearsed on the samples, {threshold.searched_share:.0%} of the calls search, for "
            f"{threshold.tokens_share:.0%} of the tokens; `fasttts calibrate-router` measures it"
        )


def _system(measured: Measured, summary: Summary) -> str | None:
    """The given system message, or the preset where few answers are announced."""
    if measured.system is not None:
        return measured.system
    template = measured.template
    is_quiet = summary.announced_share is not None and summary.announced_share < ANNOUNCED
    can_say = template is not None and template.system == "rendered"
    return PRESET if is_quiet and can_say else None
