"""Accuracy, and goodput against the plain loop, on the problems of `fasttts eval`.

    python -m benchmarks.evaluate programs --generator DIR --verifier tests --folder DIR
    python -m benchmarks.evaluate problems.jsonl --generator DIR --verifier judge --folder DIR

Each method answers the same problems twice on the same loaded models: in the plain loop, with every
optimisation off, and in the default one. The two take turns every few problems, and the models'
caches are emptied in between. What is done is kept in the folder, so the same command continues; it
also holds `evaluate.json`, the last line of the output.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import Report, versions
from benchmarks.scorers import Shared, SharedGenerator, empty_caches
from fasttts import FastTTS
from fasttts.cli.evaluate_programs import open_programs
from fasttts.cli.option_values import parse_options
from fasttts.cli.session import system_message
from fasttts.config import (
    PLAIN,
    EngineConfig,
    SchedulingConfig,
    SearchConfig,
    engine_config,
    search_config,
)
from fasttts.evaluation import (
    METHODS,
    TESTS,
    Comparison,
    Journal,
    Limits,
    ProblemSet,
    Record,
    Tally,
    digest,
    load_problems,
    method_config,
)
from fasttts.memory import planned_scheduling

ARMS: Mapping[str, SchedulingConfig] = {"plain": PLAIN, "default": SchedulingConfig()}
BLOCK_SIZE = 8
"""Problems after which the arms take turns, or as many as are in flight."""

NUM_RESAMPLES = 1000

COLUMNS = {
    "arm": "arm",
    "method": "method",
    "n": "n",
    "num_problems": "problems",
    "accuracy": "accuracy",
    "low": "low 95 %",
    "high": "high 95 %",
    "seconds": "seconds",
    "goodput": "goodput",
    "goodput_ratio": "goodput ratio",
    "ratio_low": "ratio low",
    "ratio_high": "ratio high",
    "same_answers": "same answers",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark."""
    options = _parser().parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    task = _task(options)
    report = Report(
        benchmark="evaluate",
        config={**task.settings, "in_flight": options.in_flight},
        seed=options.seed,
        columns=COLUMNS,
        output=options.folder / "evaluate.json",
    )
    limits = Limits(max_in_flight=options.in_flight)
    for books in _measured(task, options.folder, options.sandbox, limits):
        report.take(rows(books, task.problems.name, options.seed))
    report.print()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset")
    parser.add_argument("--folder", type=Path, required=True, help="keeps what is done")
    parser.add_argument("--generator")
    parser.add_argument("--verifier", help=f"{TESTS!r}, 'judge', a model or module:function")
    parser.add_argument("--sandbox", default="auto")
    parser.add_argument("--problems", type=int, default=None)
    parser.add_argument("--methods", default="greedy,best_of_n,beam_search")
    parser.add_argument("-n", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--system", help="a system message, or preset:math")
    parser.add_argument("--in-flight", type=int, default=1, help="problems at a time")
    parser.add_argument("--option", action="append", help="NAME=VALUE of the search")
    parser.add_argument("--engine", action="append", help="NAME=VALUE of the engine")
    return parser


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is measured.

    Attributes:
        problems: The problems.
        engine: The models.
        configs: The search of each method.
        system: A system message; None for none.
    """

    problems: ProblemSet
    engine: EngineConfig
    configs: Mapping[str, SearchConfig]
    system: str | None

    @property
    def settings(self) -> dict[str, Any]:
        """What the results depend on, as JSON data."""
        return {
            "problems": self.problems.name,
            "digest": digest(self.problems.problems),
            "engine": self.engine.model_dump(mode="json", exclude={"scheduling"}),
            "system": self.system,
            "methods": {name: each.model_dump(mode="json") for name, each in self.configs.items()},
        }


def _task(options: argparse.Namespace) -> Task:
    named = {"generator": options.generator, "verifier": options.verifier}
    engine = engine_config(
        **{name: value for name, value in named.items() if value is not None},
        **parse_options(options.engine or ()),
    )
    search = {"n": options.n, "seed": options.seed, **parse_options(options.option or ())}
    if engine.verifier == TESTS:
        search.setdefault("aggregation", "model")
    chosen = options.methods.split(",")
    return Task(
        problems=load_problems(options.dataset, count=options.problems, seed=options.seed),
        engine=engine,
        configs={name: method_config(name, **search) for name in METHODS if name in chosen},
        system=system_message(options.system),
    )


@dataclass(slots=True, kw_only=True)
class Book:
    """What one arm has done.

    Attributes:
        tally: Its numbers.
        records: Its records, by method and number of the problem.
    """

    tally: Tally
    records: dict[tuple[str, int], Record]

    def add(self, record: Record) -> None:
        """Counts a record."""
        self.tally.add(record)
        self.records[record.method, record.index] = record


Books = Mapping[str, Book]


def _measured(task: Task, folder: Path, sandbox: str, limits: Limits) -> Iterator[Books]:
    """What the arms have done, after each block of problems."""
    total = len(task.problems.problems)
    books = {arm: Book(tally=Tally(task.configs, total), records={}) for arm in ARMS}
    with ExitStack() as stack:
        journals = {}
        for arm, scheduling in ARMS.items():
            settings = {
                **task.settings,
                "versions": versions(),
                "scheduling": scheduling.model_dump(mode="json"),
                "in_flight": limits.max_in_flight,
            }
            journals[arm] = stack.enter_context(Journal(folder / f"{arm}.jsonl", settings, Record))
            for record in journals[arm].records():
                books[arm].add(record)
        yield books
        if all(book.tally.is_complete for book in books.values()):
            return
        models = stack.enter_context(_loaded(task.engine))
        comparisons = {
            arm: stack.enter_context(_comparison(models, task, scheduling, sandbox, limits))
            for arm, scheduling in ARMS.items()
        }
        _warm_up(comparisons["default"])
        size = max(BLOCK_SIZE, limits.max_in_flight)
        for number, start in enumerate(range(0, total, size)):
            block = range(start, min(start + size, total))
            for arm in (*ARMS,) if number % 2 else (*reversed(ARMS),):
                empty_caches(models.generator, models.verifier)
                _run(comparisons[arm], block, books[arm], journals[arm])
            yield books


def _loaded(config: EngineConfig) -> FastTTS:
    """The models, in an engine that does not run; tests are no model."""
    named = None if config.verifier == TESTS else config.verifier
    return FastTTS.from_config(config.model_copy(update={"verifier": named, "cache_dir": None}))


@contextmanager
def _comparison(
    models: FastTTS, task: Task, scheduling: SchedulingConfig, sandbox: str, limits: Limits
) -> Iterator[Comparison]:
    """The comparison of one arm, on models of all arms; programs run anew for each arm."""
    with open_programs(task.problems, task.engine, sandbox) as programs:
        verifier = programs.verifier
        if verifier is None and models.verifier is not None:
            verifier = Shared(models.verifier)
        with FastTTS(
            SharedGenerator(models.generator),  # type: ignore[arg-type]  # a generator by delegation
            verifier,
            scheduling=planned_scheduling(scheduling, models.plan),
            plan=models.plan,
        ) as engine:
            yield Comparison(
                engine=engine,
                problems=task.problems.problems,
                configs=task.configs,
                system=task.system,
                judge=programs.problems.judge,
                limits=limits,
            )


def _warm_up(comparison: Comparison) -> None:
    """Has each method answer a problem, of which nothing is kept."""
    for config in comparison.configs.values():
        short = search_config(config, max_tokens=64, max_step_tokens=64)
        problem = comparison.problems[0].text
        comparison.engine.search(problem, config=short, system=comparison.system)


def _run(comparison: Comparison, block: range, book: Book, journal: Journal[Record]) -> None:
    total = len(comparison.problems)
    others = {
        (method, index)
        for method in comparison.configs
        for index in range(total)
        if index not in block
    }
    with closing(comparison.run(book.tally.done | others)) as found:
        for evaluated in found:
            journal.append(evaluated.record)
            book.add(evaluated.record)


def rows(books: Books, problems: str, seed: int) -> list[dict[str, Any]]:
    """A row for each method and arm, with its goodput against that of the plain loop.

    Args:
        books: What the arms have done.
        problems: Name of the problems.
        seed: Their seed.
    """
    found = []
    for arm, book in books.items():
        for row in book.tally.evaluation(problems, seed).rows:
            compared = _compared(books["plain"].records, book.records, row.method)
            found.append({"arm": arm, **asdict(row), **compared})
    order = list(METHODS)
    return sorted(found, key=lambda row: order.index(row["method"]))


def _compared(
    plain: Mapping[tuple[str, int], Record], own: Mapping[tuple[str, int], Record], method: str
) -> dict[str, float]:
    """The ratio of goodputs on the problems that both have done, with its 95 % interval."""
    both = [key for key in sorted(plain.keys() & own.keys()) if key[0] == method]
    if not both:
        return {}
    tokens_AP, seconds_AP = (
        np.array([[measure(records[key]) for key in both] for records in (own, plain)])
        for measure in (lambda r: r.answer_tokens, lambda r: r.run.elapsed_s)
    )
    drawn_MP = np.random.default_rng(0).integers(len(both), size=(NUM_RESAMPLES, len(both)))
    goodput_AM = tokens_AP[:, drawn_MP].sum(axis=2) / seconds_AP[:, drawn_MP].sum(axis=2)
    low, high = np.percentile(goodput_AM[0] / goodput_AM[1], (2.5, 97.5))
    goodput_A = tokens_AP.sum(axis=1) / seconds_AP.sum(axis=1)
    return {
        "goodput_ratio": float(goodput_A[0] / goodput_A[1]),
        "ratio_low": float(low),
        "ratio_high": float(high),
        "same_answers": sum(own[key].answer == plain[key].answer for key in both) / len(both),
    }


if __name__ == "__main__":
    main()
