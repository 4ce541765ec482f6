"""Findings of a check, each with a verdict and what to change."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from shlex import quote
from typing import Any, Literal

from fasttts.check.advice import ANNOUNCED, PRESET, expected_seconds, serving_max_tokens
from fasttts.check.measure import Measured
from fasttts.check.speed import NUM_SEQUENCES, Speed, rate
from fasttts.check.step_rules import MOST_CUT_STEPS, MOST_SINGLE
from fasttts.check.summary import QUANTILES, Accuracy, Summary
from fasttts.check.template import Support
from fasttts.memory.units import format_bytes

Verdict = Literal["fine", "change", "note", "unknown"]
"""Nothing to do; change something; good to know; not measured."""

_TIGHT = 0.95
_LITTLE_GAIN = 1.5
_MOST_CUT = 0.05
_MOST_TIED = 0.2
_LEAST_SPREAD = 0.05
_EASY = 0.95
_HARD = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of a check.

    Attributes:
        section: Subject of the line and its neighbours.
        name: What was looked at.
        value: What was found.
        verdict: Whether something should change.
        advice: What to change, with the names of the options; empty where nothing is to be said.
        is_partial: Whether it comes from less than was planned, because time was up.
    """

    section: str
    name: str
    value: str
    verdict: Verdict = "fine"
    advice: str = ""
    is_partial: bool = False


Section = Callable[[Measured, Summary, float], Iterator[Finding]]


def find(measured: Measured, summary: Summary, latency_s: float) -> list[Finding]:
    """Judges every measurement.

    Args:
        measured: The measurements.
        summary: Their summary.
        latency_s: Seconds that an answer may take.
    """
    return [line for section in _SECTIONS for line in section(measured, summary, latency_s)]


def _memory(measured: Measured, summary: Summary, latency_s: float) -> Iterator[Finding]:
    facts, plan = measured.facts, measured.facts.plan
    is_tight = measured.num_preemptions > 0 or measured.peak_kv_cache_usage > _TIGHT
    size = "size not planned"
    if plan is not None:
        held = plan.num_blocks * plan.block_size
        size = f"{format_bytes(plan.kv_cache_memory_bytes)}, {held:,} tokens"
    lost = f", {measured.num_preemptions} preemptions" if measured.num_preemptions else ""
    yield Finding(
        section="Memory",
        name="KV cache",
        value=f"{size}; {measured.peak_kv_cache_usage:.0%} in use at most{lost}",
        verdict="change" if is_tight else "fine",
        advice="raise FASTTTS_GPU_MEMORY_UTILIZATION or FASTTTS_KV_CACHE_MEMORY_BYTES, or search "
        "with a smaller -n"
        if is_tight
        else "",
    )
    needed = measured.prompt_tokens + measured.config.max_tokens
    is_short = needed > facts.max_model_len
    yield Finding(
        section="Memory",
        name="context",
        value=f"{facts.max_model_len:,} tokens; the longest prompt has "
        f"{measured.prompt_tokens:,}, answers up to {measured.config.max_tokens:,}",
        verdict="change" if is_short else "fine",
        advice=f"set FASTTTS_MAX_MODEL_LEN={needed}, or --max-tokens "
        f"{max(1, facts.max_model_len - measured.prompt_tokens)}"
        if is_short
        else "",
    )
    yield Finding(
        section="Memory", name="batch", value=f"up to {facts.max_num_seqs:,} sequences at once"
    )


def _speed(measured: Measured, summary: Summary, latency_s: float) -> Iterator[Finding]:
    found = {speed.wanted: speed for speed in measured.speeds}
    for wanted in NUM_SEQUENCES:
        name = f"{wanted} sequence{'s' * (wanted > 1)}"
        speed = found.get(wanted)
        if speed is None:
            yield Finding(
                section="Speed",
                name=name,
                value="not measured: too slow for the time limit",
                verdict="unknown",
                is_partial=True,
            )
        elif wanted == 1:
            yield _single_speed(name, speed, measured, summary, latency_s)
        else:
            yield _batch_speed(name, speed, measured)


