"""The streams and consoles of the command line, which print printable text alone.

Whoever writes to standard output or standard error, be it a command, a log, a warning, a traceback
or a message of the parser of options, writes through `PrintableStream`. Consoles write escape
sequences of their own, so they take the stream behind it and make the texts printable themselves.
"""

import codecs
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.live import Live
from rich.progress import Progress
from rich.protocol import rich_cast
from rich.segment import Segment
from rich.text import Text
from typer.core import TyperGroup

from fasttts.cli.printable import escaped, printable, printable_text

_ESCAPES = "fasttts.escapes"
"""What becomes of characters that a stream's encoding lacks: the same escapes."""


def _escape(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError), "registered for streams that are written"
    return escaped(error.object[error.start : error.end]), error.end


codecs.register_error(_ESCAPES, _escape)


class OutputError(OSError):
    """Output cannot leave this process: the disk behind a stream is full, say."""


class _Stream:
    """A stream whose failures to write can be told from those of other files."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            raise OutputError(error.errno, error.strerror) from error

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            raise OutputError(error.errno, error.strerror) from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def written_out() -> Iterator[None]:
    """Writes what the body leaves in the buffer of standard output.

    Raises:
        OutputError: It, or something before it, cannot be written; the rest is dropped, which
            Python else tries to write once more when the process ends.
    """
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except OutputError:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        raise


class PrintableStream:
    """A stream whose written text is made printable.

    It has no `buffer`, so that nobody writes past it.

    Args:
        stream: Where the text goes.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Writes the text and returns its length."""
        self.stream.write(printable(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes all lines."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":
            raise AttributeError(name)
        return getattr(self.stream, name)


def shield() -> None:
    """Puts printable streams in the place of `sys.stdout` and `sys.stderr`, where they are not."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or isinstance(stream, PrintableStream):
            continue
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_ESCAPES)
        setattr(sys, name, PrintableStream(cast(TextIO, _Stream(stream))))


@contextmanager
def shielded() -> Iterator[None]:
    """Does so for the body, and restores the streams."""
    usual = sys.stdout, sys.stderr
    shield()
    ours = sys.stdout, sys.stderr
    try:
        yield
    finally:
        # A stream that was replaced meanwhile, as when a pipe is closed, is left in its place.
        sys.stdout = usual[0] if sys.stdout is ours[0] else sys.stdout
        sys.stderr = usual[1] if sys.stderr is ours[1] else sys.stderr


class ShieldedGroup(TyperGroup):
    """Commands whose output is printable, with the messages about their options."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Runs a command."""
        with shielded():
            return super().main(*args, **options)


class PrintableConsole(Console):
    """A console that shows all texts printable, and reads neither markup nor emoji in them.

    Args:
        stderr: Whether it writes to standard error.
        file: Another stream to write to; None for none.
    """

    def __init__(self, *, stderr: bool = False, file: TextIO | None = None) -> None:
        stream = file or (sys.stderr if stderr else sys.stdout)
        behind = stream.stream if isinstance(stream, PrintableStream) else stream
        super().__init__(file=behind, stderr=stderr, markup=False, emoji=False, highlight=False)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Renders a view; the console calls it for every text.

        Args:
            renderable: The view.
            options: As in `Console`.
        """
        shown = rich_cast(renderable)
        return super().render(printable_text(shown) if isinstance(shown, Text) else shown, options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Makes a text of a string; the console calls it for strings in tables and groups.

        Args:
            text: The string.
            options: As in `Console`.
        """
        return printable_text(super().render_str(text, **options))


@contextmanager
def _shielding() -> Iterator[None]:
    """Shields the streams again, where the body has replaced them."""
    before = sys.stdout, sys.stderr
    yield
    if before != (sys.stdout, sys.stderr):
        shield()


class ShieldedLive(Live):
    """A changing view; what others write meanwhile is printable before it is shown above it."""

    def start(self, refresh: bool = False) -> None:
        """Begins to show the view; rich redirects the streams of a terminal here."""
        with _shielding():
            super().start(refresh)


class ShieldedProgress(Progress):
    """Progress bars of which the same holds."""

    def start(self) -> None:
        """Begins to show the bars."""
        with _shielding():
            super().start()
