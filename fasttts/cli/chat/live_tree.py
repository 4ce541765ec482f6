"""A running search as a tree of steps that fits on the screen."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.spinner import Spinner
from rich.text import Text

from fasttts.cli.printable import printable
from fasttts.types import (
    Event,
    Path,
    Progress,
    Pruned,
    SearchStarted,
    StepFinished,
    StepScored,
)

SURE, UNSURE = 0.8, 0.5
"""Scores from which a step is green, and from which it is yellow."""

_BRANCH, _LAST, _PAST, _AFTER = "├─ ", "└─ ", "│  ", "   "

_SPINNER_WIDTH = 2

Steps = tuple[str, ...]
"""The texts of a step and of all before it."""


@dataclass(slots=True)
class _Drawn:
    """All steps with the same text and the same steps before them.

    Attributes:
        score: Their best score; None before the first.
        count: Number of steps.
        is_alive: Whether one of them may still become part of the answer.
        behind: The steps after it.
    """

    score: float | None = None
    count: int = 0
    is_alive: bool = False
    behind: "dict[str, _Drawn]" = field(default_factory=dict)


@dataclass(slots=True)
class LiveTree:
    """State of a running search, from its events, and its view.

    Steps with the same text are drawn once, with their number. Living paths come first, best ones
    before others, then dropped ones, as many as there are lines. A step without siblings is drawn
    below its parent without being indented, so long answers stay readable.

    Attributes:
        texts: Text of each finished step, as one line.
        scores: Score of each scored path.
        pruned: Paths that were dropped.
        progress: The latest counts; None before the first.
        is_searching: Whether a search has started.
    """

    texts: dict[Path, str] = field(default_factory=dict)
    scores: dict[Path, float] = field(default_factory=dict)
    pruned: set[Path] = field(default_factory=set)
    progress: Progress | None = None
    is_searching: bool = False
    _spinner: Spinner = field(default_factory=lambda: Spinner("dots", style="cyan"))

    def apply(self, event: Event) -> bool:
        """Applies an event of the search; returns whether the view should be redrawn."""
        match event:
            case SearchStarted():
                self.is_searching = True
            case StepFinished(path=path, text=text):
                self.texts[path] = printable(" ".join(text.split()))
            case StepScored(path=path, score=score):
                self.scores[path] = score
            case Pruned(paths=paths):
                self.pruned.update(paths)
            case Progress():
                self.progress = event
        return isinstance(event, SearchStarted | Progress)

    def view(self, width: int, height: int) -> RenderableType:
        """Draws the state of the search and its paths.

        Args:
            width: Columns available.
            height: Lines available.
        """
        state, lines = Text(self._state(), style="cyan"), self.lines(max(height - 1, 1))
        state.truncate(width - _SPINNER_WIDTH, overflow="ellipsis")
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        self._spinner.update(text=state)
        return Group(self._spinner, *lines)

    def lines(self, height: int) -> list[Text]:
        """The drawn steps, each after its score."""
        return list(_lines(self._merged(height), ""))[-height:]

    def _state(self) -> str:
        if not self.is_searching:
            return "thinking"
        if self.progress is None:
            return "deliberating"
        told = self.progress
        parts = [
            f"deliberating: step {told.depth}",
            f"{told.num_beams} beams",
            f"{len(self.pruned)} dropped",
            f"{told.num_finished} finished",
            f"{told.generated_tokens:,} tokens",
        ]
        return ", ".join(parts)

    def _merged(self, height: int) -> dict[str, _Drawn]:
        """The first drawn steps, with the steps behind them."""
        chosen = self._chosen(height)
        roots: dict[str, _Drawn] = {}
        for path in sorted(self.texts):
            steps = self._steps(path)
            if steps not in chosen:
                continue
            level = roots
            for text in steps[:-1]:
                level = level[text].behind
            drawn = level.setdefault(steps[-1], _Drawn())
            scores = [s for s in (drawn.score, self.scores.get(path)) if s is not None]
            drawn.score = max(scores, default=None)
            drawn.count += 1
            drawn.is_alive |= path not in self.pruned
        return roots

    def _chosen(self, height: int) -> set[Steps]:
        """The best leaves with all steps before them, as many as fit on the lines."""
        parents = {path[:-1] for path in self.texts}
        leaves = [path for path in self.texts if path not in parents]
        chosen: set[Steps] = set()
        for leaf in sorted(leaves, key=self._rank):
            steps = self._steps(leaf)
            more = {steps[:end] for end in range(1, len(steps) + 1)}
            if chosen and len(chosen | more) > height:
                break
            chosen |= more
        return chosen

    def _rank(self, path: Path) -> tuple[bool, float, int, Path]:
        """Sort key, best first; a step without a score counts as its parent does."""
        scored = (self.scores.get(path[:end]) for end in range(len(path), 0, -1))
        score = next((score for score in scored if score is not None), 0.0)
        return path in self.pruned, -score, -len(path), path

    def _steps(self, path: Path) -> Steps:
        """The texts on a path, where known."""
        ends = range(1, len(path) + 1)
        return tuple(self.texts[path[:end]] for end in ends if path[:end] in self.texts)


def _lines(level: dict[str, _Drawn], before: str) -> Iterator[Text]:
    for index, (text, drawn) in enumerate(level.items(), start=1):
        guide = rest = ""
        if len(level) > 1:
            guide, rest = (_LAST, _AFTER) if index == len(level) else (_BRANCH, _PAST)
        yield _line(text, drawn, before + guide)
        yield from _lines(drawn.behind, before + rest)


def _line(text: str, drawn: _Drawn, guides: str) -> Text:
    score = ("  ..  ", "dim") if drawn.score is None else (f"{drawn.score:6.3f}", _style(drawn))
    count = f"  x{drawn.count}" if drawn.count > 1 else ""
    body = (text, "" if drawn.is_alive else "dim strike")
    return Text.assemble("  ", score, "  ", (guides, "dim"), body, (count, "dim"), no_wrap=True)


def _style(drawn: _Drawn) -> str:
    if not drawn.is_alive or drawn.score is None:
        return "dim"
    return "green" if drawn.score >= SURE else "yellow" if drawn.score >= UNSURE else "red"
