"""Findings about the verifier's scores."""

from collections.abc import Iterator

from fasttts.check.finding import Finding
from fasttts.check.labelled import LabelledScores
from fasttts.check.measure import Measured
from fasttts.check.summary import QUANTILES, Summary

_MOST_TIED = 0.2
_LEAST_SPREAD = 0.05
_MOST_MISCALIBRATED = 0.1


def verifier_findings(measured: Measured, summary: Summary) -> Iterator[Finding]:
    """Yields the spread of scores, ties, the separation of right from wrong, and the cost.

    Args:
        measured: The measurements.
        summary: Their summary.
    """
    if measured.facts.verifier is None:
        yield Finding(
            section="Verifier",
            name="verifier",
            value="none",
            verdict="note",
            advice="--verifier judge lets the generator judge its own steps, --verifier "
            "mean_confidence reads its log-probabilities; without one votes remain, --search "
            "self_consistency",
        )
        return
    if measured.labelled is not None:
        yield from _labelled(measured.labelled)
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
    is_partial = summary.num_scored < measured.num_to_score or measured.is_partial
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
    quantiles = zip(QUANTILES, summary.score_quantiles, strict=True)
    said = ", ".join(f"{share:.0%} {score:.2f}" for share, score in quantiles)
    return Finding.judged(
        "Verifier",
        "scores",
        f"quantiles: {said} ({summary.num_scored} answers)",
        is_fine=summary.score_quantiles[-1] - summary.score_quantiles[0] >= _LEAST_SPREAD,
        advice="the scores hardly differ: another --verifier",
        is_partial=is_partial,
    )


def _ties(summary: Summary, share: float, *, is_partial: bool) -> Finding:
    """Equal scores of siblings; where scores separate otherwise, they cost little."""
    is_proven = summary.separation is not None and summary.separation.is_proven
    return Finding.judged(
        "Verifier",
        "ties",
        f"{share:.0%} of the pairs of answers to a problem score the same",
        is_fine=share <= _MOST_TIED,
        advice="between equal scores the order decides: --selection weighted lets them vote",
        otherwise="note" if is_proven else "change",
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
    return Finding.judged(
        "Verifier",
        "right from wrong",
        f"AUC {found.auc:.2f}, 95 % interval {found.low:.2f} to {found.high:.2f}{within} "
        f"({found.num_right} right, {found.num_wrong} wrong)",
        is_fine=found.is_proven,
        advice="its scores do not tell right from wrong here: another --verifier, or votes, "
        "--search self_consistency",
        is_partial=is_partial,
    )


def _labelled(found: LabelledScores) -> Iterator[Finding]:
    """How scores rank labelled steps, and how near they are to the labels."""
    quality, is_partial = found.quality, found.num_scored < found.num_rollouts
    counts = f"{quality.num_steps:,} steps of {quality.num_problems:,} problems"
    if quality.auc is None or quality.low is None or quality.high is None:
        yield Finding(
            section="Verifier",
            name="labelled steps",
            value=f"not known: all labels of {counts} are alike",
            verdict="unknown",
            advice="labels of problems of medium difficulty",
            is_partial=is_partial,
        )
        return
    within = "" if quality.within is None else f"; {quality.within:.2f} within a problem"
    yield Finding.judged(
        "Verifier",
        "labelled steps",
        f"AUC {quality.auc:.2f}, 95 % interval {quality.low:.2f} to {quality.high:.2f}{within} "
        f"({counts})",
        is_fine=quality.is_proven,
        advice="its scores do not tell good steps from bad ones: more labels, a larger model, or "
        "another --verifier",
        is_partial=is_partial,
    )
    yield Finding.judged(
        "Verifier",
        "calibration",
        f"scores are {quality.calibration_error:.2f} from the labels in the mean, Brier score "
        f"{quality.brier:.2f}",
        is_fine=quality.calibration_error <= _MOST_MISCALIBRATED,
        advice="no search minds, as only the order counts, but a router's threshold does: "
        "`fasttts calibrate-router` finds it",
        otherwise="note",
        is_partial=is_partial,
    )
