"""`fasttts label`: labels the steps of rollouts, to train a process reward model on."""

import json
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from fasttts import __version__
from fasttts.cli import label_view, options, render, session
from fasttts.cli.check import check_seconds
from fasttts.cli.evaluate_programs import open_programs
from fasttts.cli.options import DEFAULTS
from fasttts.config import EngineConfig
from fasttts.config.validation import did_you_mean
from fasttts.errors import ConfigurationError
from fasttts.evaluation import Journal, ProblemSet, digest, load_problems
from fasttts.prm import Labeling, LabelRecord, LabelRule, LabelSummary, Target, rollout_config
from fasttts.prm.labeling import MAX_IN_FLIGHT

_RULE = LabelRule()

Dataset = Annotated[
    str,
    typer.Argument(
        metavar="DATASET",
        help="A file of problems with answers or tests, 'demo', 'programs' or reasoning-gym:NAME.",
    ),
]
LabelFile = Annotated[
    Path,
    typer.Option(metavar="FILE", help="Keep a line for each problem here; continue if it exists."),
]
Rollouts = Annotated[int, typer.Option(metavar="N", help="Answers to sample to each problem.")]
Continuations = Annotated[
    int,
    typer.Option(
        metavar="K",
        help="Continuations of the text up to each step's end, its own rollouts the first of them; "
        "1 samples no others.",
    ),
]
Labels = Annotated[
    str,
    typer.Option(
        metavar="KIND",
        help="'soft': the share of right ones, of all K; 'hard': whether any is, sampling no more "
        "once one is.",
    ),
]
InFlight = Annotated[int, typer.Option(metavar="N", help="Problems in work at a time.")]
MaxSeconds = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="Begin no problem after this time; models load before."),
]


def run(
    dataset: Dataset,
    *,
    output: LabelFile,
    num_problems: options.EvalProblems = None,
    rollouts: Rollouts = _RULE.num_rollouts,
    continuations: Continuations = _RULE.num_continuations,
    labels: Labels = _RULE.target,
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
    max_tokens: options.MaxTokens = DEFAULTS.max_tokens,
    step_pattern: options.StepPattern = None,
    thinking: options.Thinking = DEFAULTS.thinking,
    answer: options.Answer = DEFAULTS.answer,
    system: options.System = None,
    generator: options.Generator = None,
    dtype: options.DtypeName = None,
    numerics: options.NumericsName = None,
    max_model_len: options.MaxModelLen = None,
    max_num_seqs: options.MaxNumSeqs = None,
    kv_cache_memory_bytes: options.KvCacheMemory = None,
    gpu_memory_utilization: options.MemoryUtilization = None,
    max_seconds: MaxSeconds = None,
    in_flight: InFlight = MAX_IN_FLIGHT,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Label the steps of sampled answers for a verifier.

    Samples --rollouts answers to each problem of DATASET, continues each of them from each of its
    steps, and writes how many continuations are right. `fasttts train-verifier` learns from the
    file. The same command continues where it was stopped.
    """
    with session.reported_errors(debug=debug):
        settings = session.engine_settings(
            generator=generator,
            dtype=dtype,
            numerics=numerics,
            max_model_len=max_model_len,
            max_num_seqs=max_num_seqs,
            kv_cache_memory_bytes=kv_cache_memory_bytes,
            gpu_memory_utilization=gpu_memory_utilization,
        )
        settings = settings.without_verifier().model_copy(update={"cache_dir": None})
        config = rollout_config(
            seed=seed,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            min_p=min_p,
            max_tokens=max_tokens,
            step_pattern=step_pattern,
            thinking=thinking,
            answer=answer,
        )
        rule = _rule(rollouts, continuations, labels)
        if max_seconds is not None:
            check_seconds("--max-seconds", max_seconds)
        _check_count("--in-flight", in_flight)
        problems = load_problems(
            dataset,
            count=num_problems,
            seed=seed,
            problem_field=problem_field,
            answer_field=answer_field,
            min_operations=min_operations,
            max_operations=max_operations,
            own_scoring=own_scoring,
            split="train",
        )
        with open_programs(problems, settings, sandbox) as programs:
            if problems.note is not None:
                render.stderr().print(problems.note, style="dim", markup=False)
            task = _Task(
                problems=programs.problems,
                rule=rule,
                system=session.system_message(system),
                settings=settings,
                config=config.model_dump(mode="json"),
            )
            labeling = {
                "problems": task.problems.problems,
                "config": config,
                "rule": rule,
                "system": task.system,
                "judge": task.problems.judge,
                "max_in_flight": in_flight,
                "seconds": max_seconds,
            }
            is_interrupted = _label(task, labeling, output=output, as_json=as_json)
        if is_interrupted:
            raise KeyboardInterrupt


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """Everything that the labels depend on, checked."""

    problems: ProblemSet
    rule: LabelRule
    system: str | None
    settings: EngineConfig
    config: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON data."""
        of_generator = {name for name in session.OF_RESULTS if not name.startswith("verifier")}
        return {
            "fasttts": __version__,
            "problems": {
                "name": self.problems.name,
                "num": len(self.problems.problems),
                "digest": digest(self.problems.problems),
                "judge": self.problems.judge.name,
            },
            "engine": self.settings.model_dump(mode="json", include=of_generator),
            "system": self.system,
            "sampling": dict(self.config),
            "rollouts": self.rule.num_rollouts,
            "continuations": self.rule.num_continuations,
            "labels": self.rule.target,
        }


def _rule(rollouts: int, continuations: int, labels: str) -> LabelRule:
    _check_count("--rollouts", rollouts)
    _check_count("--continuations", continuations)
    known = get_args(Target)
    if labels not in known:
        raise ConfigurationError(f"--labels {labels}: {did_you_mean(labels, known)}")
    target: Target = "soft" if labels == "soft" else "hard"
    return LabelRule(num_rollouts=rollouts, num_continuations=continuations, target=target)


def _check_count(flag: str, value: int) -> None:
    if value < 1:
        raise ConfigurationError(f"{flag} {value}: at least 1 is needed")


def _label(task: _Task, arguments: Mapping[str, Any], *, output: Path, as_json: bool) -> bool:
    """Labels the problems that are not on file yet, prints a summary; whether Ctrl-C ended it."""
    total = len(task.problems.problems)
    summary = LabelSummary(num_problems=total)
    is_interrupted = False
    with Journal(output, task.to_dict(), LabelRecord, "fasttts-label") as journal:
        for record in journal.records():
            summary.add(record)
        if len(summary.done) < total:
            with session.loaded(task.settings) as engine:
                try:
                    _run(Labeling(engine=engine, **arguments), summary, journal)
                except KeyboardInterrupt:
                    is_interrupted = True
    if as_json:
        sys.stdout.write(json.dumps(summary.to_dict()) + "\n")
    else:
        render.stdout().print(label_view.summary_table(summary))
    if len(summary.done) < total:
        label_view.say_what_is_left(summary, output, is_interrupted=is_interrupted)
    return is_interrupted


def _run(labeling: Labeling, summary: LabelSummary, journal: Journal[LabelRecord]) -> None:
    with (
        session.without_warnings(),
        render.progress_bar() as progress,
        closing(labeling.run(summary.done)) as found,
    ):
        task = progress.add_task(
            "labelling", total=summary.num_problems, completed=len(summary.done)
        )
        for record in found:
            journal.append(record)
            summary.add(record)
            progress.advance(task)
