"""Quantiles of lengths of which some were cut off: only a lower bound of those is known."""

from collections.abc import Sequence

Length = tuple[int, bool]
"""Tokens, and whether the answer ended by itself there."""


def length_quantile(lengths: Sequence[Length], share: float) -> int | None:
    """Estimates the length within which a share of answers ends by itself.

    The product-limit estimate (Kaplan and Meier 1958): leaving out what was cut off would make
    answers look shorter than they are.

    Args:
        lengths: Lengths of answers.
        share: The share, in (0, 1).

    Returns:
        None where too few answers ended by themselves to tell.
    """
    surviving = 1.0
    ordered = sorted(lengths, key=lambda length: (length[0], not length[1]))
    for index, (num_tokens, is_ended) in enumerate(ordered):
        if is_ended:
            at_risk = len(ordered) - index
            surviving *= 1 - 1 / at_risk
            if surviving <= 1 - share + 1e-9:
                return num_tokens
    return None
