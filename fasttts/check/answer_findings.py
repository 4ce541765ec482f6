"""Findings about steps, answers, and how often they are right."""

from collections.abc import Iterator

from fasttts.check.advice import ANNOUNCED, PRESET
from fasttts.check.estimates import serving_max_tokens
from fasttts.check.finding import Finding, flags
from fasttts.check.measure import Measured
from fasttts.check.step_rules import MOST_CUT_STEPS, MOST_SINGLE, StepStatistics
from fasttts.check.summary import Accuracy, Summary

_MOST_CUT = 0.05
_EASY = 0.95
_HARD = 0.1


def step_findings(measured: Measured) -> Iterator[Finding]:
    """Yields the step rule, answers of one step, and steps that are cut."""
    if not measured.rules:
        return
    own, is_partial = measured.rules[0], measured.is_partial
    yield Finding.judged(
        "Steps",
        "rule",
        f"{own.name} ends a step: {own.num_steps:g} steps an answer, {own.num_tokens:.0f} tokens a "
        "step (medians)",
        is_fine=own.suits,
        advice=_other_rule(measured.suiting_rule),
        is_partial=is_partial,
    )
    yield Finding.judged(
        "Steps",
        "single steps",
        f"{own.single_share:.0%} of the answers are one step",
        is_fine=own.single_share <= MOST_SINGLE,
        advice="of such answers a search sees nothing before they end",
        otherwise="note",
        is_partial=is_partial,
    )
    yield Finding.judged(
        "Steps",
        "cut steps",
        f"{own.cut_share:.0%} of the steps reach max_step_tokens={measured.config.max_step_tokens}",
        is_fine=own.cut_share <= MOST_CUT_STEPS,
        advice="raise max_step_tokens, or end steps earlier: --step-pattern, --step-tokens",
        is_partial=is_partial,
    )


def _other_rule(suiting: StepStatistics | None) -> str:
    if suiting is None:
        return "no rule gives 3 to 15 steps of use: choose among whole answers, --search best_of_n"
    return (
        f"{flags(suiting.options)}: ended by {suiting.name}, an answer has "
        f"{suiting.num_steps:g} steps of {suiting.num_tokens:.0f} tokens"
    )


def answer_findings(measured: Measured, summary: Summary) -> Iterator[Finding]:
    """Yields the samples, and how many announce an answer and are cut.

    Args:
        measured: The measurements.
        summary: Their summary.
    """
    is_partial = measured.is_partial
    timed_out = f", {summary.num_timed_out} unfinished" if summary.num_timed_out else ""
    yield Finding.judged(
        "Answers",
        "samples",
        f"{summary.num_ended} of {measured.num_planned} planned{timed_out}",
        is_fine=not is_partial,
        advice="time was up: a longer --time-limit tells more",
        otherwise="note",
        is_partial=is_partial,
    )
    if summary.announced_share is None or summary.cut_share is None:
        return
    yield Finding.judged(
        "Answers",
        "announced",
        f"{summary.announced_share:.0%}; an answer was found in {summary.answered_share:.0%}",
        is_fine=summary.announced_share >= ANNOUNCED,
        advice=_announcing(measured),
        is_partial=is_partial,
    )
    yield Finding.judged(
        "Answers",
        "cut off",
        f"{summary.cut_share:.0%} at --max-tokens {measured.config.max_tokens}",
        is_fine=summary.cut_share <= _MOST_CUT,
        advice=f"--max-tokens {serving_max_tokens(measured, summary)}",
        is_partial=is_partial,
    )
    served = "more than was seen" if summary.served_tokens is None else f"{summary.served_tokens:,}"
    yield Finding.judged(
        "Answers",
        "length",
        f"{summary.mean_tokens or 0:,.0f} tokens on average; to serve 95 %: {served}",
        is_fine=summary.served_tokens is not None,
        otherwise="unknown",
        is_partial=is_partial,
    )


def _announcing(measured: Measured) -> str:
    template = measured.template
    if measured.system is not None or (template and template.system != "rendered"):
        return "ask for a \\boxed{} answer in the question, or name its place: --answer"
    return f"--system {PRESET} asks for a \\boxed{{}} answer; check again with it"


def accuracy_findings(measured: Measured, summary: Summary) -> Iterator[Finding]:
    """Yields how often one answer, and a choice among several, is right.

    Args:
        measured: The measurements.
        summary: Their summary.
    """
    is_partial, rows = measured.is_partial, summary.accuracies
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
    share = rows[0].majority or 0.0
    yield Finding.judged(
        "Accuracy",
        "one answer",
        f"{share:.0%} right ({summary.num_graded} answers to {summary.num_problems} problems)",
        is_fine=share <= _EASY,
        advice="too easy to tell searches apart: bring harder ones, --problems",
        otherwise="note",
        is_partial=is_partial,
    )
    if len(rows) > 1:
        yield from _choices(rows[0], rows[-1], is_partial=is_partial)


def _choices(single: Accuracy, row: Accuracy, *, is_partial: bool) -> Iterator[Finding]:
    """Choices among samples, each of which should be better than something simpler."""
    votes = row.majority or 0.0
    base = ("a single answer", single.majority or 0.0)
    yield _choice(f"majority of {row.k}", votes, base, is_partial=is_partial)
    base = max(base, ("votes", votes), key=lambda simple: simple[1])
    for name, share in (("best", row.best), ("weighted", row.weighted)):
        if share is not None:
            yield _choice(f"{name} of {row.k}", share, base, is_partial=is_partial)
    solvable = row.solvable or 0.0
    yield Finding.judged(
        "Accuracy",
        f"any of {row.k}",
        f"{solvable:.0%} hold a right answer: no choice among {row.k} does better",
        is_fine=solvable >= _HARD,
        advice="no search finds what the model hardly ever writes: a better model, or a --system "
        "message that makes it work step by step",
        is_partial=is_partial,
    )


def _choice(name: str, share: float, base: tuple[str, float], *, is_partial: bool) -> Finding:
    is_better = share > base[1]
    return Finding.judged(
        "Accuracy",
        name,
        f"{share:.0%} right" + ("" if is_better else f", no better than {base[0]}"),
        is_fine=is_better,
        otherwise="note",
        is_partial=is_partial,
    )
