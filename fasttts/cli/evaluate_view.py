"""An evaluation on a terminal: progress, tables, and the problems that are left."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from fasttts.cli import render
from fasttts.evaluation import Curve, CurveRule, Difference, Evaluation, Row, Tally

End = Literal["complete", "limit", "interrupted"]
"""How a run ended: by itself, at one of its limits, or by Ctrl-C."""

RULES: Mapping[CurveRule, str] = {
    "pass": "any is right",
    "majority": "majority",
    "best": "best",
    "weighted": "weighted vote",
}
"""Names of the curves, for tables and plots."""


_MOST_DIFFERENCES = 10


@contextmanager
def progress(tally: Tally) -> Iterator[Callable[[str], None]]:
    """Shows on a terminal how many problems each method has finished, and the time that is left.

    Args:
        tally: What is done already.
    """
    console = render.stderr()
    columns = (
        TextColumn("{task.description:<19}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True
    ) as bars:
        tasks = {
            method: bars.add_task(
                method, start=False, total=tally.num_problems, completed=tally.num_done(method)
            )
            for method in tally.methods
        }

        def advance(method: str) -> None:
            bars.start_task(tasks[method])
            bars.advance(tasks[method])

        yield advance


def say_what_is_left(
    evaluation: Evaluation, num_methods: int, end: End, output: Path | None
) -> None:
    """Prints how far a run came that did not reach its end, and how it goes on.

    Args:
        evaluation: What is done.
        num_methods: Methods of the whole evaluation.
        end: How the run ended.
        output: The file that keeps what is done; None for none.
    """
    total = num_methods * evaluation.num_problems
    done = sum(row.num_problems for row in evaluation.rows)
    cause = "interrupted" if end == "interrupted" else "stopped at its limit"
    more = (
        "with --output FILE it could be continued"
        if output is None
        else f"the same command continues from {output}"
    )
    text = f"{cause} after {done:,} of {total:,} answers; {more}"
    render.stderr().print(text, style="yellow", markup=False, soft_wrap=True)


def evaluation_view(evaluation: Evaluation) -> RenderableType:
    """Shows an evaluation as tables."""
    parts: list[RenderableType] = [accuracy_table(evaluation)]
    if evaluation.rows:
        parts.append(cost_table(evaluation.rows))
    curves = shown_curves(evaluation.curves)
    if any(len(curve.points) > 1 for curve in curves):
        parts.append(curve_table(curves))
    if evaluation.differences:
        parts.append(difference_table(_shown_differences(evaluation)))
    return Group(*parts)


def accuracy_table(evaluation: Evaluation) -> Table:
    """Tabulates how right each method is, and what its other outcomes are."""
    done = {row.num_problems for row in evaluation.rows} | {evaluation.num_problems}
    is_partial = len(done) > 1
    title = f"{evaluation.num_problems:,} problems, seed {evaluation.seed}"
    table = make_table(title if not is_partial else f"{title}, not all of them done")
    table.add_column("method")
    names = ("n", "accuracy", "95 % interval", "wrong", "none", "cut", "error")
    for name in names:
        table.add_column(name, justify="right")
    for row in evaluation.rows:
        counts = (row.num_wrong, row.num_no_answer, row.num_cut, row.num_errors)
        table.add_row(
            row.method,
            str(row.n),
            f"{row.accuracy:.1%}",
            f"{row.low:.1%} to {row.high:.1%}",
            *(str(count) for count in counts),
        )
    return table


def cost_table(rows: Sequence[Row]) -> Table:
    """Tabulates what each method costs; tokens are those of one problem, seconds those of all.

    Args:
        rows: The methods.
    """
    table = make_table("costs")
    table.add_column("method")
    for name in ("tokens/problem", "verifier tokens", "seconds", "goodput, tokens/s"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row.method,
            f"{row.tokens / row.num_problems:,.0f}",
            f"{row.verifier_tokens / row.num_problems:,.0f}",
            f"{row.seconds:.1f}",
            f"{row.goodput:,.0f}",
        )
    return table


def shown_curves(curves: Sequence[Curve]) -> list[Curve]:
    """The curves with one of each rule: methods share samples, and differ in ties alone.

    Args:
        curves: The curves of all methods.
    """
    first: dict[str, Curve] = {}
    for curve in curves:
        first.setdefault(curve.rule, curve)
    return list(first.values())


def curve_table(curves: Sequence[Curve]) -> Table:
    """Tabulates the accuracy with k samples, for each k.

    Args:
        curves: The curves, at least one.
    """
    table = make_table("accuracy with k samples (95 % interval)")
    table.add_column("k", justify="right")
    for curve in curves:
        table.add_column(RULES[curve.rule], justify="right")
    sizes = sorted({point.k for curve in curves for point in curve.points})
    for k in sizes:
        cells = []
        for curve in curves:
            point = next((point for point in curve.points if point.k == k), None)
            cells.append(
                ""
                if point is None
                else f"{100 * point.accuracy:.1f} ({100 * point.low:.0f}-{100 * point.high:.0f})"
            )
        table.add_row(str(k), *cells)
    return table


def difference_table(differences: Sequence[Difference]) -> Table:
    """Tabulates the differences between methods, in points.

    Args:
        differences: The pairs.
    """
    table = make_table("differences on the same problems")
    table.add_column("methods")
    for name in ("points", "95 % interval", "won", "lost", "p"):
        table.add_column(name, justify="right")
    for each in differences:
        table.add_row(
            f"{each.first} - {each.second}",
            f"{100 * each.difference:+.1f}",
            f"{100 * each.low:+.1f} to {100 * each.high:+.1f}",
            str(each.num_won),
            str(each.num_lost),
            "<0.001" if each.p_value < 0.001 else f"{each.p_value:.3f}",
        )
    return table


def _shown_differences(evaluation: Evaluation) -> Sequence[Difference]:
    """All differences, or of many those to the method that solves most."""
    if len(evaluation.differences) <= _MOST_DIFFERENCES:
        return evaluation.differences
    best = max(evaluation.rows, key=lambda row: row.accuracy).method
    return [each for each in evaluation.differences if best in (each.first, each.second)]


def make_table(title: str) -> Table:
    """Makes a table without columns, under its title."""
    return Table(
        box=SIMPLE_HEAD, pad_edge=False, title_justify="left", title=Text(title), padding=(0, 1)
    )