def _single_speed(
    name: str, speed: Speed, measured: Measured, summary: Summary, latency_s: float
) -> Finding:
    seconds = expected_seconds(measured, summary, 1, scores=False)
    is_late = seconds is not None and seconds > latency_s
    return Finding(
        section="Speed",
        name=name,
        value=f"{speed.tokens_per_s:,.0f} tokens/s"
        + ("" if seconds is None else f"; a long answer takes {seconds:,.1f} s"),
        verdict="change" if is_late else "fine",
        advice=f"more than --latency {latency_s:g}: a smaller or quantised model, a faster "
        "device, or ask for shorter answers"
        if is_late
        else "",
        is_partial=speed.is_cut,
    )


def _batch_speed(name: str, speed: Speed, measured: Measured) -> Finding:
    single = rate(measured.speeds, 1)
    gain = speed.tokens_per_s / single if single else 0.0
    is_little = gain < _LITTLE_GAIN
    ran = (
        f" ({speed.num_sequences:.0f} on average)"
        if speed.num_sequences < 0.75 * speed.wanted
        else ""
    )
    return Finding(
        section="Speed",
        name=name,
        value=f"{speed.tokens_per_s:,.0f} tokens/s, {gain:.1f} times one sequence{ran}",
        verdict="note" if is_little else "fine",
        advice="more sequences cost their full time here: keep -n small" if is_little else "",
        is_partial=speed.is_cut,
    )


_SAID: dict[Support, str] = {
    "rendered": "reach the model",
    "ignored": "are left out by the template",
    "refused": "are refused by the template",
}


def _template(measured: Measured, summary: Summary, latency_s: float) -> Iterator[Finding]:
    found = measured.template
    if found is None:
        return
    for name, support, advice in (
        (
            "questions",
            found.user,
            "the chat template does not work: use an instruction-tuned model",
        ),
        ("system messages", found.system, "--system has no effect: say it in the question"),
        ("tools", found.tools, "this model is not told of tools: bind none, chat with --no-tools"),
        ("results of tools", found.tool_replies, "this model cannot read them: bind no tools"),
    ):
        is_fine = support == "rendered"
        if name == "results of tools" and found.tools != "rendered":
            continue
        is_optional = name not in ("questions", "system messages")
        yield Finding(
            section="Template",
            name=name,
            value=_SAID[support],
            verdict="fine" if is_fine else "note" if is_optional else "change",
            advice="" if is_fine else advice,
        )
    if found.opens_thoughts:
        is_set = measured.config.thinking
        yield Finding(
            section="Template",
            name="thoughts",
            value="the prompt ends inside <think>",
            verdict="fine" if is_set else "change",
            advice="" if is_set else "--thinking, and room for thoughts in --max-tokens",
        )


def _steps(measured: Measured, summary: Summary, latency_s: float) -> Iterator[Finding]:
    if not measured.rules:
        return
    own, suiting = measured.rules[0], measured.suiting_rule
    advice = ""
    if suiting is None:
        advice = (
            "no rule gives 3 to 15 steps of use: choose among whole answers, --search best_of_n"
        )
    elif suiting is not own:
        advice = (
            f"{flags(suiting.options)}: ended by {suiting.name}, an answer has "
            f"{suiting.num_steps:g} steps of {suiting.num_tokens:g} tokens"
        )
    is_partial = _is_partial(measured)
    yield Finding(
        section="Steps",
        name="rule",
        value=f"{own.name} ends a step: {own.num_steps:g} steps an answer, {own.num_tokens:g} "
        "tokens a step (medians)",
        verdict="fine" if own.suits else "change",
        advice=advice,
        is_partial=is_partial,
    )
    yield Finding(
        section="Steps",
        name="single steps",
        value=f"{own.single_share:.0%} of the answers are one step",
        verdict="fine" if own.single_share <= MOST_SINGLE else "note",
        advice=""
        if own.single_share <= MOST_SINGLE
        else "of such answers a search sees nothing before they end",
        is_partial=is_partial,
    )
    yield Finding(
        section="Steps",
        name="cut steps",
        value=f"{own.cut_share:.0%} of the steps reach max_step_tokens="
        f"{measured.config.max_step_tokens}",
        verdict="fine" if own.cut_share <= MOST_CUT_STEPS else "change",
        advice=""
        if own.cut_share <= MOST_CUT_STEPS
        else "raise max_step_tokens, or end steps earlier: --step-pattern, --step-tokens",
        is_partial=is_partial,
    )


