"""`fasttts eval`: the accuracy of search methods side by side."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from fasttts import FastTTS
from fasttts.cli import options, render, session
from fasttts.cli.options import DEFAULTS
from fasttts.cli.tree_page import make_folder, save_trees
from fasttts.config import SearchConfig
from fasttts.decoding.sampling import derive_seed
from fasttts.demo.problems import Problem, generate_problems
from fasttts.errors import ConfigurationError
from fasttts.evaluation import (
    METHODS,
    Evaluation,
    Method,
    ProblemOutcome,
    Row,
    is_correct,
    method_config,
    summarize,
)

DATASETS = ("demo",)
BASELINES: tuple[Method, ...] = ("greedy", "majority", "best_of_n")
DEFAULT: tuple[Method, ...] = ("beam_search",)


def run(
    dataset: options.Dataset,
    *,
    num_problems: options.NumProblems = 100,
    search: options.Compared = None,
    n: options.Count = DEFAULTS.n,
    beam_width: options.BeamWidth = DEFAULTS.beam_width,
    min_operations: options.MinOperations = 4,
    max_operations: options.MaxOperations = 8,
    seed: options.Seed = DEFAULTS.seed,
    generator: options.Generator = None,
    verifier: options.Verifier = None,
    dtype: options.DtypeName = None,
    max_model_len: options.MaxModelLen = None,
    max_num_seqs: options.MaxNumSeqs = None,
    kv_cache_memory_bytes: options.KvCacheMemory = None,
    gpu_memory_utilization: options.MemoryUtilization = None,
    trees: options.Trees = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Compare search methods on problems of known answer.

    Greedy decoding, majority vote, best-of-n and the searches named by --search answer the same
    seeded problems; the table shows their accuracy with 95 % Wilson intervals.
    """
    with session.reported_errors(debug=debug):
        settings = session.engine_settings(
            generator=generator,
            verifier=verifier,
            dtype=dtype,
            max_model_len=max_model_len,
            max_num_seqs=max_num_seqs,
            kv_cache_memory_bytes=kv_cache_memory_bytes,
            gpu_memory_utilization=gpu_memory_utilization,
        )
        settings = settings.model_copy(update={"cache_dir": None})  # seconds are measured
        configs = {
            method: method_config(method, n=n, beam_width=beam_width, seed=seed)
            for method in _methods(search or DEFAULT, has_verifier=settings.verifier is not None)
        }
        problems = _problems(dataset, seed, num_problems, min_operations, max_operations)
        for config in configs.values():
            session.check_search(config, settings)
        make_folder(trees)
        with session.loaded(settings) as engine:
            evaluation = _compare(engine, problems, configs, seed, trees)
        _print(evaluation, as_json=as_json)


def _methods(named: Sequence[str], *, has_verifier: bool) -> list[Method]:
    """The named methods and the baselines that the models allow, in the table's order."""
    for name in named:
        if name not in METHODS:
            raise ConfigurationError(f"unknown method {name!r}: use {', '.join(METHODS)}")
    baselines = [method for method in BASELINES if has_verifier or method != "best_of_n"]
    return [method for method in METHODS if method in (*baselines, *named)]


def _problems(dataset: str, seed: int, count: int, low: int, high: int) -> list[Problem]:
    if dataset not in DATASETS:
        raise ConfigurationError(f"unknown data set {dataset!r}: use {', '.join(DATASETS)}")
    if count < 1:
        raise ConfigurationError(f"--num-problems {count}: at least 1 is needed")
    try:
        return generate_problems("test", seed, count, min_operations=low, max_operations=high)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def _compare(
    engine: FastTTS,
    problems: Sequence[Problem],
    configs: Mapping[Method, SearchConfig],
    seed: int,
    trees: Path | None,
) -> Evaluation:
    rows = []
    outcomes: dict[Method, Sequence[ProblemOutcome]] = {}
    with render.progress_bar() as progress:
        for method, config in configs.items():
            task = progress.add_task(method, total=len(problems))
            advance = partial(progress.advance, task)
            row, found = _measure(engine, problems, method, config, advance)
            rows.append(row)
            if trees is not None:
                outcomes[method] = found
            progress.update(task, completed=len(problems))
    if trees is not None:
        save_trees(outcomes, trees)
    return Evaluation(seed=seed, num_problems=len(problems), rows=tuple(rows))


def _measure(
    engine: FastTTS,
    problems: Sequence[Problem],
    method: Method,
    config: SearchConfig,
    advance: Callable[[], None],
) -> tuple[Row, Sequence[ProblemOutcome]]:
    """Runs one method on all problems in one batch and grades it."""
    start_s = time.perf_counter()
    outcomes = engine.search_many(
        [problem.text for problem in problems],
        config=config,
        seeds=[derive_seed(config.seed, index) for index in range(len(problems))],
        on_result=lambda index, result: advance(),
    )
    seconds = time.perf_counter() - start_s
    graded = zip(outcomes, problems, strict=True)
    correct = [is_correct(outcome, problem.answer) for outcome, problem in graded]
    return summarize(method, outcomes, correct, n=config.n, seconds=seconds), outcomes


def _print(evaluation: Evaluation, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(evaluation.to_json() + "\n")
    else:
        render.stdout().print(render.comparison_table(evaluation))
