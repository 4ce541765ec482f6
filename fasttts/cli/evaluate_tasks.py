"""`fasttts eval --tasks`: search methods compared on tasks of lm-evaluation-harness."""

import importlib.metadata
import importlib.util
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fasttts import FastTTS, __version__
from fasttts.chat import cost_report
from fasttts.cli import render, session
from fasttts.cli.evaluate_tasks_view import TaskCost, TaskScore, tasks_view
from fasttts.cli.tree_page import TreePages, make_folder
from fasttts.config import EngineConfig, SearchConfig
from fasttts.errors import ConfigurationError
from fasttts.types import SearchResult

if TYPE_CHECKING:
    from lm_eval_fasttts import Outcome
    from lm_eval_fasttts.tasks import HarnessTasks

_NOT_A_SCORE = ("alias", "name", "sample_len", "sample_count")


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksRun:
    """An evaluation on tasks of the harness.

    Attributes:
        names: Names of the tasks.
        include_path: A directory of further tasks; None for none.
        configs: The search of each method.
        limit: Most problems of each task; None for all.
        system: A system message; None for none.
        settings: The models.
        in_flight: Most problems in work, or waiting, at a time.
        output: Where all is written, with every answer; None for nowhere.
        trees: A directory for the pages of the problems; None for none.
        as_json: Whether to print JSON in place of the tables.
    """

    names: tuple[str, ...]
    include_path: Path | None
    configs: Mapping[str, SearchConfig]
    limit: int | None
    system: str | None
    settings: EngineConfig
    in_flight: int
    output: Path | None
    trees: Path | None
    as_json: bool

    def run(self) -> None:
        """Evaluates each method on all tasks, and prints the scores side by side.

        Raises:
            ConfigurationError: The harness is missing, or a task or an option cannot work.
        """
        if importlib.util.find_spec("lm_eval") is None:
            raise ConfigurationError(
                "--tasks needs lm-evaluation-harness: pip install 'fasttts[lm-eval]'"
            )
        from lm_eval_fasttts.tasks import HarnessTasks

        self._check_output()
        tasks = HarnessTasks.find(self.names, self.include_path)
        make_folder(self.trees)
        report = _Report(self)
        pages = None if self.trees is None else TreePages(self.trees, list(self.configs))
        with session.loaded(self.settings) as engine, session.without_warnings():
            for method in self.configs:
                self._evaluate(method, engine, tasks, report, pages)
                if self.output is not None:
                    _write(self.output, {**report.to_dict(), "samples": report.samples})
        if self.as_json:
            sys.stdout.write(json.dumps(report.to_dict()) + "\n")
        else:
            render.stdout().print(tasks_view(report.scores, report.costs))

    def _check_output(self) -> None:
        if self.output is not None and self.output.exists():
            raise ConfigurationError(
                f"--output {self.output}: it exists, and a run of tasks is not continued; name "
                "another file"
            )
        if self.output is not None and not self.output.parent.is_dir():
            raise ConfigurationError(
                f"--output {self.output}: there is no directory {self.output.parent}"
            )

    def _evaluate(
        self,
        method: str,
        engine: FastTTS,
        tasks: "HarnessTasks",
        report: "_Report",
        pages: TreePages | None,
    ) -> None:
        from lm_eval_fasttts import FastTTSLM

        started_s = time.perf_counter()
        with report.watching(method, pages) as on_outcome:
            model = FastTTSLM(
                engine=engine,
                config=self.configs[method],
                max_in_flight=self.in_flight,
                on_outcome=on_outcome,
            )
            found = tasks.evaluate(model, limit=self.limit, system=self.system)
        report.add(method, found, time.perf_counter() - started_s)


def refuse_options_of_datasets(given: Mapping[str, object]) -> None:
    """Checks that nothing was asked for that only a DATASET has.

    Args:
        given: Values of such options, by flag.

    Raises:
        ConfigurationError: One is given.
    """
    for flag, value in given.items():
        if value not in (None, False):
            raise ConfigurationError(f"{flag} is about a DATASET, so it does not go with --tasks")


