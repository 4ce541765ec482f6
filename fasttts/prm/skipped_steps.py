"""Optimiser steps that are left out, and when there are too many of them.

What is known of them is in the history that transformers' Trainer logs: it is part of every
checkpoint, so a training that continues knows what was left out before.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

SKIPPED = "skipped"
"""The key of an entry of the history that stands for a step that was left out."""

MOST_IN_A_ROW = 5
"""A training that leaves out so many steps in succession ends: nothing changes any more."""

LARGEST_SHARE = 0.1
"""A training ends where more than this share of all its steps is left out."""

History = Sequence[Mapping[str, Any]]


def skipped_steps(history: History) -> tuple[int, ...]:
    """The optimiser steps that were left out, counted from 1.

    Args:
        history: What Trainer has logged.
    """
    return tuple(entry["step"] for entry in history if SKIPPED in entry)


def why_ended(history: History, num_steps: int) -> str | None:
    """Says why a training is to end early; None where it is not.

    Args:
        history: What Trainer has logged.
        num_steps: Optimiser steps of the whole training.
    """
    for entry in history:
        if not math.isfinite(entry.get("eval_loss", 0.0)):
            return f"the held-out loss at step {entry['step']} is no finite number"
    skipped = skipped_steps(history)
    newest = skipped[-MOST_IN_A_ROW:]
    if len(newest) == MOST_IN_A_ROW and newest[-1] - newest[0] == MOST_IN_A_ROW - 1:
        what = f"{MOST_IN_A_ROW} optimiser steps in a row, up to step {newest[-1]},"
    elif len(skipped) > LARGEST_SHARE * num_steps:
        what = f"{len(skipped)} of {num_steps} optimiser steps, the last of them {skipped[-1]},"
    else:
        return None
    return f"{what} had a loss or gradients that are no finite numbers"
