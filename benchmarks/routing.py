"""Routing policies on mixed problems: accuracy and tokens of `Cascade` against always searching.

    python -m benchmarks.routing [--output docs/results] [--problems 300]

Half of the problems are easy (2 or 3 operations), half are hard (5 to 8). Writes `routing.json`
after every row, and in the end `routing.md` and `routing.png`; with `--draw` alone it draws anew
what the file holds. Nothing runs ahead, so the tokens generated are those of the search trees, and
no equal decoding is run twice: a search depends on its prompt, its options and its seed alone.
"""

import argparse
import functools
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.report import Report
from benchmarks.routing_page import document, draw
from fasttts import FastTTS, FastTTSError, SchedulingConfig, SearchConfig, SearchError, SearchResult
from fasttts.decoding.sampling import derive_seed
from fasttts.demo.problems import Problem, generate_problems
from fasttts.engine.request import Prompt
from fasttts.evaluation import is_correct, wilson_interval
from fasttts.routing import Always, Cascade, Heuristics, Never, Router, RoutingPolicy

SEED = 30
EASY, HARD = (2, 3), (5, 8)
NUM_CALLERS = 64

COLUMNS = {
    "policy": "policy",
    "n": "n",
    "accuracy": "accuracy",
    "low": "low 95 %",
    "high": "high 95 %",
    "generated_tokens": "generated tokens",
    "verifier_tokens": "verifier tokens",
    "searched_share": "searched share",
}

ARMS: tuple[tuple[RoutingPolicy, int], ...] = (
    (Never(), 1),
    (Heuristics(min_words=None, min_numbers=5), 16),
    *((Always(), n) for n in (4, 8, 16)),
    *((Cascade(), n) for n in (4, 8, 16)),
)
"""Policies, and the beams of the searches they ask for."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark."""
    options = _parser().parse_args(arguments)
    file = options.output / "routing.json"
    if not options.draw:
        _measure_all(options.problems, file)
    found = json.loads(file.read_text(encoding="utf-8"))
    (options.output / "routing.md").write_text(document(found), encoding="utf-8")
    draw(found["rows"], options.output / "routing.png")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("docs/results"))
    parser.add_argument("--problems", type=int, default=300)
    parser.add_argument("--draw", action="store_true")
    return parser


def mixed_problems(count: int) -> list[Problem]:
    """Easy and hard test problems in equal parts, taking turns."""
    halves = [
        generate_problems("test", SEED, (count + 1) // 2, min_operations=low, max_operations=high)
        for low, high in (EASY, HARD)
    ]
    return [problem for pair in zip(*halves, strict=True) for problem in pair][:count]


def _measure_all(num_problems: int, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    report = Report(
        benchmark="routing",
        config={"problems": num_problems, "easy_operations": EASY, "hard_operations": HARD},
        seed=SEED,
        columns=COLUMNS,
        output=file,
    )
    rows: list[Mapping[str, Any]] = []
    with FastTTS.load(scheduling=SchedulingConfig(speculation=False)) as engine:
        for row in _rows(Remembering(engine), mixed_problems(num_problems)):
            rows.append(row)
            report.take(rows)
    report.print()


def _rows(engine: "Remembering", problems: Sequence[Problem]) -> Iterator[Mapping[str, Any]]:
    for policy, n in ARMS:
        answer = functools.partial(_answer, Router(engine, policy), n)
        with ThreadPoolExecutor(NUM_CALLERS) as callers:
            outcomes = list(callers.map(answer, problems, range(len(problems))))
        yield row_of(type(policy).__name__, n, outcomes, problems)


def _answer(router: Router, n: int, problem: Problem, index: int) -> SearchResult | SearchError:
    seed = derive_seed(SEED, index)
    try:
        return router.search(problem.text, n=n, beam_width=min(n, 4), seed=seed, max_tokens=400)
    except SearchError as error:
        return error


def row_of(
    policy: str,
    n: int,
    outcomes: Sequence[SearchResult | SearchError],
    problems: Sequence[Problem],
) -> Mapping[str, Any]:
    """One policy on all problems; what ended in an error is wrong, searched, and paid for."""
    graded = zip(outcomes, problems, strict=True)
    num_right = sum(is_correct(outcome, problem.answer) for outcome, problem in graded)
    low, high = wilson_interval(num_right, len(problems))
    return {
        "policy": policy,
        "n": n,
        "accuracy": num_right / len(problems),
        "low": low,
        "high": high,
        "generated_tokens": sum(outcome.usage.generated_tokens for outcome in outcomes),
        "verifier_tokens": sum(outcome.usage.verifier_computed_tokens for outcome in outcomes),
        "searched_share": sum(map(_is_searched, outcomes)) / len(problems),
    }


def _is_searched(outcome: SearchResult | SearchError) -> bool:
    if isinstance(outcome, SearchError):
        return True
    assert outcome.routing is not None
    return bool(outcome.routing["route"] == "search")


class Remembering(FastTTS):
    """An engine that does nothing twice: equal work has an equal result."""

    def __init__(self, engine: FastTTS) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._results: dict[tuple[Prompt, str], Future[SearchResult]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def search(self, prompt: Prompt, *, config: SearchConfig, extract: None = None) -> SearchResult:
        """`FastTTS.search`, without a function that finds answers."""
        key = (prompt, config.model_dump_json())
        with self._lock:
            is_new = key not in self._results
            future = self._results.setdefault(key, Future())
        if is_new:
            try:
                future.set_result(self._engine.search(prompt, config=config))
            except FastTTSError as error:
                future.set_exception(error)
        return future.result()


if __name__ == "__main__":
    main()
