"""Draws what `benchmarks.search` measured: `python -m benchmarks.search_plots OUT.png FILE...`.

The files are what `--output` wrote, of like configurations; later files add numbers of beams.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLORS = {"plain": "#444444", "plain+cache": "#999999", "paper": "#f2b45c", "deep": "#2f6db3"}
LABELS = {
    "plain": "plain loop",
    "plain+cache": "plain loop, verifier's prefix cache on",
    "paper": "the paper's rule",
    "deep": "FastTTS",
}


def draw(rows: Sequence[dict[str, Any]], title: str) -> Figure:
    """Goodput and iterations of each arm by the number of beams, as shares of the plain loop's."""
    figure = Figure(figsize=(9.0, 3.8), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2)
    _bars(left, rows, "goodput_ratio", "goodput against the plain loop")
    _bars(right, rows, "iterations_ratio", "generator iterations against the plain loop")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(title, x=0.01, ha="left", fontsize="medium")
    return figure


def _bars(axes: Axes, rows: Sequence[dict[str, Any]], key: str, title: str) -> None:
    beams = sorted({row["beams"] for row in rows})
    arms = [arm for arm in COLORS if any(row["arm"] == arm for row in rows)]
    width = 0.8 / len(arms)
    for index, arm in enumerate(arms):
        values = {row["beams"]: row[key] for row in rows if row["arm"] == arm}
        places = [beams.index(count) - 0.4 + (index + 0.5) * width for count in values]
        bars = axes.bar(places, list(values.values()), width, color=COLORS[arm], label=LABELS[arm])
        axes.bar_label(bars, fmt="%.2f", fontsize="x-small", padding=1)
    axes.set_xticks(range(len(beams)), [f"{count} beams" for count in beams])
    axes.set_title(title, loc="left", fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.12)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--title", default="")
    options = parser.parse_args()
    rows = [row for file in options.files for row in json.loads(file.read_text())["rows"]]
    draw(rows, options.title).savefig(options.output)


if __name__ == "__main__":
    main()
