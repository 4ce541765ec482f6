"""The command line as pages: what `fasttts COMMAND --help` says, as tables."""

import inspect
import re
from typing import Any

import typer

from fasttts.cli import app
from website.tables import prose, table

_FLAG = re.compile(r"(?<!\S)(--?[a-z][a-z-]*)")


def command_sections() -> str:
    """The options of all commands, and a section for each: usage, description, own options."""
    group: Any = typer.main.get_command(app)  # of the copy of click that typer holds
    context = group.make_context("fasttts", [], resilient_parsing=True)
    of_all = (
        "## fasttts\n\n    fasttts [OPTIONS] COMMAND [ARGS]...\n\n"
        "These stand before the command's name.\n\n"
        f"{_options(group, context)}"
    )
    sections = [_section(name, command) for name, command in group.commands.items()]
    return "\n".join([of_all, *sections])


def _options(command: Any, context: Any) -> str:
    rows = [_row(*record) for one in command.get_params(context) if (record := _help(one, context))]
    return table(("argument or option", "meaning"), rows)


def _section(name: str, command: Any) -> str:
    context = command.make_context(name, [], resilient_parsing=True)
    pieces = " ".join(command.collect_usage_pieces(context))
    return (
        f"## fasttts {name}\n\n"
        f"    fasttts {name} {pieces}\n\n"
        f"{_description(command)}\n\n"
        f"{_options(command, context)}"
    )


def _help(parameter: Any, context: Any) -> tuple[str, str] | None:
    """How a parameter is written, and what its help says; None for one that is hidden."""
    record = parameter.get_help_record(context)
    return None if record is None else (str(record[0]), str(record[1]))


def _row(written: str, meaning: str) -> tuple[str, str]:
    return f"`{written}`", _code_flags(meaning)


def _description(command: Any) -> str:
    """The command's docstring: examples are indented below a paragraph, the rest is prose."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    return "\n\n".join(
        f"    {one.strip()}" if one.startswith("  ") else _code_flags(one) for one in paragraphs
    )


def _code_flags(text: str) -> str:
    """A text with its options as code, so that no renderer makes one dash of two."""
    return prose(_FLAG.sub(r"`\1`", text))
