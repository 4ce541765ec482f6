"""`fasttts eval`: the accuracy of search methods, and their costs, side by side."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fasttts import FastTTS, __version__
from fasttts.cli import evaluate_tasks, evaluate_view, options, render, session
from fasttts.cli.check import check_seconds
from fasttts.cli.evaluate_plot import save_evaluation_plot
from fasttts.cli.evaluate_programs import open_programs
from fasttts.cli.option_values import parse_options, parse_switches
from fasttts.cli.options import DEFAULTS
from fasttts.cli.plot import check_plot
from fasttts.cli.tree_page import TreePages, make_folder
from fasttts.config import Aggregation, EngineConfig, SearchConfig
from fasttts.config.validation import did_you_mean
from fasttts.errors import ConfigurationError
from fasttts.evaluation import (
    MAX_IN_FLIGHT,
    METHODS,
    TESTS,
    Comparison,
    Journal,
    Limits,
    Method,
    ProblemSet,
    Record,
    Tally,
    digest,
    load_problems,
    method_config,
)
from fasttts.interfaces import Verifier

BASELINES: tuple[Method, ...] = ("greedy", "majority", "best_of_n")
DEFAULT: tuple[Method, ...] = ("beam_search",)


def run(
    dataset: options.Dataset = None,
    *,
    tasks: options.Tasks = None,
    include_path: options.IncludePath = None,
    num_problems: options.EvalProblems = None,
    methods: options.Methods = None,
    search: options.Compared = None,
    n: options.Count = DEFAULTS.n,
    beam_width: options.BeamWidth = DEFAULTS.beam_width,
    seed: options.Seed = DEFAULTS.seed,
    problem_field: options.ProblemField = None,
    answer_field: options.AnswerField = None,
    own_scoring: options.OwnScoring = False,
    sandbox: options.Sandbox = "auto",
    min_operations: options.MinOperations = None,
    max_operations: options.MaxOperations = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    top_k: options.TopK = None,
    min_p: options.MinP = None,
    repetition_penalty: options.RepetitionPenalty = None,
    max_tokens: options.MaxTokens = DEFAULTS.max_tokens,
    step_pattern: options.StepPattern = None,
    step_tokens: options.StepTokens = None,
    thinking: options.Thinking = DEFAULTS.thinking,
    thinking_token_budget: options.ThinkingTokenBudget = None,
    chat_template_kwargs: options.ChatTemplateKwargs = None,
    answer: options.Answer = DEFAULTS.answer,
    selection: options.ChosenBy = None,
    aggregation: options.EvalPathScore = None,
    option: options.SearchOptions = None,
    system: options.System = None,
    generator: options.Generator = None,
    verifier: options.EvalVerifier = None,
    dtype: options.DtypeName = None,
    numerics: options.NumericsName = None,
    max_model_len: options.MaxModelLen = None,
    max_num_seqs: options.MaxNumSeqs = None,
    kv_cache_memory_bytes: options.KvCacheMemory = None,
    gpu_memory_utilization: options.MemoryUtilization = None,
    output: options.Output = None,
    max_seconds: options.MaxSeconds = None,
    max_tokens_total: options.MaxTokensTotal = None,
    in_flight: options.InFlight = MAX_IN_FLIGHT,
    plot: options.CurvePlot = None,
    trees: options.Trees = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Compare search methods on problems of known answer.

    DATASET is a file (JSON lines, JSON, CSV) or a name. All methods answer the same problems. The
    tables show accuracy, costs, what fewer samples would give, and differences between methods,
    with 95 % intervals. With --output the same command continues where it was stopped.

    With --tasks, lm-evaluation-harness grades the same methods on tasks of its own or of yours.
    """
    with session.reported_errors(debug=debug):
        settings = session.engine_settings(
            generator=generator,
            verifier=verifier,
            dtype=dtype,
            numerics=numerics,
            max_model_len=max_model_len,
            max_num_seqs=max_num_seqs,
            kv_cache_memory_bytes=kv_cache_memory_bytes,
            gpu_memory_utilization=gpu_memory_utilization,
        )
        settings = settings.model_copy(update={"cache_dir": None})  # seconds are measured
        search_options = {
            "n": n,
            "beam_width": beam_width,
            "seed": seed,
            "temperature": temperature,
            "top_p": top_p,
            "top_k": top_k,
            "min_p": min_p,
            "repetition_penalty": repetition_penalty,
            "max_tokens": max_tokens,
            "step_pattern": step_pattern,
            "step_tokens": step_tokens,
            "thinking": thinking,
            "thinking_token_budget": thinking_token_budget,
            "chat_template_kwargs": parse_switches(chat_template_kwargs),
            "answer": answer,
            "selection": selection,
            "aggregation": aggregation or _aggregation(settings),
            **_options(option or ()),
        }
        chosen = _methods(methods, search, has_verifier=settings.verifier is not None)
        configs: dict[str, SearchConfig] = {
            method: method_config(method, **search_options) for method in chosen
        }
        for config in configs.values():
            session.check_search(config, settings)
        if dataset is None:
            of_datasets = {
                "--problem-field": problem_field,
                "--answer-field": answer_field,
                "--own-scoring": own_scoring,
                "--max-seconds": max_seconds,
                "--max-tokens-total": max_tokens_total,
                "--plot": plot,
                "--sandbox": sandbox != "auto",
                "--min-operations": min_operations,
                "--max-operations": max_operations,
                f"--verifier {TESTS}": settings.verifier == TESTS,
            }
            evaluate_tasks.refuse_options_of_datasets(of_datasets)
            if num_problems is not None and num_problems < 1:
                raise ConfigurationError(f"--num-problems {num_problems}: at least 1 is needed")
            evaluate_tasks.TasksRun(
                names=_task_names(tasks),
                include_path=include_path,
                configs=configs,
                limit=num_problems,
                system=session.system_message(system),
                settings=settings,
                in_flight=_limits(None, None, in_flight).max_in_flight,
                output=output,
                trees=trees,
                as_json=as_json,
            ).run()
            return
        if tasks is not None or include_path is not None:
            raise ConfigurationError(f"--tasks and DATASET {dataset!r}: evaluate one of the two")
        check_plot(plot)
        problems = load_problems(
            dataset,
            count=num_problems,
            seed=seed,
            problem_field=problem_field,
            answer_field=answer_field,
            min_operations=min_operations,
            max_operations=max_operations,
            own_scoring=own_scoring,
        )
        with open_programs(problems, settings, sandbox) as programs:
            task = _Task(
                problems=programs.problems,
                configs=configs,
                seed=seed,
                system=session.system_message(system),
                settings=settings,
                verifier=programs.verifier,
                limits=_limits(max_seconds, max_tokens_total, in_flight),
            )
            make_folder(trees)
            if problems.note is not None:
                render.stderr().print(problems.note, style="dim", markup=False)
            is_interrupted = _evaluate(task, output=output, trees=trees, plot=plot, as_json=as_json)
        if is_interrupted:
            raise KeyboardInterrupt


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """Everything that an evaluation is made of, checked."""

    problems: ProblemSet
    configs: Mapping[str, SearchConfig]
    seed: int
    system: str | None
    settings: EngineConfig
    verifier: Verifier | None
    limits: Limits

    def to_dict(self) -> dict[str, Any]:
        """What the results depend on, as JSON data."""
        return {
            "fasttts": __version__,
            "problems": {
                "name": self.problems.name,
                "num": len(self.problems.problems),
                "digest": digest(self.problems.problems),
                "judge": self.problems.judge.name,
            },
            "engine": self.settings.model_dump(mode="json", include=set(session.OF_RESULTS)),
            "system": self.system,
            "methods": {name: each.model_dump(mode="json") for name, each in self.configs.items()},
        }


