"""`fasttts check`: measures two models on this device, and suggests how to search."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from fasttts.check import Check, CheckProblem, Deadline, make_report, word_problems
from fasttts.check.labelled import check_labels_can_be_scored
from fasttts.cli import check_view, options, render, session
from fasttts.cli.check_view import Asked
from fasttts.cli.options import DEFAULTS
from fasttts.config import DEMO, EngineConfig, search_config
from fasttts.demo.problems import generate_problems
from fasttts.errors import ConfigurationError
from fasttts.evaluation import read_problems
from fasttts.prm import read_labels

NUM_PROBLEMS = 32
"""Problems that are sampled at most."""

_NO_VERIFIER = "none"

Verifier = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="A model, 'judge': the generator, a signal of its own, such as 'mean_confidence', "
        "module:function, or 'none'.",
    ),
]
Problems = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A file of problems, with answers where they are known; else built-in ones.",
        show_default=False,
    ),
]
LabelFile = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        metavar="FILE",
        help="Labels of `fasttts label` that the verifier was not trained on, to judge it by.",
        show_default=False,
    ),
]
Latency = Annotated[
    float, typer.Option(metavar="SECONDS", help="How long you would wait for an answer.")
]
TimeLimit = Annotated[
    float, typer.Option(metavar="SECONDS", help="Longest check, without loading the models.")
]


def run(
    *,
    generator: options.Generator = None,
    verifier: Verifier = None,
    problems: Problems = None,
    labels: LabelFile = None,
    latency: Latency = 10.0,
    time_limit: TimeLimit = 120.0,
    max_tokens: options.MaxTokens = DEFAULTS.max_tokens,
    system: options.System = None,
    seed: options.Seed = DEFAULTS.seed,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Measure your models, and suggest a search.

    In at most --time-limit seconds it measures speed, steps, answers and the verifier, says what
    to change, and suggests a configuration for --latency. Ctrl-C shows what is known so far.
    """
    with session.reported_errors(debug=debug):
        check_seconds("--latency", latency)
        check_seconds("--time-limit", time_limit)
        config = search_config(search="best_of_n", n=1, max_tokens=max_tokens, seed=seed)
        system_text = session.system_message(system)
        settings = _settings(generator, verifier)
        if labels is not None and settings.verifier is None:
            check_labels_can_be_scored(None)
        questions = _problems(problems, settings, seed)
        labelled = [] if labels is None else read_labels(labels)
        begin_s = time.perf_counter()
        with session.loaded(settings) as engine:
            load_s = time.perf_counter() - begin_s
            if labelled:
                check_labels_can_be_scored(engine.verifier)
            deadline = Deadline(time_limit)
            with check_view.progress(deadline) as on_stage:
                check = Check(
                    engine,
                    questions,
                    config,
                    system=system_text,
                    deadline=deadline,
                    on_stage=on_stage,
                    labels=labelled,
                )
                check.run()
            report = make_report(check.measured, latency_s=latency, load_s=load_s)
            if as_json:
                sys.stdout.write(report.to_json() + "\n")
            else:
                asked = Asked(settings=settings, system=system, problems=problems)
                check_view.show(report, asked, render.stdout())
        if report.is_interrupted:
            raise KeyboardInterrupt


def check_seconds(flag: str, seconds: float) -> None:
    """Checks an option that is a time.

    Args:
        flag: The option, for the message.
        seconds: Its value.

    Raises:
        ConfigurationError: It is not a positive number.
    """
    if not 0.0 < seconds < float("inf"):
        raise ConfigurationError(f"{flag} {seconds}: a number of seconds above 0")


def _settings(generator: str | None, verifier: str | None) -> EngineConfig:
    """The options of the engine; no result is read from a cache, as seconds are measured."""
    named = None if verifier == _NO_VERIFIER else verifier
    settings = session.engine_settings(generator=generator, verifier=named)
    if verifier == _NO_VERIFIER:
        settings = settings.without_verifier()
    return settings.model_copy(update={"cache_dir": None})


def _problems(file: Path | None, settings: EngineConfig, seed: int) -> list[CheckProblem]:
    """Those of the file; else ones that the demonstration models, or others, can be right about."""
    if file is not None:
        found = read_problems(file, needs_answers=False)[:NUM_PROBLEMS]
        return [CheckProblem(text=problem.text, answer=problem.answer) for problem in found]
    if settings.generator != DEMO:
        return word_problems(seed, NUM_PROBLEMS)
    known = generate_problems("dev", seed, NUM_PROBLEMS)
    return [CheckProblem(text=p.text, answer=str(p.answer)) for p in known]
