"""Shared by all commands: input, an engine, and error messages."""

import logging
import logging.handlers
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from fasttts import SYSTEM_PRESETS, FastTTS
from fasttts.cli import logs, render
from fasttts.config import EngineConfig, SearchConfig, engine_config, is_function_name
from fasttts.config.unicode_text import check_text
from fasttts.config.validation import did_you_mean
from fasttts.engine.loading import check_conversations
from fasttts.errors import ConfigurationError, FastTTSError
from fasttts.interfaces import Verifier
from fasttts.memory.units import parse_quantity
from fasttts.search import resolve

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
INTERRUPTED = "interrupted"
STDIN = "-"
_PRESET = "preset:"

OF_RESULTS = (
    "generator",
    "verifier",
    "verifier_format",
    "verifier_format_args",
    "dtype",
    "numerics",
    "max_model_len",
    "allow_control_tokens",
    "generator_args",
    "verifier_args",
)
"""Options of the engine that may change a result."""


def engine_settings(*, kv_cache_memory_bytes: str | None = None, **options: object) -> EngineConfig:
    """Builds the options of the engine; None takes the environment's or the default.

    Args:
        kv_cache_memory_bytes: A size with its unit.
        options: Other fields of `EngineConfig`.

    Raises:
        ConfigurationError: An option or a variable of the environment cannot work.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if kv_cache_memory_bytes is not None:
        flag = "--kv-cache-memory-bytes"
        given["kv_cache_memory_bytes"] = int(parse_quantity(kv_cache_memory_bytes, "B", flag))
    return engine_config(**given)


def check_search(config: SearchConfig, settings: EngineConfig) -> None:
    """Checks that the models to load can run a search.

    Args:
        config: The search.
        settings: The models.

    Raises:
        ConfigurationError: They cannot.
    """
    resolve(config, has_verifier=settings.verifier is not None)


def open_engine(settings: EngineConfig, verifier: Verifier | None = None) -> FastTTS:
    """Loads the models; a verifier's module may be in the current directory.

    Args:
        settings: The models.
        verifier: In place of the verifier that they name; None for that one.

    Raises:
        ConfigurationError: The generator has no chat template, which every command needs.
    """
    check_conversations(settings)
    if settings.verifier is not None and is_function_name(settings.verifier):
        sys.path.insert(0, os.getcwd())
    if verifier is None:
        return FastTTS.from_config(settings)
    return FastTTS.from_config(settings, verifier=verifier)


def read_problem(argument: str) -> str:
    """Returns the argument, or the text of standard input when it is `-`.

    Raises:
        ConfigurationError: There is no problem in it, or it is not UTF-8.
    """
    try:
        text = sys.stdin.buffer.read().decode() if argument == STDIN else argument
    except UnicodeError as error:
        raise ConfigurationError(f"the problem is not UTF-8 text: {error}") from error
    check_text(text, "the problem")
    if not text.strip():
        raise ConfigurationError("the problem is empty: pass it as text, or '-' to read stdin")
    return text.strip()


@contextmanager
def loaded(settings: EngineConfig, verifier: Verifier | None = None) -> Iterator[FastTTS]:
    """Loads an engine for the body, and closes it afterwards.

    Closing vLLM takes seconds, so Ctrl-C is reported before it and a second one skips it.

    Args:
        settings: The models.
        verifier: As for `open_engine`.

    Raises:
        typer.Exit: The body was interrupted; the code is `EXIT_INTERRUPTED`.
    """
    with _told_warnings(), render.loading():
        engine = open_engine(settings, verifier)
    with engine:
        try:
            yield engine
        except KeyboardInterrupt as error:
            with _impatient():
                logs.tell(INTERRUPTED)
                engine.close()
            raise typer.Exit(EXIT_INTERRUPTED) from error


@contextmanager
def _told_warnings() -> Iterator[None]:
    """Prints the warnings that are logged in the body, once it has ended, unless all are logged."""
    if logs.is_written():
        yield
        return
    waiting = logging.handlers.BufferingHandler(sys.maxsize)
    waiting.setLevel(logging.WARNING)
    log = logging.getLogger("fasttts")
    log.addHandler(waiting)
    try:
        yield
    finally:
        log.removeHandler(waiting)
        for record in waiting.buffer:
            text = f"warning: {record.getMessage()}"
            render.stderr().print(text, style="yellow", soft_wrap=True)


@contextmanager
def without_warnings() -> Iterator[None]:
    """Keeps the warnings about single searches off the terminal while the body runs many."""
    log = logging.getLogger("fasttts.engine")
    usual = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(usual)


@contextmanager
def _impatient() -> Iterator[None]:
    """Lets Ctrl-C end the process at once; the system frees its resources."""
    usual = signal.signal(signal.SIGINT, lambda *_: os._exit(EXIT_INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


@contextmanager
def reported_errors(*, debug: bool) -> Iterator[None]:
    """Turns our errors into one line on stderr and exit code 2, Ctrl-C into exit code 130.

    Args:
        debug: Whether to print the traceback instead of the line.

    Raises:
        typer.Exit: The body failed or was interrupted.
    """
    try:
        yield
    except FastTTSError as error:
        logs.tell(" ".join(str(error).split()), error=error, debug=debug)
        raise typer.Exit(EXIT_ERROR) from error
    except KeyboardInterrupt as error:
        logs.tell(INTERRUPTED)
        raise typer.Exit(EXIT_INTERRUPTED) from error


def system_message(system: str | None) -> str | None:
    """Returns the system message of an option `--system`, which may name a preset.

    Raises:
        ConfigurationError: There is no such preset, or it is not UTF-8.
    """
    if system is None or not system.startswith(_PRESET):
        return None if system is None else check_text(system, "--system")
    name = system.removeprefix(_PRESET)
    if name not in SYSTEM_PRESETS:
        hint = did_you_mean(name, SYSTEM_PRESETS)
        raise ConfigurationError(f"--system {system}: there is no such preset, {hint}")
    return SYSTEM_PRESETS[name]
