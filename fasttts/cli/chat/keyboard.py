"""Keyboard input: line editing, history, and Tab completion of commands."""

import contextlib
import io
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from platformdirs import user_state_path

from fasttts.cli.chat.commands import completions

MAX_LINES = 1000
_PROMPT = "> "
_BOLD_PROMPT = "\001\033[1m\002> \001\033[0m\002"
"""The same in bold; the marks enclose characters of no width, for readline."""


def read_line() -> str:
    """Reads the next line; bytes that are no UTF-8 become halves of characters, and no error.

    Raises:
        EOFError: There is none.
    """
    if isinstance(sys.stdin, io.TextIOWrapper) and sys.stdin.errors != "surrogateescape":
        sys.stdin.reconfigure(errors="surrogateescape")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return input()
    return input(_PROMPT if "NO_COLOR" in os.environ else _BOLD_PROMPT)


@contextlib.contextmanager
def remembered(path: Path | None = None) -> Iterator[None]:
    """Loads the history of earlier chats, and saves it after the body.

    Args:
        path: The history file; None takes the user's state directory.
    """
    if not sys.stdin.isatty():
        yield
        return
    import readline  # may write to the terminal when it is loaded

    path = path or user_state_path("fasttts") / "chat-lines"
    readline.set_history_length(MAX_LINES)
    with contextlib.suppress(OSError, ValueError):
        os.close(_opened(path, os.O_RDONLY))
        readline.read_history_file(path)
    readline.set_completer_delims("")
    readline.set_completer(_completer)
    readline.parse_and_bind("tab: complete")
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(_opened(path, os.O_WRONLY | os.O_CREAT))
            readline.write_history_file(path)


def _opened(path: Path, flags: int) -> int:
    """Opens a regular file of the user's.

    Raises:
        OSError: There is none, or a link or anything else is in its place.
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is no regular file")
    return descriptor


def _completer(text: str, index: int) -> str | None:
    found = completions(text) if text.startswith("/") else []
    return found[index] if index < len(found) else None
