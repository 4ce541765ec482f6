"""Evaluates searches on a CSV file of problems with known answers.

Run it with `python examples/evaluate_csv.py [PROBLEMS [RESULTS]]`. PROBLEMS has the columns
`problem` and `answer` and is `examples/problems.csv` by default; all of them are solved together.
RESULTS gets a row for each problem and search: the answer found, its score, whether it is right,
and the cost. The variables FASTTTS_GENERATOR and FASTTTS_VERIFIER name other models; a generator
without a verifier judges itself.
"""

import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from fasttts import FastTTS, SearchConfig, SearchError, SearchResult
from fasttts.config import engine_config
from fasttts.evaluation import is_correct, wilson_interval

PROBLEMS = Path(__file__).with_name("problems.csv")
SEARCHES = (
    SearchConfig(search="none", max_tokens=400),
    SearchConfig(search="best_of_n", n=16, max_tokens=400),
    SearchConfig(search="beam_search", n=16, beam_width=4, max_tokens=400),
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One problem under one search."""

    search: str
    problem: str
    expected: str
    found: str
    score: float | None
    is_right: bool
    generated_tokens: int


def main(problems: Path = PROBLEMS, results: Path | None = None) -> None:
    with problems.open(encoding="utf-8", newline="") as file:
        asked = [(row["problem"], row["answer"]) for row in csv.DictReader(file)]
    rows: list[Row] = []
    with FastTTS.load(verifier=engine_config().verifier or "judge") as engine:
        for config in SEARCHES:
            rows += evaluate(engine, asked, config)
            print(summary(rows[-len(asked) :]))
    if results is not None:
        write(rows, results)


def evaluate(
    engine: FastTTS, asked: Sequence[tuple[str, str]], config: SearchConfig
) -> Iterator[Row]:
    """Lets the engine solve all problems together."""
    found = engine.search_many([problem for problem, _ in asked], config=config)
    for (problem, expected), result in zip(asked, found, strict=True):
        yield row(config.search, problem, expected, result)


def row(search: str, problem: str, expected: str, result: SearchResult | SearchError) -> Row:
    """Makes a row; a problem without a complete candidate counts as wrong."""
    found = result if isinstance(result, SearchResult) else None
    return Row(
        search=search,
        problem=problem,
        expected=expected,
        found=(found and found.answer) or "",
        score=found.score if found else None,
        is_right=is_correct(result, expected),
        generated_tokens=found.usage.generated_tokens if found else 0,
    )


def summary(rows: Sequence[Row]) -> str:
    """Formats the share of right answers with its 95 % interval, and the tokens of one problem."""
    num_right, count = sum(row.is_right for row in rows), len(rows)
    low, high = wilson_interval(num_right, count)
    tokens = sum(row.generated_tokens for row in rows) / count
    return (
        f"{rows[0].search:12} {num_right:4} of {count} right ({low:.0%} to {high:.0%}), "
        f"{tokens:,.0f} tokens a problem"
    )


def write(rows: Sequence[Row], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(map(asdict, rows))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