@dataclass(slots=True)
class _Report:
    """What the methods have scored and cost so far."""

    run: TasksRun
    scores: list[TaskScore] = field(default_factory=list)
    costs: list[TaskCost] = field(default_factory=list)
    samples: dict[str, Any] = field(default_factory=dict)
    _numbers: dict[tuple[str | None, int, int], int] = field(default_factory=dict)
    _searches: dict[tuple[str | None, int], list[dict[str, Any]]] = field(default_factory=dict)
    _counts: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def watching(
        self, method: str, pages: TreePages | None
    ) -> Iterator[Callable[["Outcome"], None]]:
        """Shows the progress of a method, and keeps the costs of its searches."""
        self._searches.clear()
        self._counts.clear()
        with render.progress_bar() as bar:
            shown = bar.add_task(method, total=None)

            def on_outcome(outcome: "Outcome") -> None:
                bar.advance(shown)
                self._keep(outcome)
                if pages is not None and isinstance(outcome.ended, SearchResult):
                    key = (outcome.task, outcome.doc_id, outcome.repeat)
                    number = self._numbers.setdefault(key, len(self._numbers))
                    pages.add(number, method, outcome.ended)

            yield on_outcome

    def _keep(self, outcome: "Outcome") -> None:
        ended = outcome.ended
        self._counts["requests"] += 1
        if isinstance(ended, SearchResult):
            self._counts["tokens"] += ended.usage.generated_tokens
            self._counts["verifier_tokens"] += ended.usage.verifier_computed_tokens
            kept = cost_report(ended)
        else:
            self._counts["errors"] += 1
            kept = {"error": str(ended)}
        self._searches.setdefault((outcome.task, outcome.doc_id), []).append(kept)

    def add(self, method: str, found: Mapping[str, Any], seconds: float) -> None:
        """Takes the harness's results of a method."""
        for name, metrics in {**found["results"], **found.get("groups", {})}.items():
            self.scores += _scores(method, name, metrics)
        counts = {name: self._counts[name] for name in TaskCost.COUNTS}
        self.costs.append(TaskCost(method=method, seconds=seconds, **counts))
        self.samples[method] = {
            name: [
                {**sample, "searches": self._searches.get((name, sample["doc_id"]), [])}
                for sample in samples
            ]
            for name, samples in found["samples"].items()
        }

    def to_dict(self) -> dict[str, Any]:
        """The scores and costs as JSON data."""
        return {
            "kind": "fasttts-eval-tasks",
            "version": 1,
            "fasttts": __version__,
            "lm_eval": importlib.metadata.version("lm-eval"),
            "tasks": list(self.run.names),
            "limit": self.run.limit,
            "generator": self.run.settings.generator,
            "verifier": self.run.settings.verifier,
            "methods": {n: each.model_dump(mode="json") for n, each in self.run.configs.items()},
            "scores": [asdict(score) for score in self.scores],
            "costs": [asdict(cost) for cost in self.costs],
        }


def _scores(method: str, task: str, metrics: Mapping[str, Any]) -> Iterator[TaskScore]:
    """The values of `metric,filter`, each with its standard error where there is one."""
    for key, value in metrics.items():
        metric, _, picked = key.partition(",")
        if key in _NOT_A_SCORE or metric.endswith("_stderr") or not isinstance(value, int | float):
            continue
        stderr = metrics.get(f"{metric}_stderr,{picked}")
        yield TaskScore(
            task=task,
            method=method,
            metric=metric,
            filter=picked,
            value=float(value),
            stderr=float(stderr) if isinstance(stderr, int | float) else None,
            num_problems=metrics.get("sample_len"),
        )


def _write(file: Path, document: Mapping[str, Any]) -> None:
    try:
        file.write_text(json.dumps(document, default=_plain), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--output {file}: {error}") from error


def _plain(value: Any) -> Any:
    """A number of numpy's as Python's; anything else that tasks keep as its text."""
    return value.item() if hasattr(value, "item") else str(value)
