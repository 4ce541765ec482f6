"""`fasttts eval --plot`: accuracy against samples, with intervals."""

from pathlib import Path
from typing import TYPE_CHECKING

from fasttts.cli.evaluate_view import RULES, shown_curves
from fasttts.errors import ConfigurationError
from fasttts.evaluation import Evaluation, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLORS = ("#2f6db3", "#d1495b", "#3a8f6b", "#8a5aa8", "#c77d1e", "#4b5563", "#0e9aa7", "#a3527e")
_STYLES = ("-", "-", "-", "--")
_MARKERS = ("s", "D", "^", "v", "P", "X", "o", "*", "p", "h")
_SIZE_INCHES, _DOTS_PER_INCH = (8.0, 4.6), 150
_SPREAD = 0.1
"""Distance of methods with the same n on the logarithmic axis, in powers of two."""


def save_evaluation_plot(evaluation: Evaluation, file: Path) -> None:
    """Draws the curves with their intervals, and the methods that have one n as points.

    Args:
        evaluation: The evaluation.
        file: The PNG file to write.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES, dpi=_DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    _draw_curves(axes, evaluation)
    _draw_methods(axes, evaluation)
    _finish(axes, evaluation)
    try:
        figure.savefig(file, format="png")
    except OSError as error:
        raise ConfigurationError(f"--plot {file}: {error}") from error


def _draw_curves(axes: "Axes", evaluation: Evaluation) -> None:
    for curve, color, style in zip(shown_curves(evaluation.curves), _COLORS, _STYLES, strict=False):
        sizes = [point.k for point in curve.points]
        axes.fill_between(
            sizes,
            [100 * point.low for point in curve.points],
            [100 * point.high for point in curve.points],
            color=color,
            alpha=0.12,
            linewidth=0,
        )
        accuracy = [100 * point.accuracy for point in curve.points]
        label = f"{RULES[curve.rule]} of k samples"
        axes.plot(sizes, accuracy, style, color=color, marker=".", linewidth=1.5, label=label)


def _draw_methods(axes: "Axes", evaluation: Evaluation) -> None:
    """Draws each method without a curve at its n, beside others of the same n."""
    curved = {curve.method for curve in evaluation.curves}
    rows = [row for row in evaluation.rows if row.method not in curved]
    num_at: dict[int, int] = {}
    for index, row in enumerate(rows):
        place = num_at[row.n] = num_at.get(row.n, 0) + 1
        axes.errorbar(
            [row.n * 2 ** (_SPREAD * place)],
            [100 * row.accuracy],
            yerr=_errors(row),
            color=_COLORS[-1 - index % len(_COLORS)],
            marker=_MARKERS[index % len(_MARKERS)],
            markersize=6,
            linestyle="none",
            capsize=3,
            label=f"{row.method}, n={row.n}",
        )


def _errors(row: Row) -> list[list[float]]:
    return [[100 * (row.accuracy - row.low)], [100 * (row.high - row.accuracy)]]


def _finish(axes: "Axes", evaluation: Evaluation) -> None:
    largest = max((row.n for row in evaluation.rows), default=1)
    sizes = [1 << exponent for exponent in range(largest.bit_length())]
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set_xlim(0.9, largest * 1.4)
    axes.set_ylim(0, 100)
    axes.set_xlabel("samples or beams")
    axes.set_ylabel("problems solved (%)")
    name = Path(evaluation.problems).name
    title = f"{name}: {evaluation.num_problems:,} problems, 95 % intervals"
    axes.set_title(title, loc="left", fontsize="medium")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if evaluation.rows:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize="small")
