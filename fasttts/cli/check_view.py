"""A check on the terminal: its progress, its findings, and the suggestion as code to copy."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from fasttts.check import Deadline, Report
from fasttts.check.finding import Finding, Verdict, flags
from fasttts.cli import render
from fasttts.cli.streams import ShieldedLive
from fasttts.config import DEMO, EngineConfig

_STYLES: dict[Verdict, str] = {
    "fine": "green",
    "change": "bold yellow",
    "note": "cyan",
    "unknown": "dim",
}
_VERDICT_WIDTH, _NAME_WIDTH = 7, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options of the command that the suggestion repeats.

    Attributes:
        settings: The models.
        system: The option `--system`.
        problems: The option `--problems`.
    """

    settings: EngineConfig
    system: str | None
    problems: Path | None


@contextmanager
def progress(deadline: Deadline) -> Iterator[Callable[[str], None]]:
    """Shows the present measurement and the seconds left, on a terminal only."""
    console = render.stderr()
    if not console.is_terminal:
        yield lambda stage: None
        return
    line = _Progress(deadline)
    with ShieldedLive(line, console=console, transient=True, refresh_per_second=4):
        yield line.set


class _Progress:
    """A line that counts down whenever it is drawn."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._stage = "beginning"
        self._spinner = Spinner("dots")

    def set(self, stage: str) -> None:
        self._stage = stage

    def __rich__(self) -> RenderableType:
        self._spinner.update(text=f"{self._stage} ({self._deadline.left_s:.0f} s left)")
        return self._spinner


def show(report: Report, asked: Asked, console: Console) -> None:
    """Prints a report.

    Code is printed as it is, however narrow the terminal, so that it can be copied.

    Args:
        report: The report.
        asked: The options of the command.
        console: Where to.
    """
    console.print(_heading(report))
    for section in dict.fromkeys(finding.section for finding in report.findings):
        console.print()
        console.print(Text(section, style="bold"))
        console.print(_rows([f for f in report.findings if f.section == section]))
    if any(finding.is_partial for finding in report.findings):
        console.print()
        console.print(Text("* from less than planned, as time was up", style="dim"))
    console.print()
    console.print(_suggestion(report))
    console.print()
    for line in (*command_lines(report, asked), "", *python_lines(report, asked)):
        console.print(Text(line, style="bold" if line else ""), soft_wrap=True)


def _heading(report: Report) -> Text:
    verifier = "no verifier" if report.verifier is None else f"verifier {report.verifier}"
    how = "interrupted after" if report.is_interrupted else "measured in"
    seconds = f"{how} {report.elapsed_s:.0f} of at most {report.limit_s:g} s"
    if report.load_s is not None:
        seconds += f"; loading took {report.load_s:.0f} s more"
    line = Text(report.generator, style="bold")
    line.append(f", {verifier}\n", style="not bold")
    line.append(seconds, style="not bold dim")
    return line


def _rows(findings: Sequence[Finding]) -> RenderableType:
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(width=_VERDICT_WIDTH, no_wrap=True)
    table.add_column(width=_NAME_WIDTH)
    table.add_column()
    for finding in findings:
        value = Text(finding.value + (" *" if finding.is_partial else ""))
        if finding.advice:
            value.append(f"\n-> {finding.advice}", style=_STYLES[finding.verdict])
        verdict = "?" if finding.verdict == "unknown" else finding.verdict
        table.add_row(Text(verdict, style=_STYLES[finding.verdict]), Text(finding.name), value)
    return Padding(table, (0, 0, 0, render.INDENT))


def _suggestion(report: Report) -> RenderableType:
    found = report.suggestion
    said = "" if found.expected_s is None else f": about {found.expected_s:.1f} s for a long answer"
    head = Text(f"Suggestion for {found.latency_s:g} s an answer{said}", style="bold")
    table = Table.grid(padding=(0, 1, 0, 0))
    for reason in found.reasons:
        table.add_row("-", Text(reason))
    return Group(head, Padding(table, (0, 0, 0, render.INDENT)))


def command_lines(report: Report, asked: Asked) -> list[str]:
    """The suggestion as commands.

    Args:
        report: The report.
        asked: The options of the check.
    """
    found = report.suggestion
    models = _models(_needed(report, asked))
    system = asked.system or found.system
    said = "" if system is None else f" --system {quote(system)}"
    lines = [f"fasttts solve -{models} {flags(found.options)}{said} < problem.txt"]
    if found.threshold is not None:
        file = "" if asked.problems is None else f" {quote(str(asked.problems))}"
        n = found.options.get("n", 1)
        lines.append(f"fasttts calibrate-router{file}{models} -n {n}  # for search='auto', chat")
    return lines


def python_lines(report: Report, asked: Asked) -> list[str]:
    """The suggestion as a program that has a `problem`.

    Args:
        report: The report.
        asked: The options of the check.
    """
    found = report.suggestion
    system = asked.system or found.system
    preset = system is not None and system.startswith("preset:")
    imported = ["FastTTS", *(["SYSTEM_PRESETS"] if preset else []), "SearchConfig"]
    lines = [f"from fasttts import {', '.join(sorted(imported))}"]
    if found.threshold is not None:
        lines.append("from fasttts.routing import Cascade, Router")
    options = ", ".join(f"{name}={value!r}" for name, value in found.options.items())
    lines += ["", f"engine = FastTTS.load({_loaded(_needed(report, asked))})"]
    lines.append(f"config = SearchConfig({options})")
    searcher = "engine"
    if found.threshold is not None:
        lines.append(f"router = Router(engine, Cascade(threshold={found.threshold!r}))")
        searcher = "router"
    said = ""
    if system is not None:
        name = system.removeprefix("preset:")
        said = f", system=SYSTEM_PRESETS[{name!r}]" if preset else f", system={system!r}"
    return [*lines, f"result = {searcher}.search(problem, config=config{said})"]


def _needed(report: Report, asked: Asked) -> EngineConfig:
    """The models of the check, without a verifier that the suggestion has no use for."""
    if report.suggestion.uses_verifier:
        return asked.settings
    return asked.settings.without_verifier()


def _models(settings: EngineConfig) -> str:
    generator = "" if settings.generator == DEMO else f" --generator {quote(settings.generator)}"
    if settings.verifier is None or settings.verifier == settings.generator == DEMO:
        return generator
    return f"{generator} --verifier {quote(settings.verifier)}"


def _loaded(settings: EngineConfig) -> str:
    options: list[Any] = [repr(settings.generator)]
    if settings.generator == DEMO or settings.verifier is not None:
        options.append(f"verifier={settings.verifier!r}")
    return ", ".join(options)
