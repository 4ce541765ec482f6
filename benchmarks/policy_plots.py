"""Pictures of the searches: accuracy against tokens, and slots in use where groups do not wait."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.driving import measure
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.config import SchedulingConfig, search_config
from fasttts.scheduling.usage import plain_occupancy
from fasttts.tree import SearchTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DOTS_PER_INCH = 150
_COLORS = (
    "#444444",
    "#8c8c8c",
    "#2f6db3",
    "#5aa6d8",
    "#d1495b",
    "#e58a2b",
    "#3d9a50",
    "#8458b3",
    "#b39b2f",
    "#1a9c9c",
)
_MARKERS = "osD^vPX<>h"
_SPREAD = 1.04
"""Ratio of the positions of neighbouring methods whose tokens are almost the same."""

_NUM_BEAMS, _NUM_SLOTS = 64, 32


def draw_accuracy(rows: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Accuracy with its interval against the tokens of a problem, a line for each method."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    figure = Figure(figsize=(9.5, 5.2), dpi=_DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    methods = list(dict.fromkeys(row["arm"] for row in rows))
    for index, method in enumerate(methods):
        own = [row for row in rows if row["arm"] == method]
        accuracy = [100 * row["accuracy"] for row in own]
        axes.errorbar(
            [_spread(row, rows) for row in own],
            accuracy,
            yerr=[
                [100 * (row["accuracy"] - row["low"]) for row in own],
                [100 * (row["high"] - row["accuracy"]) for row in own],
            ],
            color=_COLORS[index % len(_COLORS)],
            marker=_MARKERS[index % len(_MARKERS)],
            markersize=5,
            linewidth=0.8,
            elinewidth=1.1,
            capsize=2,
            alpha=0.85,
            label=method,
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlabel("tokens per problem; points that share a place are spread sideways")
    axes.set_ylabel("problems solved (%)")
    sizes = ", ".join(str(n) for n in sorted({row["n"] for row in rows} - {1}))
    axes.set_title(f"Demonstration models, n = {sizes}; 95 % intervals", loc="left", fontsize=10)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
    figure.savefig(file, format="png")


def _spread(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> float:
    """Where a row is drawn: beside those with the same tokens, within a twentieth."""
    tokens: float = row["tokens"]
    place = [other for other in rows if abs(other["tokens"] - tokens) < 0.05 * tokens]
    return tokens * float(_SPREAD ** (place.index(row) - (len(place) - 1) / 2))


def draw_occupancy(file: Path) -> None:
    """Slots in use by DVTS and best-of-N on the fake backend, against a loop with barriers."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 5.6), dpi=_DOTS_PER_INCH, layout="constrained")
    panels = figure.subplots(2, 1)
    for axes, search in zip(panels, ("dvts", "best_of_n"), strict=True):
        _draw_search(axes, search)
    panels[-1].set_xlabel("generator iteration")
    figure.savefig(file, format="png")


def _with_barriers(tree: SearchTree) -> tuple[int, ...]:
    """Slots in use if every batch, of a step or of as many answers as fit, waited for its last."""
    nodes = list(tree)
    if any(node.children for node in nodes):
        return plain_occupancy(nodes, _NUM_SLOTS)
    batches = [nodes[i : i + _NUM_SLOTS] for i in range(0, len(nodes), _NUM_SLOTS)]
    return tuple(itertools.chain(*(plain_occupancy(batch, _NUM_SLOTS) for batch in batches)))


def _draw_search(axes: "Axes", search: str) -> None:
    generator = FakeGenerator(mean_step_tokens=24, mean_steps=8, max_num_seqs=_NUM_SLOTS)
    run = measure(
        generator,
        FakeVerifier(),
        SchedulingConfig(speculation=False),
        prompt_token_ids=generator.tokenizer.encode("A problem."),
        problem="A problem.",
        config=search_config(search=search, n=_NUM_BEAMS, beam_width=4, max_tokens=600),
    ).run
    needed = run.counts.num_required
    axes.fill_between(
        range(len(needed)), needed, step="post", color="#2f6db3", linewidth=0, label="FastTTS"
    )
    barrier = _with_barriers(run.tree)
    label = "a batch waiting for its last sequence"
    axes.stairs(barrier, baseline=None, color="#d1495b", linewidth=1.2, label=label)
    axes.set_title(
        f"{search}, n={_NUM_BEAMS}, {_NUM_SLOTS} slots: {len(needed):,} iterations, "
        f"{len(barrier):,} with barriers",
        loc="left",
        fontsize=10,
    )
    axes.set_ylabel("slots in use")
    axes.set_xlim(0, max(len(needed), len(barrier)))
    axes.set_ylim(0, 1.25 * _NUM_SLOTS)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper right", ncols=2, frameon=False, fontsize=9)