def _options(given: Sequence[str]) -> dict[str, Any]:
    """Options of all methods' searches, but for what another option of the command says.

    Raises:
        ConfigurationError: One is of another form, or has its own option here.
    """
    found = parse_options(given)
    for name, flag in (("search", "--methods or --search"), ("seed", "--seed")):
        if name in found:
            raise ConfigurationError(f"--option {name}={found[name]}: say it by {flag}")
    return found


def _aggregation(settings: EngineConfig) -> Aggregation:
    """The default: tests are given programs as they were written."""
    return "model" if settings.verifier == TESTS else DEFAULTS.aggregation


def _methods(
    named: str | None, compared: Sequence[str] | None, *, has_verifier: bool
) -> list[Method]:
    """The methods to run: those named, or the baselines that the models allow and more."""
    if named is not None and compared:
        raise ConfigurationError("--methods names all methods, --search those beside the baselines")
    names = list(compared or DEFAULT) if named is None else _split(named)
    for name in names:
        if name not in METHODS:
            hint = did_you_mean(name, METHODS, f"use {', '.join(METHODS)}")
            raise ConfigurationError(f"unknown method {name!r}: {hint}")
    if named is None:
        names += [each for each in BASELINES if has_verifier or each != "best_of_n"]
    return [method for method in METHODS if method in names]


