"""The page and the picture of the routing benchmark."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_COLORS = {"Always": "#2f6db3", "Cascade": "#d1495b", "Heuristics": "#3d9a50", "Never": "#444444"}
_MARKERS = {"Always": "s", "Cascade": "o", "Heuristics": "D", "Never": "^"}

Rows = Sequence[Mapping[str, Any]]


def curve(rows: Rows, policy: str) -> list[tuple[int, float]]:
    """Tokens and accuracy of a policy from few beams to many, beginning with plain decoding."""
    points = [
        (row["generated_tokens"], row["accuracy"])
        for row in rows
        if row["policy"] in (policy, "Never")
    ]
    return sorted(points)


def at_budget(points: Sequence[tuple[int, float]], tokens: int) -> float:
    """Accuracy at a token budget: between two points linear in the tokens, as if mixed."""
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x0 <= tokens <= x1:
            return y0 + (y1 - y0) * (tokens - x0) / (x1 - x0)
    return points[0][1] if tokens < points[0][0] else points[-1][1]


def document(found: Mapping[str, Any]) -> str:
    """The results as a page."""
    rows, problems = found["rows"], found["config"]["problems"]
    always = max((row for row in rows if row["policy"] == "Always"), key=lambda row: row["n"])
    cascade = next(r for r in rows if r["policy"] == "Cascade" and r["n"] == always["n"])
    kept = cascade["accuracy"] / always["accuracy"]
    spent = cascade["generated_tokens"] / always["generated_tokens"]
    lines = [
        "# Routing side by side",
        "",
        f"{problems} test problems with the demonstration models, half of them easy (2 or 3",
        "operations), half hard (5 to 8), beam search of `n` beams where a policy searches. 95 %",
        "Wilson intervals; tokens of all problems together, drafts included. The cascade is not",
        "calibrated: its threshold is the default. Written by `python -m benchmarks.routing`.",
        "",
        "![accuracy against tokens](routing.png)",
        "",
        f"With {always['n']} beams the cascade has {100 * kept:.1f} % of the accuracy of always",
        f"searching, for {100 * spent:.1f} % of its generated tokens. The intervals of the two",
        "overlap: the tokens are the difference.",
        "",
        "| policy | n | accuracy | 95 % interval | generated tokens | verifier tokens | searched |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{row['policy']}` | {row['n']} | {100 * row['accuracy']:.1f} % "
        f"| {100 * row['low']:.1f} to {100 * row['high']:.1f} % | {row['generated_tokens']:,} "
        f"| {row['verifier_tokens']:,} | {100 * row['searched_share']:.0f} % |"
        for row in rows
    ]
    lines += [
        "",
        "At the tokens that each cascade takes, always searching is right less often. Between",
    ]
    lines += ["two numbers of beams it is taken as a mixture of both:", ""]
    lines += ["| tokens | `Cascade` | `Always` |", "|---|---|---|"]
    lines += [
        f"| {row['generated_tokens']:,} | {100 * row['accuracy']:.1f} % "
        f"| {100 * at_budget(curve(rows, 'Always'), row['generated_tokens']):.1f} % |"
        for row in rows
        if row["policy"] == "Cascade"
    ]
    return "\n".join([*lines, ""])


def draw(rows: Rows, file: Path) -> None:
    """Accuracy with its interval against tokens, a line for each policy."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    figure = Figure(figsize=(8.0, 4.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for policy in dict.fromkeys(row["policy"] for row in rows):
        own = sorted((r for r in rows if r["policy"] == policy), key=lambda r: r["n"])
        tokens = [row["generated_tokens"] for row in own]
        axes.errorbar(
            tokens,
            [100 * row["accuracy"] for row in own],
            yerr=[
                [100 * (row["accuracy"] - row["low"]) for row in own],
                [100 * (row["high"] - row["accuracy"]) for row in own],
            ],
            color=_COLORS[policy],
            marker=_MARKERS[policy],
            linewidth=1.2,
            elinewidth=0.8,
            capsize=2,
            label=policy,
        )
        for row in own if len(own) > 1 else ():
            place = (row["generated_tokens"], 100 * row["accuracy"])
            axes.annotate(f"n={row['n']}", place, (6, -12), textcoords="offset points", fontsize=8)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1000:,.0f} k"))
    axes.set_xlim(0, 1.06 * max(row["generated_tokens"] for row in rows))
    axes.set_xlabel("generated tokens, all problems")
    axes.set_ylabel("problems solved (%)")
    axes.set_title("Demonstration models, easy and hard problems; 95 % intervals", loc="left")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    figure.savefig(file, format="png")
