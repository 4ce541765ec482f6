"""Estimated seconds and lengths of answers."""

import math

from fasttts.check.measure import Measured
from fasttts.check.speed import rate
from fasttts.check.summary import Summary

_ROOM = 1.25
_TOKENS_GRID = 64


def expected_seconds(
    measured: Measured, summary: Summary, num_candidates: int, *, scores: bool
) -> float | None:
    """Estimates the seconds of an answer that is longer than 95 % of the others.

    Args:
        measured: The measurements.
        summary: Their summary.
        num_candidates: Candidates or beams.
        scores: Whether the verifier scores them.

    Returns:
        None where neither speed nor length is known.
    """
    num_tokens = long_answer_tokens(measured, summary)
    tokens_per_s = rate(measured.speeds, min(num_candidates, measured.facts.max_num_seqs))
    if tokens_per_s is None or num_tokens is None:
        return None
    scoring_s = num_candidates * (summary.seconds_a_score or 0.0) if scores else 0.0
    return num_candidates * num_tokens / tokens_per_s + scoring_s


def long_answer_tokens(measured: Measured, summary: Summary) -> int | None:
    """Tokens of a long answer: of the 95 % quantile, or the longest seen where it is unknown.

    Args:
        measured: The measurements.
        summary: Their summary.
    """
    longest = max((sample.num_tokens for sample in measured.samples), default=None)
    return longest if summary.served_tokens is None else summary.served_tokens


def serving_max_tokens(measured: Measured, summary: Summary) -> int:
    """The option `max_tokens` that leaves 95 % of the answers uncut, with some room.

    Args:
        measured: The measurements.
        summary: Their summary.
    """
    fits = max(1, measured.facts.max_model_len - measured.prompt_tokens)
    if summary.served_tokens is None:
        is_cut = bool(summary.cut_share)
        return min(fits, measured.config.max_tokens * (2 if is_cut else 1))
    wanted = math.ceil(summary.served_tokens * _ROOM / _TOKENS_GRID) * _TOKENS_GRID
    return min(fits, wanted)