def _task_names(named: str | None) -> tuple[str, ...]:
    names = tuple(name.strip() for name in (named or "").split(",") if name.strip())
    if not names:
        raise ConfigurationError("name a DATASET, such as 'demo' or a file, or --tasks NAMES")
    return names


def _split(names: str) -> list[str]:
    found = [name.strip() for name in names.split(",") if name.strip()]
    if not found:
        raise ConfigurationError(f"--methods {names!r}: name at least one of {', '.join(METHODS)}")
    return found


def _limits(seconds: float | None, tokens: int | None, in_flight: int) -> Limits:
    if seconds is not None:
        check_seconds("--max-seconds", seconds)
    for flag, value in (("--max-tokens-total", tokens), ("--in-flight", in_flight)):
        if value is not None and value < 1:
            raise ConfigurationError(f"{flag} {value}: at least 1 is needed")
    return Limits(seconds=seconds, tokens=tokens, max_in_flight=in_flight)


def _evaluate(
    task: _Task, *, output: Path | None, trees: Path | None, plot: Path | None, as_json: bool
) -> bool:
    """Answers the problems that are not on file yet, prints all; whether Ctrl-C ended it."""
    tally = Tally(task.configs, len(task.problems.problems))
    end: evaluate_view.End = "complete"
    with ExitStack() as stack:
        journal = None
        if output is not None:
            journal = stack.enter_context(Journal(output, task.to_dict(), Record))
            for record in journal.records():
                tally.add(record)
        if not tally.is_complete:
            engine = stack.enter_context(session.loaded(task.settings, task.verifier))
            end = _run(engine, task, tally, journal, trees)
        evaluation = tally.evaluation(task.problems.name, task.seed)
        if as_json:
            sys.stdout.write(evaluation.to_json() + "\n")
        else:
            render.stdout().print(evaluate_view.evaluation_view(evaluation))
        if plot is not None:
            save_evaluation_plot(evaluation, plot)
        if not evaluation.is_complete:
            evaluate_view.say_what_is_left(evaluation, len(task.configs), end, output)
    return end == "interrupted"


def _run(
    engine: FastTTS, task: _Task, tally: Tally, journal: Journal[Record] | None, trees: Path | None
) -> evaluate_view.End:
    """Runs the methods on the problems that the tally lacks."""
    comparison = Comparison(
        engine=engine,
        problems=task.problems.problems,
        configs=task.configs,
        system=task.system,
        judge=task.problems.judge,
        limits=task.limits,
    )
    pages = None if trees is None else TreePages(trees, list(task.configs))
    try:
        with (
            session.without_warnings(),
            evaluate_view.progress(tally) as advance,
            closing(comparison.run(tally.done)) as found,
        ):
            for evaluated in found:
                record = evaluated.record
                if pages is not None and evaluated.result is not None:
                    pages.add(record.index, record.method, evaluated.result)
                if journal is not None:  # last: what is on file is not done again
                    journal.append(record)
                tally.add(record)
                advance(record.method)
    except KeyboardInterrupt:
        return "interrupted"
    return "limit" if comparison.is_cut_short else "complete"
