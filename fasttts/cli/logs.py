"""The log of a command on standard error: on request all messages of a level, also as JSON."""

import contextlib
import io
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TextIO

import typer
from rich.logging import RichHandler

from fasttts.cli.streams import PrintableConsole
from fasttts.config.logs import LogConfig
from fasttts.observability.logs import JsonFormatter

NAMES = ("fasttts", "mcp", "uvicorn")
"""Loggers whose messages are a command's own; of all others, the warnings are logged."""

logger = logging.getLogger(__name__)


@contextmanager
def written(config: LogConfig) -> Iterator[None]:
    """Logs the messages of the body to standard error, where that is asked for.

    Args:
        config: Which messages, and in which form.
    """
    if not config.is_asked_for:
        yield
        return
    level = config.level.upper()
    with _stderr() as stream, attached(_handler(config, stream), level), _levels(level):
        logging.captureWarnings(capture=True)  # Python's own are words too
        try:
            yield
        finally:
            logging.captureWarnings(capture=False)


def warnings_shown() -> AbstractContextManager[None]:
    """Prints the warnings of a server in the body, where not all messages are logged."""
    if is_written():
        return nullcontext()
    handler = RichHandler(console=_LogConsole(stderr=True), show_path=False, markup=False)
    return attached(handler, "WARNING")


@contextmanager
def attached(handler: logging.Handler, level: str) -> Iterator[None]:
    """Has the loggers of the process write to a handler in the body.

    Args:
        handler: The handler.
        level: The lowest level of its messages.
    """
    handler.setLevel(level)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


@contextmanager
def _levels(level: str) -> Iterator[None]:
    """Sets the level of the command's own loggers in the body."""
    loggers = [logging.getLogger(name) for name in NAMES]
    usual = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(level)
    try:
        yield
    finally:
        for each, before in zip(loggers, usual, strict=True):
            each.setLevel(before)


def is_written() -> bool:
    """Whether all messages of the command are logged, so that none need be shown otherwise."""
    return bool(_handlers(_Written))


def is_json() -> bool:
    """Whether standard error is read as lines of JSON."""
    return any(isinstance(each.formatter, JsonFormatter) for each in _handlers(_Written))


def tell(text: str, *, error: BaseException | None = None, debug: bool = False) -> None:
    """Prints a line beside the results, on standard error: as JSON where the log is.

    Args:
        text: One line.
        error: The error that the line is about; None for none.
        debug: Whether to show the error's traceback, in place of the line where there is no JSON.
    """
    if is_json():
        level = logging.INFO if error is None else logging.ERROR
        logger.log(level, "%s", text, exc_info=error if debug else None)
    elif error is not None and debug:
        traceback.print_exception(error)
    else:
        typer.echo(f"fasttts: {text}", err=True)


class _LogConsole(PrintableConsole):
    """Prints messages of any thread, and nothing more once their reader has gone."""

    def on_broken_pipe(self) -> None:
        self.quiet = True  # rich's own ends the thread, which may be the step loop's


class _Written:
    """Marks the handlers of `written`."""


class _JsonHandler(_Written, logging.StreamHandler[TextIO]):
    """Writes lines of JSON, and nothing more once their reader has gone."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exception(), BrokenPipeError):
            super().handleError(record)


class _TextHandler(_Written, RichHandler):
    """Writes words."""


def _handlers(kind: type[_Written]) -> list[logging.Handler]:
    return [each for each in logging.getLogger().handlers if isinstance(each, kind)]


def _handler(config: LogConfig, stream: TextIO) -> logging.Handler:
    if config.format == "json":
        handler: logging.Handler = _JsonHandler(stream)
        handler.setFormatter(JsonFormatter())
        return handler
    console = _LogConsole(file=stream)
    return _TextHandler(console=console, show_path=False, markup=False)


@contextmanager
def _stderr() -> Iterator[TextIO]:
    """Standard error by a descriptor of its own: while models open, the usual one is silenced."""
    try:
        descriptor = os.dup(sys.stderr.fileno())
    except (AttributeError, io.UnsupportedOperation):  # replaced by a stream without a file
        yield sys.stderr
        return
    stream = open(descriptor, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115, its end may fail
    try:
        yield stream
    finally:
        with contextlib.suppress(OSError):  # its reader may have gone, which fails no command
            stream.close()
