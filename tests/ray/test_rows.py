"""What an actor makes of the rows of a batch, without a cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pytest

from fasttts import EngineConfig
from fasttts.config import search_config

PLAIN = search_config(search="best_of_n", n=2, max_tokens=60, seed=9)
MOST = (1 << 63) - 1


@contextmanager
def solver(seed: str | None) -> Iterator[Any]:
    from fasttts.ray.dataset import _Solver

    made = _Solver(
        engine=EngineConfig(),
        opener="tests.ray.engines:quick",
        config=PLAIN,
        system=None,
        problem="problem",
        seed=seed,
    )
    try:
        yield made
    finally:
        made._engine.close()


def solved(seeds: pa.Array, problems: list[Any] | None = None) -> list[dict[str, Any]]:
    """The rows of problems with these seeds."""
    asked = problems or [f"What is {number} + 1?" for number in range(len(seeds))]
    with solver("s") as made:
        rows: list[dict[str, Any]] = made(pa.table({"problem": asked, "s": seeds})).to_pylist()
    assert [row["input"]["problem"] for row in rows] == asked
    return rows


@pytest.mark.parametrize(
    ("seeds", "bad", "message"),
    [
        (pa.array([1, None, 3]), 1, "column 's': seed is a whole number, not NoneType: None"),
        (pa.array([1, -1, 3]), 1, "column 's': seed=-1: "),
        (pa.array([1.0, 1.5, 3.0]), 1, "column 's': seed is a whole number, not float: 1.5"),
        (pa.array([1.0, float("nan"), 3.0]), 1, "column 's': seed is a whole number, not float"),
        (pa.array([1.0, float("inf"), 3.0]), 1, "column 's': seed is a whole number, not float"),
        (pa.array([1.0, 2.0**63, 3.0]), 1, f"column 's': seed={1 << 63}: "),
        (pa.array([1, 3, 1 << 63], pa.uint64()), 2, f"column 's': seed={1 << 63}: "),
    ],
)
def test_a_bad_seed_is_the_fault_of_its_row(seeds: pa.Array, bad: int, message: str) -> None:
    rows = solved(seeds)
    assert rows[bad]["error"].startswith(message)
    assert rows[bad]["text"] is rows[bad]["seed"] is None
    others = [row for number, row in enumerate(rows) if number != bad]
    assert [row["error"] for row in others] == [None, None]
    assert [row["seed"] for row in others] == [1, 3]


def test_whole_floats_are_seeds_like_integers() -> None:
    """A column of integers with a gap is one of floats in pandas."""
    problems = ["What is 2 + 2?", "What is 2 + 3?"]
    whole = solved(pa.array([7, 0]), problems)
    floats = solved(pa.array([7.0, 0.0]), problems)
    names = ("text", "answer", "score", "seed", "config", "error")
    told = [[{name: row[name] for name in names} for row in rows] for rows in (whole, floats)]
    assert told[0] == told[1]
    assert [row["error"] for row in solved(pa.array([0, MOST]))] == [None, None]


def test_a_column_without_any_seed_has_a_row_for_each_problem() -> None:
    rows = solved(pa.array(["one", "two"]))
    assert [row["error"] for row in rows] == [
        f"column 's': seed is a whole number, not str: {seed!r}" for seed in ("one", "two")
    ]


def test_a_bad_problem_is_told_before_its_seed() -> None:
    rows = solved(pa.array([None, 2, 3]), [None, None, "What is 1 + 1?"])
    assert ["problem" in (row["error"] or "") for row in rows] == [True, True, False]
    assert [row["seed"] for row in rows] == [None, None, 3]


def test_without_a_column_all_have_the_seed_of_the_options() -> None:
    with solver(None) as made:
        rows = made(pa.table({"problem": ["What is 1 + 1?"], "s": [None]})).to_pylist()
    assert [(row["error"], row["seed"]) for row in rows] == [(None, 9)]
