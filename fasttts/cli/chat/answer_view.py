"""Shows one answer: growing text, a search as a tree, tool calls, and the cost."""

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from fasttts.cli.chat.events import ChatEvent, Grown, LeftOut, Replied, ToolRan
from fasttts.cli.chat.history import Cost
from fasttts.cli.chat.live_tree import LiveTree
from fasttts.cli.chat.wrapping import Wrapping, print_indented
from fasttts.cli.render import INDENT, step_table
from fasttts.cli.streams import ShieldedLive
from fasttts.routing import Decided, Decision
from fasttts.types import Event

MAX_TREE_LINES = 16
MAX_TOOL_LINES = 6
_DELIBERATED = "◆"
_PLAIN = "◇"


class AnswerView:
    """Shows the events of one answer.

    Args:
        console: The console to print to; changing parts are shown on terminals only.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._wrapping = Wrapping(console.width, INDENT)
        self._is_written = False
        self._style = ""
        self._tree = LiveTree()
        self._live: ShieldedLive | None = None

    def show(self, events: Iterable[ChatEvent]) -> None:
        """Shows an answer until it is complete, or until its events raise."""
        try:
            self._begin()
            for event in events:
                self._show(event)
        finally:
            self._still()
            self._end_text()

    def _show(self, event: ChatEvent) -> None:
        match event:
            case LeftOut(num_turns=count):
                what = "turn no longer fits" if count == 1 else "turns no longer fit"
                self._print(Text(f"(the first {count} {what} into the context)", style="dim"))
            case Grown(delta=delta):
                self._write(delta.reasoning, "dim")
                self._write(delta.content, "")
            case Decided(decision=decision):
                self._still()
                self._print(Text(f"auto: {_reason(decision)}", style="dim"))
                self._begin()
            case Replied():
                self._replied(event)
            case ToolRan():
                self._ran(event)
            case _:
                self._follow(event)

    def _follow(self, event: Event) -> None:
        if self._tree.apply(event) and self._live is not None:
            self._draw(self._live)

    def _replied(self, replied: Replied) -> None:
        self._still()
        self._end_text()
        reply, result = replied.reply, replied.result
        cost = Cost.of(result)
        if cost.search != "none" and not reply.calls:
            steps = step_table(result.candidates[0].steps)
            print_indented(self._console, steps, INDENT)
        if reply.finish_reason == "length":
            self._print(Text("(cut off at the token limit)", style="yellow"))
        for warning in result.warnings:
            self._print(Text(f"({warning})", style="yellow"))
        self._print(cost_line(cost))
        self._begin()

    def _ran(self, ran: ToolRan) -> None:
        self._still()
        given = ", ".join(f"{name}={value!r}" for name, value in ran.call.arguments.items())
        self._print(Text(f"tool {ran.call.name}({given})", style="magenta"))
        lines = ran.outcome.text.splitlines()
        shown = lines[:MAX_TOOL_LINES]
        if len(lines) > MAX_TOOL_LINES:
            shown.append(f"... {len(lines) - MAX_TOOL_LINES} more lines")
        if ran.outcome.is_error:
            shown = ["refused: " + " ".join(lines)]
        style = "yellow" if ran.outcome.is_error else "dim"
        self._print(Text("\n".join(shown), style=style), 2 * INDENT)
        self._begin()

    def _write(self, text: str, style: str) -> None:
        """Writes text as it arrives; thoughts and content stand on lines of their own."""
        if not text:
            return
        self._still()
        if style != self._style:
            self._end_text()
        self._is_written, self._style = True, style
        self._raw(self._wrapping.add(text))

    def _end_text(self) -> None:
        if self._is_written:
            self._raw(self._wrapping.finish() + "\n")
            self._wrapping, self._is_written = Wrapping(self._console.width, INDENT), False

    def _raw(self, text: str) -> None:
        self._console.print(Text(text, style=self._style), end="", soft_wrap=True)

    def _print(self, text: Text, indent: int = INDENT) -> None:
        print_indented(self._console, text, indent)

    def _begin(self) -> None:
        """Starts the live view, where it can be erased again."""
        self._tree = LiveTree()
        if self._console.is_terminal:
            self._live = ShieldedLive(console=self._console, transient=True, refresh_per_second=8)
            self._draw(self._live)
            self._live.start()

    def _draw(self, live: ShieldedLive) -> None:
        # The terminal's echo of Ctrl-C needs room: a wrapped one would upset the erasing.
        width = self._console.width - len("^C")
        height = min(MAX_TREE_LINES, self._console.height - 2)
        live.update(self._tree.view(width, height))

    def _still(self) -> None:
        """Erases the live view."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def _reason(decision: Decision) -> str:
    """Explains whether a search follows, and how much of the draft it keeps."""
    kept = decision.kept_steps
    return decision.reason + (f"; its first {kept} steps stay" if kept > 1 else "")


def cost_line(cost: Cost) -> Text:
    """Describes a reply's method and cost in one line."""
    if cost.search == "none":
        parts, mark = ["plain"], _PLAIN
    else:
        parts, mark = [f"deliberated: {cost.search}, n={cost.n}"], _DELIBERATED
    if cost.score is not None:
        parts.append(f"score {cost.score:.4f}")
    parts += [f"{cost.generated_tokens:,} tokens", f"{cost.seconds:.1f} s"]
    return Text(f"{mark} {', '.join(parts)}", style="cyan" if mark == _DELIBERATED else "dim")
