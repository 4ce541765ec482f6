"""A program in a terminal of 80 columns: keys go in, the screen is read."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pexpect
import pyte

COLUMNS, LINES = 80, 100
PROMPT = re.compile(r"^> *$", re.MULTILINE)
PIECE = 100
"""Characters between two looks at the screen: fewer than a drawing that is taken back has."""

CTRL_C, CTRL_D, TAB = "\x03", "\x04", "\t"


class Terminal:
    """Everything that the program has written, as a person sees it.

    Args:
        child: The program.
    """

    def __init__(self, child: "pexpect.spawn[str]") -> None:
        self.child = child
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.Stream(self._screen)
        self._lines = [""] * LINES
        self._unread = ""

    @property
    def text(self) -> str:
        """The screen, without what fills lines up; only lines that have changed are read anew."""
        for number in self._screen.dirty:
            cells = self._screen.buffer[number]
            self._lines[number] = "".join(cells[column].data for column in range(COLUMNS)).rstrip()
        self._screen.dirty.clear()
        return "\n".join(self._lines).rstrip()

    def wait_for(self, pattern: str, timeout_s: float = 60) -> str:
        """The screen, as soon as the pattern stands on it, be it for a moment only."""
        while not re.search(pattern, self.text):
            self._read(timeout_s)
        return self.text

    def wait_for_prompt(self, timeout_s: float = 60) -> str:
        """The screen, as soon as the program waits for a line."""
        while self._unread or not re.search(PROMPT, self.text):
            self._read(timeout_s)
        return self.text

    def _read(self, timeout_s: float) -> None:
        try:
            self._unread = self._unread or self.child.read_nonblocking(65_536, timeout_s)
        except (pexpect.TIMEOUT, pexpect.EOF) as error:
            raise AssertionError(f"nothing comes after:\n{self.text}") from error
        piece, self._unread = self._unread[:PIECE], self._unread[PIECE:]
        self._stream.feed(piece)

    def type(self, keys: str) -> None:
        """Keys without a return."""
        self.child.send(keys)

    def say(self, line: str, until: str | None = None) -> str:
        """Clears the screen, types a line, and reads the screen once it is done with.

        Args:
            line: What is typed.
            until: A pattern that is waited for in place of the next prompt.
        """
        self._screen.reset()
        self.child.send(f"{line}\r")
        return self.wait_for_prompt() if until is None else self.wait_for(until)

    def end(self) -> int | None:
        """Waits for the program to end by itself; its exit code."""
        self.child.expect(pexpect.EOF)
        self._stream.feed(self.child.before or "")
        self.child.wait()
        return self.child.exitstatus


@contextmanager
def terminal(command: str, *arguments: str, env: Mapping[str, str]) -> Iterator[Terminal]:
    """A terminal in which a program runs, which is ended in the end."""
    child = pexpect.spawn(
        command,
        list(arguments),
        env=dict(env) | {"TERM": "xterm-256color"},
        dimensions=(LINES, COLUMNS),
        encoding="utf-8",
        timeout=60,
    )
    try:
        yield Terminal(child)
    finally:
        child.close(force=True)
