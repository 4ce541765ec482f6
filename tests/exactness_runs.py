"""Runs of `benchmarks.exactness`, each in a process of its own: a process has one `numerics`."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

ROOT = Path(__file__).parents[1]
ARMS = ("plain", "full", "slots_24", "two_at_once")

Rows = dict[str, dict[str, Any]]
"""What was found, by arm."""


def run_exactness(
    *flags: str, timeout_s: float, variables: Mapping[str, str] = MappingProxyType({})
) -> Rows:
    """Runs searches in several schedules and returns what was found."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.exactness", *flags],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    document = json.loads(done.stdout.splitlines()[-1])
    return {row["arm"]: row for row in document["rows"]}


def check_same_trees(rows: Rows, *, searches: int, arms: Sequence[str] = ARMS) -> None:
    """Checks that every search has the plain loop's tree in every schedule."""
    assert tuple(rows) == tuple(arms)
    for row in rows.values():
        assert row["numerics"] == "deterministic"
        assert row["differences"] == []
        assert (row["searches"], row["same"]) == (searches, searches)
    costs = {arm: row["generated_tokens"] for arm, row in rows.items()}
    assert max(costs.values()) > costs["plain"], "it speculated"