def flags(options: Mapping[str, Any]) -> str:
    """Writes options of a search as flags of the command line."""
    return " ".join(_flag(name, value) for name, value in options.items())


def _flag(name: str, value: Any) -> str:
    flag = f"--{name.replace('_', '-')}" if len(name) > 1 else f"-{name}"
    return flag if value is True else f"{flag} {quote(str(value))}"


def _answers(measured: Measured, summary: Summary, latency_s: float) -> Iterator[Finding]:
    is_partial = _is_partial(measured)
    yield _drawn(measured, summary)
    if summary.announced_share is None or summary.cut_share is None:
        return
    is_quiet = summary.announced_share < ANNOUNCED
    yield Finding(
        section="Answers",
        name="announced",
        value=f"{summary.announced_share:.0%}; an answer was found in {summary.answered_share:.0%}",
        verdict="change" if is_quiet else "fine",
        advice=_announcing(measured) if is_quiet else "",
        is_partial=is_partial,
    )
    is_cut = summary.cut_share > _MOST_CUT
    yield Finding(
        section="Answers",
        name="cut off",
        value=f"{summary.cut_share:.0%} at --max-tokens {measured.config.max_tokens}",
        verdict="change" if is_cut else "fine",
        advice=f"--max-tokens {serving_max_tokens(measured, summary)}" if is_cut else "",
        is_partial=is_partial,
    )
    served = "more than was seen" if summary.served_tokens is None else f"{summary.served_tokens:,}"
    yield Finding(
        section="Answers",
        name="length",
        value=f"{summary.mean_tokens or 0:,.0f} tokens on average; to serve 95 %: {served}",
        verdict="unknown" if summary.served_tokens is None else "fine",
        is_partial=is_partial,
    )


def _drawn(measured: Measured, summary: Summary) -> Finding:
    timed_out = f", {summary.num_timed_out} unfinished" if summary.num_timed_out else ""
    is_partial = _is_partial(measured)
    return Finding(
        section="Answers",
        name="samples",
        value=f"{summary.num_ended} of {measured.num_planned} planned{timed_out}",
        verdict="note" if is_partial else "fine",
        advice="time was up: a longer --time-limit tells more" if is_partial else "",
        is_partial=is_partial,
    )


def _announcing(measured: Measured) -> str:
    template = measured.template
    if measured.system is not None or (template and template.system != "rendered"):
        return "ask for a \\boxed{} answer in the question, or name its place: --answer"
    return f"--system {PRESET} asks for a \\boxed{{}} answer; check again with it"


def _accuracy(measured: Measured, summary: Summary, latency_s: float) -> Iterator[Finding]:
    is_partial, rows = _is_partial(measured), summary.accuracies
    if not rows:
        yield Finding(
            section="Accuracy",
            name="known answers",
            value="none were sampled",
            verdict="unknown",
            advice="problems with an 'answer' each tell how often the model is right: --problems",
            is_partial=is_partial,
        )
        return
    yield _single(rows[0], summary, is_partial=is_partial)
    if len(rows) > 1:
        yield from _choices(rows[0], rows[-1], is_partial=is_partial)


def _single(row: Accuracy, summary: Summary, *, is_partial: bool) -> Finding:
    share = row.majority or 0.0
    is_easy = share > _EASY
    return Finding(
        section="Accuracy",
        name="one answer",
        value=f"{share:.0%} right ({summary.num_graded} answers to {summary.num_problems} "
        "problems)",
        verdict="note" if is_easy else "fine",
        advice="too easy to tell searches apart: bring harder ones, --problems" if is_easy else "",
        is_partial=is_partial,
    )


def _choices(single: Accuracy, row: Accuracy, *, is_partial: bool) -> Iterator[Finding]:
    """Choices among samples, each of which should be better than something simpler."""
    votes = row.majority or 0.0
    base = ("a single answer", single.majority or 0.0)
    yield _choice(f"majority of {row.k}", votes, base, is_partial=is_partial)
    base = max(base, ("votes", votes), key=lambda simple: simple[1])
    for name, share in (("best", row.best), ("weighted", row.weighted)):
        if share is not None:
            yield _choice(f"{name} of {row.k}", share, base, is_partial=is_partial)
    share = row.solvable or 0.0
    is_hard = share < _HARD
    yield Finding(
        section="Accuracy",
        name=f"any of {row.k}",
        value=f"{share:.0%} hold a right answer: no choice among {row.k} does better",
        verdict="change" if is_hard else "fine",
        advice="no search finds what the model hardly ever writes: a better model, or a --system "
        "message that makes it work step by step"
        if is_hard
        else "",
        is_partial=is_partial,
    )


