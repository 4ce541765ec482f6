"""`--plot`: the use of the generator's slots in a search, as a picture."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from fasttts.errors import ConfigurationError
from fasttts.types import Occupancy, SearchResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NEEDED, _SPECULATIVE, _PLAIN = "#2f6db3", "#f2b45c", "#444444"
_SIZE_INCHES, _DOTS_PER_INCH = (9.0, 4.2), 150


def check_plot(file: Path | None) -> None:
    """Checks that a plot can be written to a file; None asks for no plot.

    Raises:
        ConfigurationError: It cannot.
    """
    if file is None:
        return
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigurationError("--plot needs matplotlib: pip install 'fasttts[plot]'")
    if file.suffix.lower() != ".png":
        raise ConfigurationError(f"--plot {file}: the picture is a PNG, so name it *.png")
    if not file.parent.is_dir():
        raise ConfigurationError(f"--plot {file}: there is no directory {file.parent}")
    if file.is_dir():
        raise ConfigurationError(f"--plot {file}: it is a directory")


def save_plot(result: SearchResult, file: Path) -> None:
    """Draws the sequences in each iteration, against those of the plain loop.

    Args:
        result: The result of the search.
        file: The PNG file to write.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES, dpi=_DOTS_PER_INCH, layout="constrained")
    _draw(figure.add_subplot(), result)
    try:
        figure.savefig(file, format="png")
    except OSError as error:
        raise ConfigurationError(f"--plot {file}: {error}") from error


def _draw(axes: "Axes", result: SearchResult) -> None:
    occupancy = result.occupancy
    axes.stackplot(
        range(len(occupancy.required) + 1),
        _closed(occupancy.required),
        _closed(occupancy.speculative),
        step="post",
        labels=("FastTTS, required", "FastTTS, speculative"),
        colors=(_NEEDED, _SPECULATIVE),
        linewidth=0,
    )
    axes.stairs(occupancy.plain, baseline=None, color=_PLAIN, linewidth=1.2, label="plain loop")
    axes.set_title(_title(result), loc="left", fontsize="medium")
    axes.set_xlabel("generator iteration")
    axes.set_ylabel("sequences in the batch")
    axes.locator_params(axis="y", integer=True)
    axes.set_xlim(0, max(len(occupancy.required), len(occupancy.plain), 1))
    axes.set_ylim(0, 1.2 * _highest(occupancy))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper right", ncols=3, frameon=False)


def _closed(values: tuple[int, ...]) -> tuple[int, ...]:
    """Repeats the last value, so that its step has a width."""
    return (*values, *values[-1:]) or (0,)


def _highest(occupancy: Occupancy) -> int:
    both = zip(occupancy.required, occupancy.speculative, strict=True)
    return max((*map(sum, both), *occupancy.plain, 1))


def _title(result: SearchResult) -> str:
    num_iterations, num_plain = len(result.occupancy.required), len(result.occupancy.plain)
    saved = f" ({num_iterations / num_plain:.2f})" if num_plain else ""
    return (
        f"{result.config['search']}, n={result.config['n']}: {num_iterations:,} iterations, "
        f"the plain loop needs {num_plain:,}{saved}{_drafted(result)}"
    )


def _drafted(result: SearchResult) -> str:
    """The tokens of a pass, where some were drafted."""
    usage, occupancy = result.usage, result.occupancy
    num_passes = sum(occupancy.required) + sum(occupancy.speculative)
    if not usage.drafted_tokens or not num_passes:
        return ""
    return f"; {usage.generated_tokens / num_passes:.2f} tokens of each sequence in one"
