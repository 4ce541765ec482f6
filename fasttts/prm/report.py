"""The report of a training, as one value that converts to JSON."""

import math
from dataclasses import dataclass

from fasttts.prm.options import TrainingOptions
from fasttts.prm.quality import Quality
from fasttts.prm.skipped_steps import History
from fasttts.types import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """A look at the held-out labels in the course of a training.

    Attributes:
        step: Optimiser steps done.
        epoch: Share of the examples seen, counted over all epochs.
        train_loss: Mean loss of training since the last look; None where none was logged, or where
            the loss of a step was no finite number.
        held_out_loss: Loss on the held-out labels; None where it is no finite number.
        held_out_auc: Area under the ROC curve on them; None where they are all alike, or where
            scores are no finite numbers.
    """

    step: int
    epoch: float
    train_loss: float | None
    held_out_loss: float | None
    held_out_auc: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingReport(Document):
    """How a training went.

    Attributes:
        options: Its options.
        num_examples: Different rollouts that it learned from.
        num_steps: Their labelled steps.
        curve: Looks at the held-out labels; the model of the least loss is kept.
        held_out: How good the written model's scores are on the held-out labels.
        skipped_steps: Optimiser steps that were left out, counted from 1: their loss or gradients
            were no finite numbers, and they changed nothing.
    """

    options: TrainingOptions
    num_examples: int
    num_steps: int
    curve: tuple[CurvePoint, ...]
    held_out: Quality
    skipped_steps: tuple[int, ...] = ()


def curve_points(history: History) -> tuple[CurvePoint, ...]:
    """The points of a curve; the losses of training and of held-out labels are logged apart.

    Args:
        history: What Trainer has logged.
    """
    losses = {entry["step"]: entry["loss"] for entry in history if "loss" in entry}
    return tuple(
        CurvePoint(
            step=entry["step"],
            epoch=entry["epoch"],
            train_loss=_finite(losses.get(entry["step"])),
            held_out_loss=_finite(entry["eval_loss"]),
            held_out_auc=entry.get("eval_auc"),
        )
        for entry in history
        if "eval_loss" in entry
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
