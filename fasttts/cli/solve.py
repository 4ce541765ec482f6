"""`fasttts solve`: one problem, watched while it is searched."""

import sys

from fasttts import FastTTS
from fasttts.cli import options, render, session
from fasttts.cli.options import DEFAULTS
from fasttts.config import SearchConfig, search_config


def run(
    problem: options.Problem,
    *,
    search: options.Search = DEFAULTS.search,
    n: options.Count = DEFAULTS.n,
    beam_width: options.BeamWidth = DEFAULTS.beam_width,
    seed: options.Seed = DEFAULTS.seed,
    temperature: options.Temperature = None,
    max_tokens: options.MaxTokens = DEFAULTS.max_tokens,
    system: options.System = None,
    generator: options.Generator = None,
    verifier: options.Verifier = None,
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
        )
        text = session.read_problem(problem)
        settings = session.engine_settings(generator, verifier)
        session.check_search(config, settings)
        with session.loaded(settings) as engine:
            (_print_json if as_json else _show)(engine, text, config, system)


def _print_json(engine: FastTTS, text: str, config: SearchConfig, system: str | None) -> None:
    result = render.follow(engine.stream(text, config=config, system=system), render.stderr())
    sys.stdout.write(result.to_json() + "\n")


def _show(engine: FastTTS, text: str, config: SearchConfig, system: str | None) -> None:
    events = engine.stream(text, config=config, system=system)
    out = render.stdout()
    if config.search == "none":
        result = render.write_text(events, out)
        out.print(render.answer_line(result), render.cost_view(result), sep="\n")
    else:
        out.print(render.outcome_view(render.follow(events, render.stderr())))
