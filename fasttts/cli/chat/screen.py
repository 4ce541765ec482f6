"""The chat's own output: greetings, notes, tables."""

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fasttts.cli.chat.answer_view import cost_line
from fasttts.cli.chat.commands import COMMANDS, SLASH
from fasttts.cli.chat.history import Cost, StoredConversation
from fasttts.cli.chat.wrapping import print_indented
from fasttts.cli.render import INDENT
from fasttts.config import DEMO
from fasttts.engine import FastTTS

DEMO_WORDS = (
    "The demonstration models solve arithmetic word problems in their own wording, and know "
    "nothing else: no facts, no conversation. Ask them something like this:"
)
DEMO_PROBLEM = (
    "Tom has 10 pens. Tom buys 5 bags of 8 pens. Then Tom loses 6 pens. How many pens does Tom "
    "have now?"
)


MAX_HINT = 480
"""Characters of an error that are shown: it may name what was typed, however long that is."""


class Screen:
    """Prints everything but the model's answers.

    Args:
        console: The console to print to.
    """

    def __init__(self, console: Console) -> None:
        self.console = console

    def greet(self, engine: FastTTS, *, files: Path | None, tools: str) -> None:
        """Shows the models, the tools and how to leave.

        Args:
            engine: The loaded models.
            files: Directory whose files may be read; None for none.
            tools: The tools that the model is offered, or why it is offered none.
        """
        verifier = engine.verifier_name or "none, so searches take a vote"
        self._print(Text.assemble(("FastTTS chat", "bold")), 0)
        rows = [("generator", engine.generator_name), ("verifier", verifier), ("tools", tools)]
        if files is not None:
            rows.append(("files", f"below {files}"))
        self._print(_grid(rows))
        if engine.generator_name == DEMO:
            self._print(Text(f"\n{DEMO_WORDS}\n"), 0)
            self._print(Text(DEMO_PROBLEM, style="italic"))
        self._print(Text("\n/help lists the commands. Ctrl-C ends an answer, Ctrl-D the chat."), 0)

    def note(self, text: str) -> None:
        """Prints a note."""
        self._print(Text(text, style="dim"))

    def hint(self, text: str) -> None:
        """Prints an error and its remedy, in one short paragraph."""
        line = " ".join(text.split())
        if len(line) > MAX_HINT:
            line = f"{line[: MAX_HINT // 2]} ... {line[-MAX_HINT // 2 :]}"
        self._print(Text(line, style="yellow"))

    def said(self, text: str) -> None:
        """Prints a tool's result."""
        self._print(Text(text))

    def help(self) -> None:
        """Lists all commands."""
        self._print(
            _grid(
                (f"{SLASH}{name} {described.argument}".rstrip(), described.help)
                for name, described in COMMANDS.items()
            )
        )

    def stats(self, conversation: StoredConversation, engine: FastTTS) -> None:
        """Shows the cost of a conversation's answers, and of the engine since it was loaded.

        Args:
            conversation: The conversation.
            engine: The engine.
        """
        costs = list(chain.from_iterable(turn.costs for turn in conversation.turns))
        searched = [cost for cost in costs if cost.search != "none"]
        plain = [cost for cost in costs if cost.search == "none"]
        table = Table.grid(padding=(0, 2, 0, 0))
        for _ in range(4):
            table.add_column(justify="right")
        table.add_row("", "plain", "deliberated", "together", style="bold")
        for name, values in _sums(plain, searched, costs):
            table.add_row(Text(name), *values)
        self._print(table)
        usage = engine.usage
        self.note(f"The engine has sampled {usage.generated_tokens:,} tokens since it was loaded.")

    def conversations(self, conversations: Sequence[StoredConversation]) -> None:
        """Lists the conversations that `/resume` accepts."""
        if not conversations:
            self.note("There are no conversations yet.")
            return
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(justify="right", style="bold")
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        for number, each in enumerate(conversations, start=1):
            table.add_row(str(number), each.name, Text(each.title))
        self._print(table)

    def resumed(self, conversation: StoredConversation) -> None:
        """Shows the last turn of a conversation."""
        count = len(conversation.turns)
        self.note(f"Going on with {conversation.name}: {count} turn{'s' * (count != 1)}.")
        if conversation.num_damaged:
            self.hint(f"{conversation.num_damaged} damaged lines of its file were left out.")
        if conversation.turns:
            last = conversation.turns[-1]
            self.console.print(Text(f"> {last.asked}", style="bold"))
            self._print(Text(str(last.messages[-1]["content"])))
            for cost in last.costs[-1:]:
                self._print(cost_line(cost))

    def _print(self, what: Text | Table, indent: int = INDENT) -> None:
        print_indented(self.console, what, indent)


def _sums(*groups: Sequence[Cost]) -> list[tuple[str, list[str]]]:
    return [
        ("replies", [f"{len(group):,}" for group in groups]),
        ("tokens", [f"{sum(c.generated_tokens for c in group):,}" for group in groups]),
        ("verifier tokens", [f"{sum(c.verifier_tokens for c in group):,}" for group in groups]),
        ("seconds", [f"{sum(c.seconds for c in group):.1f}" for group in groups]),
    ]


def _grid(rows: Iterable[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    return table
