"""A labelling on a terminal: its numbers, and the problems that are left."""

from pathlib import Path

from rich.table import Table

from fasttts.cli import render
from fasttts.cli.evaluate_view import make_table
from fasttts.prm import LabelSummary


def summary_table(summary: LabelSummary) -> Table:
    """Tabulates the rollouts and their labels.

    Args:
        summary: The labels so far.
    """
    table = make_table(f"labels of {len(summary.done):,} of {summary.num_problems:,} problems")
    table.add_column("what")
    table.add_column("number", justify="right")
    rows = {
        "rollouts": f"{summary.num_rollouts:,}",
        "right": f"{summary.share_right:.1%}",
        "problems with both kinds": f"{summary.num_mixed:,}",
        "steps": f"{summary.num_steps:,}",
        "beginnings": f"{summary.num_prefixes:,}",
        "steps that can succeed": f"{summary.share_hard:.1%}",
        "sampled tokens": f"{summary.num_tokens:,}",
        "failed problems": f"{summary.num_errors:,}",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def say_what_is_left(summary: LabelSummary, output: Path, *, is_interrupted: bool) -> None:
    """Prints how far a run came that did not reach its end, and how it goes on.

    Args:
        summary: What is done.
        output: The file that keeps it.
        is_interrupted: Whether Ctrl-C ended the run, and not its limit.
    """
    cause = "interrupted" if is_interrupted else "stopped at its limit"
    text = (
        f"{cause} after {len(summary.done):,} of {summary.num_problems:,} problems; the same "
        f"command continues from {output}"
    )
    render.stderr().print(text, style="yellow", markup=False, soft_wrap=True)
