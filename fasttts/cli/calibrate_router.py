"""`fasttts calibrate-router`: finds the threshold of the cascade for two models."""

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from fasttts import FastTTS
from fasttts.cli import options, render, session
from fasttts.cli.options import DEFAULTS
from fasttts.cli.plot import check_plot
from fasttts.cli.router_plot import save_router_plot
from fasttts.config import SearchConfig, search_config
from fasttts.decoding.sampling import derive_seed
from fasttts.demo.problems import generate_problems
from fasttts.errors import ConfigurationError, SearchError
from fasttts.evaluation import read_problems
from fasttts.routing import Router
from fasttts.routing.calibration import Point, Rehearsal, Sample, cheapest, threshold_curve
from fasttts.routing.gain import MIN_PROBLEMS, WORTHWHILE, Gain
from fasttts.routing.threshold_store import save_threshold

_NUM_CALLERS = 64
_MAX_ROWS = 12

Question = tuple[str, str]
"""A problem and its answer."""

File = Annotated[
    Path | None,
    typer.Argument(
        metavar="FILE",
        help="A file of problems with answers; without it, the bundled word problems.",
        show_default=False,
    ),
]
Keep = Annotated[
    float,
    typer.Option(metavar="SHARE", help="Share of the accuracy of always searching to hold."),
]
CurveFile = Annotated[
    Path | None,
    typer.Option("--json-file", metavar="FILE", help="Write the curve as JSON."),
]


