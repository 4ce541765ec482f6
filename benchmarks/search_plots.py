"""Draws what `benchmarks.search` measured: `python -m benchmarks.search_plots OUT.png FILE...`.

The files are what `--output` wrote; each adds numbers of beams, or pairs of models.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

Row = dict[str, Any]

ARMS = {
    "plain": ("#444444", "plain loop"),
    "plain+cache": ("#999999", "plain loop, verifier's cache on"),
    "paper": ("#f2b45c", "the paper's rule"),
    "deep": ("#2f6db3", "FastTTS"),
}
"""Colour and label of what is drawn, in this order."""


def draw(rows: Sequence[Row], title: str) -> Figure:
    """Goodput of each arm against the plain loop's by beams; a panel for each pair of models."""
    names = list(dict.fromkeys(map(_work, rows)))
    figure = Figure(figsize=(3.2 * len(names) + 0.6, 3.9), dpi=150, layout="constrained")
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    handles: dict[str, Any] = {}
    beams = [row["beams"] for row in rows]
    for axes, name in zip(panels, names, strict=True):
        axes.set_xscale("log", base=2)
        axes.set_xlim(min(beams) / 1.3, max(beams) * 1.3)
        handles |= _panel(axes, name, [row for row in rows if _work(row) == name])
    panels[0].set_ylabel("goodput against the plain loop")
    labels = [label for _, label in ARMS.values() if label in handles]
    figure.legend(
        [handles[label] for label in labels],
        labels,
        loc="outside lower center",
        ncols=min(len(labels), 2 * len(names)),
        frameon=False,
        fontsize="small",
    )
    figure.suptitle(title, x=0.01, ha="left", fontsize="medium")
    return figure


def _work(row: Row) -> str:
    """Which models ran, or on the demonstration models which workload."""
    return str(row.get("models", row["workload"]))


def _panel(axes: Axes, name: str, rows: Sequence[Row]) -> dict[str, Any]:
    """Draws a line for each arm; the lines by their labels."""
    plain = {row["beams"]: row["seconds"] for row in rows if row["arm"] == "plain"}
    lines = {}
    for arm, (color, label) in ARMS.items():
        found = sorted(
            (row for row in rows if row["arm"] == arm and row["beams"] in plain),
            key=lambda row: row["beams"],
        )
        if found:
            beams = [row["beams"] for row in found]
            ratios = [row["goodput_ratio"] for row in found]
            (lines[label],) = axes.plot(beams, ratios, marker="o", markersize=4, color=color)
            ranges = [_ratios(row, plain[row["beams"]]) for row in found]
            axes.vlines(beams, list(map(min, ranges)), list(map(max, ranges)), color=color)
    beams = sorted(plain)
    axes.set_xticks(beams, [str(count) for count in beams], fontsize="small")
    axes.set_title(name, loc="left", fontsize="small")
    axes.set_xlabel("beams", fontsize="small")
    axes.grid(axis="y", color="#e5e5e5")
    axes.spines[["top", "right"]].set_visible(False)
    return lines


def _ratios(row: Row, plain_s: Sequence[float]) -> list[float]:
    """A ratio for each repetition: all arms return the same tokens, so their seconds decide."""
    return [plain / own for plain, own in zip(plain_s, row["seconds"], strict=True)]


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
