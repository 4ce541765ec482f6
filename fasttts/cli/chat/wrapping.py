"""Wraps growing text between words, in an indented column."""

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fasttts.cli.printable import printable, printable_text


class Wrapping:
    """Wraps a growing text at the width of the screen, and makes it printable.

    A word is returned once it has ended, because its place is known only then.

    Args:
        width: Columns of the screen.
        indent: Columns left free at the beginning of each line.
    """

    def __init__(self, width: int, indent: int = 0) -> None:
        self._width = width
        self._indent = " " * indent
        self._column = 0
        self._space = ""
        self._word = ""

    def add(self, text: str) -> str:
        """Adds text and returns the part that can be written."""
        return "".join(self._written(character) for character in text)

    def finish(self) -> str:
        """Returns the last word."""
        return self._flushed()

    def _written(self, character: str) -> str:
        if not character.isspace():
            self._word += character
            return ""
        before = self._flushed()
        if character == "\n":
            self._column, self._space = 0, ""
            return f"{before}\n"
        self._space += character
        return before

    def _flushed(self) -> str:
        if not self._word:
            return ""
        before, word = "" if self._column else self._indent, printable(self._word)
        piece = self._space + word
        if self._column + cell_len(before + piece) > self._width:
            before, piece = f"\n{self._indent}" if self._column else self._indent, word
            self._column = 0
        self._column += cell_len(before.lstrip("\n") + piece)
        self._space = self._word = ""
        return before + piece


def print_indented(console: Console, what: Text | Table, indent: int) -> None:
    """Prints with an indent, without trailing white space on lines of text.

    Args:
        console: The console to print to.
        what: Text or a table.
        indent: Columns left free at the beginning of each line.
    """
    if isinstance(what, Table):
        console.print(Padding(what, (0, 0, 0, indent), expand=False))
        return
    for line in printable_text(what).wrap(console, console.width - indent):
        line.rstrip()
        console.print(Text.assemble(" " * indent, line), soft_wrap=True)
