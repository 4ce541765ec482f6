"""A training on a terminal, and as a picture."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table

from fasttts.cli.evaluate_view import make_table
from fasttts.errors import ConfigurationError
from fasttts.prm.quality import Quality
from fasttts.prm.report import TrainingReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TRAIN, _HELD_OUT, _IDEAL = "#f2b45c", "#2f6db3", "#888888"
_UNKNOWN = "unknown"
_MAX_NAMED = 10
"""Skipped steps whose numbers a warning gives."""

_SIZE_INCHES, _DOTS_PER_INCH = (10.0, 4.2), 150


def report_view(report: TrainingReport) -> RenderableType:
    """Shows the curve of a training, and how good the model is.

    Args:
        report: The training.
    """
    table = make_table(f"{report.num_examples:,} rollouts, {report.num_steps:,} steps")
    names = ["step", "epoch", "loss", "held-out loss", "held-out AUC"]
    for name in [*names, "skipped"] if report.skipped_steps else names:
        table.add_column(name, justify="right")
    previous = 0
    for point in report.curve:
        num_skipped = sum(previous < step <= point.step for step in report.skipped_steps)
        previous = point.step
        table.add_row(
            str(point.step),
            f"{point.epoch:.2f}",
            _number(point.train_loss),
            _number(point.held_out_loss),
            _number(point.held_out_auc),
            *([str(num_skipped)] if report.skipped_steps else []),
        )
    return Group(table, quality_table(report.held_out), bin_table(report.held_out))


def report_warnings(report: TrainingReport) -> list[str]:
    """Says what went wrong in a training that ended all the same; empty where nothing did.

    Args:
        report: The training.
    """
    warnings = []
    if steps := report.skipped_steps:
        named = ", ".join(map(str, steps[:_MAX_NAMED])) + (", ..." if steps[_MAX_NAMED:] else "")
        warnings.append(
            f"{len(steps)} of {report.curve[-1].step} optimiser steps were skipped, because their "
            f"loss or gradients were no finite numbers: {named}"
        )
    # Versions that went on with weights that were no numbers have written such reports.
    broken = [p.step for p in report.curve if _number(p.held_out_loss) == _UNKNOWN]
    if broken:
        warnings.append(
            f"the held-out loss was no finite number at step {broken[0]}, so the model is that of "
            "an earlier step: train it anew, into another --output"
        )
    return warnings


def quality_table(quality: Quality) -> Table:
    """Tabulates how good scores are on held-out labels.

    Args:
        quality: How good they are.
    """
    title = f"{quality.num_steps:,} held-out steps of {quality.num_problems:,} problems"
    table = make_table(title)
    table.add_column("what")
    table.add_column("value", justify="right")
    interval = (
        "" if quality.low is None else f" ({_number(quality.low)} to {_number(quality.high)})"
    )
    table.add_row("AUC (95 % interval)", _number(quality.auc) + interval)
    table.add_row("AUC within a problem", _number(quality.within))
    table.add_row("Brier score", _number(quality.brier))
    table.add_row("calibration error", _number(quality.calibration_error))
    table.add_row("mean label", _number(quality.base_rate))
    return table


def bin_table(quality: Quality) -> Table:
    """Tabulates scores against labels, bin by bin.

    Args:
        quality: Whose bins.
    """
    table = make_table("calibration")
    for name in ("scores", "steps", "mean score", "mean label"):
        table.add_column(name, justify="right")
    size = 1.0 / len(quality.bins)
    for number, each in enumerate(quality.bins):
        if each.num_steps:
            span = f"{number * size:.1f} to {(number + 1) * size:.1f}"
            table.add_row(span, f"{each.num_steps:,}", f"{each.score:.3f}", f"{each.label:.3f}")
    return table


def save_training_plot(report: TrainingReport, file: Path) -> None:
    """Draws the losses, and scores against labels.

    Args:
        report: The training.
        file: The PNG file to write.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES, dpi=_DOTS_PER_INCH, layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_losses(left, report)
    _draw_calibration(right, report.held_out)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    try:
        figure.savefig(file, format="png")
    except OSError as error:
        raise ConfigurationError(f"--plot {file}: {error}") from error


def _draw_losses(axes: "Axes", report: TrainingReport) -> None:
    steps = [point.step for point in report.curve]
    for label, color, losses in (
        ("training", _TRAIN, [point.train_loss for point in report.curve]),
        ("held out", _HELD_OUT, [point.held_out_loss for point in report.curve]),
    ):
        drawn = [float("nan") if loss is None else loss for loss in losses]
        axes.plot(steps, drawn, color=color, marker=".", label=label)
    axes.set_title("cross entropy", loc="left", fontsize="medium")
    axes.set_xlabel("optimiser steps")


def _draw_calibration(axes: "Axes", quality: Quality) -> None:
    bins = [each for each in quality.bins if each.num_steps]
    axes.plot([0, 1], [0, 1], color=_IDEAL, linewidth=0.8, label="calibrated")
    axes.plot(
        [each.score for each in bins],
        [each.label for each in bins],
        color=_HELD_OUT,
        marker="o",
        label="held-out steps",
    )
    axes.set_title(
        f"AUC {_number(quality.auc)}, calibration error {quality.calibration_error:.3f}",
        loc="left",
        fontsize="medium",
    )
    axes.set_xlabel("mean score")
    axes.set_ylabel("mean label")


def _number(value: float | None) -> str:
    return f"{value:.4f}" if value is not None and math.isfinite(value) else _UNKNOWN
