"""`fasttts solve`: one problem, with live progress."""

import sys
from pathlib import Path

from fasttts import FastTTS
from fasttts.cli import options, render, session
from fasttts.cli.options import DEFAULTS
from fasttts.cli.plot import check_plot, save_plot
from fasttts.cli.stats import stats_view
from fasttts.config import SearchConfig, search_config
from fasttts.types import SearchResult


def run(
    problem: options.Problem,
    *,
    search: options.Search = DEFAULTS.search,
    n: options.Count = DEFAULTS.n,
    beam_width: options.BeamWidth = DEFAULTS.beam_width,
    seed: options.Seed = DEFAULTS.seed,
    temperature: options.Temperature = None,
    max_tokens: options.MaxTokens = DEFAULTS.max_tokens,
    step_pattern: options.StepPattern = None,
    step_tokens: options.StepTokens = None,
    thinking: options.Thinking = DEFAULTS.thinking,
    answer: options.Answer = DEFAULTS.answer,
    selection: options.ChosenBy = None,
    aggregation: options.PathScore = DEFAULTS.aggregation,
    system: options.System = None,
    generator: options.Generator = None,
    verifier: options.Verifier = None,
    cache_dir: options.CacheDir = None,
    stats: options.Stats = False,
    plot: options.Plot = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Solve PROBLEM by searching over reasoning steps.

    Progress goes to stderr; the answer, the winning steps with the verifier's scores and the
    cost go to stdout.
    """
    with session.reported_errors(debug=debug):
        config = search_config(
            search=search,
            n=n,
            beam_width=beam_width,
            seed=seed,
            temperature=temperature,
            max_tokens=max_tokens,
            step_pattern=step_pattern,
            step_tokens=step_tokens,
            thinking=thinking,
            answer=answer,
            selection=selection,
            aggregation=aggregation,
        )
        check_plot(plot)
        text = session.read_problem(problem)
        system = session.system_message(system)
        settings = session.engine_settings(
            generator=generator, verifier=verifier, cache_dir=cache_dir
        )
        session.check_search(config, settings)
        with session.loaded(settings) as engine:
            result = (_print_json if as_json else _show)(engine, text, config, system)
        _report(result, stats=stats, plot=plot, to_stderr=as_json)


def _report(result: SearchResult, *, stats: bool, plot: Path | None, to_stderr: bool) -> None:
    """Prints warnings, and prints and draws the requested additions to the answer."""
    for warning in result.warnings:
        render.stderr().print(f"warning: {warning}", style="yellow", markup=False)
    if stats:
        (render.stderr() if to_stderr else render.stdout()).print("", stats_view(result))
    if plot is not None:
        save_plot(result, plot)


def _print_json(
    engine: FastTTS, text: str, config: SearchConfig, system: str | None
) -> SearchResult:
    result = render.follow(engine.stream(text, config=config, system=system), render.stderr())
    sys.stdout.write(result.to_json() + "\n")
    return result


def _show(engine: FastTTS, text: str, config: SearchConfig, system: str | None) -> SearchResult:
    events = engine.stream(text, config=config, system=system)
    out = render.stdout()
    if config.search == "none":
        result = render.write_text(events, out)
        out.print(render.answer_line(result), render.cost_view(result), sep="\n")
    else:
        result = render.follow(events, render.stderr())
        out.print(render.outcome_view(result))
    return result
