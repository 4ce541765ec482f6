"""Searches on a terminal: live progress and the chosen answer.

The models' text is never read as markup, so that brackets in it are printed unchanged; what a
terminal would obey is escaped (`streams`).
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from fasttts.cli.printable import begins_with_joiner, printable_text
from fasttts.cli.streams import PrintableConsole, ShieldedLive, ShieldedProgress
from fasttts.types import Event, Finished, Progress, SearchResult, Step, TextDelta, Usage

MAX_LIVE_LINES = 10
INDENT = 2


def stdout() -> Console:
    """Makes a console for results."""
    return PrintableConsole()


def stderr() -> Console:
    """Makes a console for everything that is not a result."""
    return PrintableConsole(stderr=True)


def progress_bar() -> ShieldedProgress:
    """Makes a bar that counts finished problems, on a terminal only."""
    console = stderr()
    return ShieldedProgress(
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


@contextmanager
def loading() -> Iterator[None]:
    """Shows on a terminal that models are being loaded.

    It writes through a descriptor of its own and leaves `sys.stderr` alone, because the backend
    silences the usual descriptors while engines open.
    """
    if not sys.stderr.isatty():
        yield
        return
    with (
        open(os.dup(sys.stderr.fileno()), "w", encoding="utf-8") as screen,
        ShieldedLive(
            Spinner("dots", "Loading the models ..."),
            console=PrintableConsole(file=screen),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        ),
    ):
        yield


def follow(events: Iterable[Event], console: Console) -> SearchResult:
    """Shows a running search, on a terminal only, and returns its result.

    Args:
        events: Events of the search.
        console: The console to print to.

    Raises:
        AssertionError: The events ended without a result.
    """
    spinner = Spinner("dots", "searching ...")
    with ShieldedLive(spinner, console=console, transient=True, refresh_per_second=8) as live:
        for event in events:
            if isinstance(event, Finished):
                return event.result
            if isinstance(event, Progress):
                spinner.update(text=counts_line(event))
                live.update(Group(spinner, best_path(event, console)))
    raise AssertionError("the stream ended without a result")


def write_text(events: Iterable[Event], console: Console) -> SearchResult:
    """Writes the text of a plain decoding as it arrives and returns its result.

    Args:
        events: Events of the decoding.
        console: The console to print to.

    Raises:
        AssertionError: The events ended without a result.
    """
    waiting = ""
    for event in events:
        if isinstance(event, TextDelta) and begins_with_joiner(event.text):
            waiting += event.text
        elif isinstance(event, TextDelta | Finished):
            console.print(Text(waiting), end="", soft_wrap=True)
            waiting = event.text if isinstance(event, TextDelta) else ""
        if isinstance(event, Finished):
            console.print("\n")
            return event.result
    raise AssertionError("the stream ended without a result")


def counts_line(progress: Progress) -> str:
    """Formats the counts of a running search."""
    rate = progress.generated_tokens / progress.elapsed_s if progress.elapsed_s > 0 else 0.0
    counts = (
        f"step {progress.depth}",
        f"{progress.num_beams} beams",
        f"{progress.num_finished} finished",
        f"{progress.generated_tokens:,} tokens",
        f"{rate:,.0f} tokens/s",
    )
    return "  ".join(counts)


def best_path(progress: Progress, console: Console) -> RenderableType:
    """Shows the last lines of the best path so far, as many as a small terminal holds.

    Args:
        progress: State of the search.
        console: The console, for its width.
    """
    steps = [line for line in progress.best_text.splitlines() if line.strip()]
    if not steps:
        return Text()
    score = "" if progress.best_score is None else f", score {progress.best_score:.4f}"
    # The terminal's echo of Ctrl-C needs room: a wrapped one would upset the erasing of the view.
    width = console.width - INDENT - len("^C")
    lines = printable_text(Text("\n".join(steps), style="dim")).wrap(console, width)
    shown = Text("\n").join(lines[-MAX_LIVE_LINES:])
    return Group(f"best path so far{score}", Padding(shown, (0, 0, 0, INDENT), expand=False))


def step_table(steps: Iterable[Step]) -> Table:
    """Tabulates steps, one in a row, each after its score."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", style="cyan", no_wrap=True)
    table.add_column()
    for step in steps:
        score = "" if step.score is None else f"{step.score:.4f}"
        table.add_row(score, Text(step.text.strip()))
    return table


def outcome_view(result: SearchResult) -> RenderableType:
    """Shows the answer, the winning steps with their scores, and the cost."""
    winner = result.candidates[0]
    return Group(
        answer_line(result),
        Text(),
        Padding(step_table(winner.steps), (0, 0, 0, INDENT)),
        Text(),
        cost_view(result),
    )


def answer_line(result: SearchResult) -> Text:
    """Formats the answer, or that there is none, and whether the text was cut off."""
    line = Text("Answer: ", style="bold")
    if result.answer is None:
        line.append("none found", style="yellow")
    else:
        line.append(result.answer, style="bold green")
    if result.finish_reason == "length":
        line.append(" (cut off at the token limit)", style="yellow")
    return line


def plain_lines(result: SearchResult) -> list[Text]:
    """What follows the text of a plain decoding: its answer, if it announces one, and the cost."""
    is_told = result.answer is not None or result.finish_reason == "length"
    return [*([answer_line(result)] if is_told else []), cost_view(result)]


def cost_view(result: SearchResult) -> Text:
    """Summarizes the search and its cost in a few short lines."""
    usage, total_s = result.usage, result.timings.total_s
    rate = usage.generated_tokens / total_s if total_s > 0 else 0.0
    how = ["plain decoding"]
    if result.config["search"] != "none":
        how = [str(result.config["search"]), f"n={result.config['n']}"]
    if result.score is not None:
        how.append(f"score {result.score:.4f}")
    summary = ", ".join([*how, f"seed {result.seed}"])
    speed = "from the cache" if usage.is_cached else f"{rate:,.0f} tokens/s"
    tree = f"{usage.required_tokens:,} required, {usage.returned_tokens:,} returned"
    lines = [
        f"{summary}: {total_s:.2f} s, {speed}",
        f"generator: {usage.generated_tokens:,} tokens generated, {tree}",
    ]
    if result.unlike_model:
        lines.append(_unlike_model(result))
    if usage.num_verifications:
        lines.append(
            f"verifier: {result.verifier}, {usage.verifier_computed_tokens:,} tokens computed, "
            f"{usage.verifier_cached_tokens:,} cached{_told_apart(usage)}"
        )
    return Text("\n".join(lines), style="dim")


def _told_apart(usage: Usage) -> str:
    """What the scores did not tell apart; empty where there is nothing of the kind."""
    nan, tied = usage.num_nan_scores, usage.num_tied_scores
    told = f", {tied:,} of {usage.num_compared_scores:,} compared scores tied" if tied else ""
    return f"{told}, {nan:,} scores not a number" if nan else told


def _unlike_model(result: SearchResult) -> str:
    values = (
        f"{name} {result.config[name]:g} (the model's own: {value:g})"
        for name, value in result.unlike_model.items()
    )
    return f"sampling: {', '.join(values)}"