def _choice(name: str, share: float, base: tuple[str, float], *, is_partial: bool) -> Finding:
    is_better = share > base[1]
    return Finding(
        section="Accuracy",
        name=name,
        value=f"{share:.0%} right" + ("" if is_better else f", no better than {base[0]}"),
        verdict="fine" if is_better else "note",
        is_partial=is_partial,
    )


def _verifier(measured: Measured, summary: Summary, latency_s: float) -> Iterator[Finding]:
    if measured.facts.verifier is None:
        yield Finding(
            section="Verifier",
            name="verifier",
            value="none",
            verdict="note",
            advice="--verifier judge lets the generator judge its own steps; without one votes "
            "remain, --search self_consistency",
        )
        return
    is_partial = summary.num_scored < summary.num_ended or _is_partial(measured)
    if not summary.score_quantiles:
        yield Finding(
            section="Verifier",
            name="scores",
            value="none: time was up",
            verdict="unknown",
            advice="a longer --time-limit",
            is_partial=True,
        )
        return
    yield _spread(summary, is_partial=is_partial)
    if summary.tied_share is not None:
        yield _ties(summary, summary.tied_share, is_partial=is_partial)
    yield _separation(summary, is_partial=is_partial)
    yield Finding(
        section="Verifier",
        name="cost",
        value=f"{summary.seconds_a_score or 0.0:.3f} s to score an answer",
        is_partial=is_partial,
    )


def _spread(summary: Summary, *, is_partial: bool) -> Finding:
    low, high = summary.score_quantiles[0], summary.score_quantiles[-1]
    is_narrow = high - low < _LEAST_SPREAD
    said = ", ".join(
        f"{share:.0%} {score:.2f}"
        for share, score in zip(QUANTILES, summary.score_quantiles, strict=True)
    )
    return Finding(
        section="Verifier",
        name="scores",
        value=f"quantiles: {said} ({summary.num_scored} answers)",
        verdict="change" if is_narrow else "fine",
        advice="the scores hardly differ: another --verifier" if is_narrow else "",
        is_partial=is_partial,
    )


def _ties(summary: Summary, share: float, *, is_partial: bool) -> Finding:
    """Equal scores of siblings; where scores separate otherwise, they cost little."""
    is_tied = share > _MOST_TIED
    is_proven = summary.separation is not None and summary.separation.is_proven
    return Finding(
        section="Verifier",
        name="ties",
        value=f"{share:.0%} of the pairs of answers to a problem score the same",
        verdict="fine" if not is_tied else "note" if is_proven else "change",
        advice="between equal scores the order decides: --selection weighted lets them vote"
        if is_tied
        else "",
        is_partial=is_partial,
    )


def _separation(summary: Summary, *, is_partial: bool) -> Finding:
    found = summary.separation
    if found is None:
        return Finding(
            section="Verifier",
            name="right from wrong",
            value="not known: too few right or wrong answers with scores",
            verdict="unknown",
            advice="a longer --time-limit, or --problems of medium difficulty with answers",
            is_partial=is_partial,
        )
    within = "" if found.within is None else f"; {found.within:.2f} within a problem"
    return Finding(
        section="Verifier",
        name="right from wrong",
        value=f"AUC {found.auc:.2f}, 95 % interval {found.low:.2f} to {found.high:.2f}{within} "
        f"({found.num_right} right, {found.num_wrong} wrong)",
        verdict="fine" if found.is_proven else "change",
        advice=""
        if found.is_proven
        else "its scores do not tell right from wrong here: another --verifier, or votes, --search "
        "self_consistency",
        is_partial=is_partial,
    )


def _is_partial(measured: Measured) -> bool:
    return len(measured.ended) < measured.num_planned


_SECTIONS: tuple[Section, ...] = (
    _memory,
    _speed,
    _template,
    _steps,
    _answers,
    _accuracy,
    _verifier,
)
