"""The report of a training, as one value that converts to JSON."""

from dataclasses import dataclass

from fasttts.prm.options import TrainingOptions
from fasttts.prm.quality import Quality
from fasttts.types import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """A look at the held-out labels in the course of a training.

    Attributes:
        step: Optimiser steps done.
        epoch: Share of the examples seen, counted over all epochs.
        train_loss: Mean loss of training since the last look; None where none was logged.
        held_out_loss: Loss on the held-out labels.
        held_out_auc: Area under the ROC curve on them; None where they are all alike.
    """

    step: int
    epoch: float
    train_loss: float | None
    held_out_loss: float
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
    """

    options: TrainingOptions
    num_examples: int
    num_steps: int
    curve: tuple[CurvePoint, ...]
    held_out: Quality
