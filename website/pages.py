"""The generated pages of `docs/reference`, by file name."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args

from fasttts import Budget, EngineConfig, FastTTSError, SchedulingConfig, SearchConfig
from fasttts.config.serving import ServingConfig
from fasttts.types import Event
from website import docstrings
from website.api import API_PAGES
from website.commands import command_sections
from website.metrics import metrics_table
from website.options import options_table, variables
from website.records import section, subclasses, tree

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"
NOTE = "<!-- Written by `python -m website pages` from the code: change it there. -->\n"


def engine_options() -> str:
    """Options of an engine."""
    return (
        "# Options of the engine\n\n"
        "Fields of `EngineConfig`, which are options of `FastTTS.load`.\n"
        f"{variables(EngineConfig)}\n"
        "Options with parts are JSON objects there, such as\n"
        "`FASTTTS_SCHEDULING='{\"slots\": 32}'`. [The engine](../engine.md) explains them,\n"
        "[memory](../memory.md) those of memory.\n\n"
        f"{options_table(EngineConfig)}"
    )


def search_options() -> str:
    """Options of a search and of its budget."""
    return (
        "# Options of a search\n\n"
        "Fields of `SearchConfig`, which are options of every call of an engine.\n"
        "[The searches](../policies.md) and [answers](../answers.md) explain them.\n\n"
        f"{options_table(SearchConfig)}\n"
        "## Budget\n\n"
        f"{docstrings.text(Budget)} [Budgets](../engine.md#budgets) has examples.\n\n"
        f"{options_table(Budget)}"
    )


def scheduling_options() -> str:
    """Options of the step loop."""
    return (
        "# Options of scheduling\n\n"
        "Fields of `SchedulingConfig`, the option `scheduling` of an engine.\n"
        f"{docstrings.text(SchedulingConfig)} [Speculation](../speculation.md) explains them.\n\n"
        f"{options_table(SchedulingConfig)}"
    )


def serving_options() -> str:
    """Options of the server."""
    return (
        "# Options of the server\n\n"
        f"Fields of `ServingConfig`. {variables(ServingConfig)} [Serving](../serving.md) explains "
        "them.\n\n"
        f"{options_table(ServingConfig)}"
    )


def events() -> str:
    """Events of a stream."""
    return (
        "# Events\n\n"
        "What `stream`, `astream` and the events of a handle yield, in the order in which kinds\n"
        "first occur. [Streams](../engine.md#streams) has an example.\n\n"
        + "\n".join(section(kind) for kind in get_args(Event))
    )


def errors() -> str:
    """Errors as a tree, and each with its fields."""
    classes = subclasses(FastTTSError)
    return (
        "# Errors\n\n"
        "Everything that FastTTS raises on purpose, with the built-in error that it is as well.\n"
        "[Faults](../engine.md#faults) tells who hears of which.\n\n"
        f"{tree(classes)}\n" + "\n".join(section(one) for one in classes)
    )


def metrics() -> str:
    """Metrics for Prometheus."""
    return (
        "# Metrics\n\n"
        "What a server answers at `/metrics`; those of an engine alone, without\n"
        "`fasttts_http_`, come from [its collector](../observability.md#prometheus).\n\n"
        f"{metrics_table()}"
    )


def command_line() -> str:
    """Commands with their arguments and options."""
    return (
        "# Commands and their options\n\n"
        "Each command as its `--help` has it. [The command line](../cli.md) explains them.\n\n"
        f"{command_sections()}"
    )


PAGES: Mapping[str, Callable[[], str]] = {
    "engine-options.md": engine_options,
    "search-options.md": search_options,
    "scheduling-options.md": scheduling_options,
    "server-options.md": serving_options,
    "events.md": events,
    "errors.md": errors,
    "metrics.md": metrics,
    "commands.md": command_line,
    **API_PAGES,
}


def page_text(name: str) -> str:
    """A whole page, with a note for those who would edit it.

    Args:
        name: A key of `PAGES`.
    """
    return f"{NOTE}\n{PAGES[name]()}"


def write(folder: Path = FOLDER) -> None:
    """Writes every page.

    Args:
        folder: Where to; it is made if missing.
    """
    for name in PAGES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page_text(name), encoding="utf-8")
