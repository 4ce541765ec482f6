"""The curve of a cascade's thresholds as a picture."""

from collections.abc import Sequence
from pathlib import Path

from fasttts.errors import ConfigurationError
from fasttts.routing.calibration import Point

_CURVE, _CHOSEN = "#2f6db3", "#d1495b"
_SIZE_INCHES, _DOTS_PER_INCH = (7.0, 4.2), 150


def save_router_plot(curve: Sequence[Point], chosen: Point, file: Path) -> None:
    """Draws accuracy against tokens for every threshold, and marks the chosen one.

    Args:
        curve: Points of all thresholds.
        chosen: The point whose threshold is kept.
        file: The PNG file to write.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES, dpi=_DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    points = sorted(curve, key=lambda point: point.tokens)
    tokens = [point.tokens for point in points]
    accuracy = [100 * point.accuracy for point in points]
    axes.plot(tokens, accuracy, color=_CURVE, marker=".", linewidth=1.2)
    axes.plot([chosen.tokens], [100 * chosen.accuracy], "o", color=_CHOSEN)
    axes.annotate(
        f"threshold {chosen.threshold:.4f}",
        (chosen.tokens, 100 * chosen.accuracy),
        (8, -14),
        textcoords="offset points",
    )
    axes.set_title(
        f"{chosen.searched_share:.0%} searched: {chosen.accuracy:.1%} solved for "
        f"{chosen.tokens:,.0f} tokens",
        loc="left",
        fontsize="medium",
    )
    axes.set_xlabel("tokens of a problem")
    axes.set_ylabel("problems solved (%)")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    try:
        figure.savefig(file, format="png")
    except OSError as error:
        raise ConfigurationError(f"--plot {file}: {error}") from error