def run(
    file: File = None,
    *,
    num_problems: options.NumProblems = 300,
    keep: Keep = 0.99,
    n: options.Count = DEFAULTS.n,
    beam_width: options.BeamWidth = DEFAULTS.beam_width,
    seed: options.Seed = DEFAULTS.seed,
    max_tokens: options.MaxTokens = DEFAULTS.max_tokens,
    answer: options.Answer = DEFAULTS.answer,
    system: options.System = None,
    generator: options.Generator = None,
    verifier: options.Verifier = None,
    plot: options.CurvePlot = None,
    json_file: CurveFile = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Find out which drafts the router should accept.

    Every problem is decoded once and searched once. The curve shows what accuracy and how many
    tokens each threshold gives; the cheapest threshold that holds the accuracy is kept in the
    user's cache directory, where search='auto' finds it. Where searching solves no more than the
    draft, that is kept, and search='auto' does not search; where the problems are too few to tell,
    nothing is.
    """
    with session.reported_errors(debug=debug):
        check_plot(plot)
        if not 0.0 < keep <= 1.0:
            raise ConfigurationError(f"--keep {keep}: a share above 0, at most 1")
        questions = _questions(file, num_problems, seed)
        system = session.system_message(system)
        config = search_config(
            n=n, beam_width=beam_width, seed=seed, max_tokens=max_tokens, answer=answer
        )
        settings = session.engine_settings(generator=generator, verifier=verifier)
        session.check_search(config, settings)
        with session.loaded(settings) as engine:
            samples = _rehearse(engine, questions, config, system)
            names = engine.generator_name, engine.verifier_name
        curve, gain = threshold_curve(samples), Gain.of(samples)
        chosen = cheapest(curve, keep)
        document = {
            "threshold": chosen.threshold,
            "gain": gain.to_dict(),
            "curve": [point.to_dict() for point in curve],
        }
        _write(json_file, json.dumps(document, indent=1))
        if plot is not None:
            save_router_plot(curve, chosen, plot)
        if as_json:
            sys.stdout.write(json.dumps(document) + "\n")
        else:
            render.stdout().print(curve_table(curve, chosen), Text(str(gain)))
        _check_decided(gain)
        kept = save_threshold(*names, chosen.threshold, gain=gain, curve=curve)
        _report(gain, kept)


def _check_decided(gain: Gain) -> None:
    """Checks that the problems tell whether searching helps.

    Raises:
        ConfigurationError: No answer was right, or the problems are too few.
    """
    if not (gain.num_draft_right or gain.num_won):
        raise ConfigurationError(
            f"none of {gain.num_problems} problems was solved, which says nothing about searching: "
            "see with `fasttts solve` what the answers look like and whether --max-tokens cuts "
            "them; --answer says where they stand, --system preset:math asks for a form that is "
            "found. Nothing is kept"
        )
    if gain.verdict == "undecided":
        raise ConfigurationError(
            f"{gain}. That is too few to tell whether searching helps by {WORTHWHILE:.0%} or not "
            f"at all: about {gain.num_needed:,} problems would tell (FILE, --num-problems). "
            "Nothing is kept"
        )


def _report(gain: Gain, kept: Path) -> None:
    err = render.stderr()
    if gain.verdict == "no better":
        text = "search is no better than the draft, so search='auto' will not search"
        err.print(f"warning: {text}", style="yellow", soft_wrap=True)
    err.print(f"kept in {kept}", soft_wrap=True)


def curve_table(curve: Sequence[Point], chosen: Point) -> Table:
    """Tabulates evenly spaced points of the curve, with the chosen one among them.

    Args:
        curve: Points of all thresholds, in order.
        chosen: The point of the chosen threshold.
    """
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title_justify="left")
    table.title = Text(f"threshold {chosen.threshold:.4f} is chosen")
    for name in ("threshold", "accuracy", "tokens/problem", "searched"):
        table.add_column(name, justify="right")
    for point in _some(curve, chosen):
        table.add_row(
            f"{point.threshold:.4f}",
            f"{point.accuracy:.1%}",
            f"{point.tokens:,.0f}",
            f"{point.searched_share:.0%}",
            style="bold green" if point == chosen else None,
        )
    return table


def _some(curve: Sequence[Point], chosen: Point) -> list[Point]:
    last = len(curve) - 1
    indices = {round(row * last / (_MAX_ROWS - 1)) for row in range(_MAX_ROWS)}
    return [p for index, p in enumerate(curve) if index in indices or p == chosen]


def _questions(file: Path | None, count: int, seed: int) -> list[Question]:
    """Reads or generates the problems to calibrate on.

    Raises:
        ConfigurationError: There are too few, or a line is not a problem with its answer.
    """
    if count < MIN_PROBLEMS:
        raise ConfigurationError(
            f"--num-problems {count}: a threshold takes at least {MIN_PROBLEMS} problems"
        )
    if file is None:
        return [(p.text, str(p.answer)) for p in generate_problems("dev", seed, count)]
    found = [(problem.text, problem.answer) for problem in read_problems(file)][:count]
    if len(found) < MIN_PROBLEMS:
        raise ConfigurationError(
            f"{file} holds {len(found)} problems: a threshold takes at least {MIN_PROBLEMS}"
        )
    return [(problem, answer) for problem, answer in found if answer is not None]


def _rehearse(
    engine: FastTTS, questions: Sequence[Question], config: SearchConfig, system: str | None
) -> list[Sample]:
    """Drafts and searches every problem, many at once."""
    router = Router(engine, Rehearsal())
    with render.progress_bar() as progress, ThreadPoolExecutor(_NUM_CALLERS) as callers:
        task = progress.add_task("searching", total=len(questions))

        def sample(index: int) -> Sample:
            found = _sample(router, questions[index], config, index, system)
            progress.advance(task)
            return found

        return list(callers.map(sample, range(len(questions))))


def _sample(
    router: Router, question: Question, config: SearchConfig, index: int, system: str | None
) -> Sample:
    """Drafts and searches one problem; a failed search counts as wrong, with its cost."""
    problem, answer = question
    seed = derive_seed(config.seed, index)
    try:
        result = router.search(problem, config=config, seed=seed, system=system)
    except SearchError as error:
        return Sample(
            lowest_score=None,
            is_draft_right=False,
            is_search_right=False,
            draft_tokens=0,
            total_tokens=error.usage.required_tokens,
        )
    return Sample.of(result, answer)


def _write(file: Path | None, text: str) -> None:
    if file is None:
        return
    try:
        file.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--json-file {file}: {error}") from error
