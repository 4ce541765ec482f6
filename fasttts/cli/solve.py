"""`fasttts solve`: one problem, with live progress."""

import sys
from pathlib import Path

from fasttts import FastTTS
from fasttts.cli import options, render, session
from fasttts.cli.option_values import parse_options, parse_switches
from fasttts.cli.options import DEFAULTS
from fasttts.cli.plot import check_plot, save_plot
from fasttts.cli.stats import stats_view
from fasttts.cli.tree_page import check_tree, save_tree
from fasttts.config import EngineConfig, SearchConfig, search_config
from fasttts.types import SearchResult


def run(
    problem: options.Problem,
    *,
    search: options.SolveSearch = None,
    n: options.SolveCount = None,
    beam_width: options.BeamWidth = DEFAULTS.beam_width,
    seed: options.Seed = DEFAULTS.seed,
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
    aggregation: options.PathScore = DEFAULTS.aggregation,
    option: options.SearchOptions = None,
    system: options.System = None,
    generator: options.Generator = None,
    verifier: options.Verifier = None,
    dtype: options.DtypeName = None,
    numerics: options.NumericsName = None,
    max_model_len: options.MaxModelLen = None,
    max_num_seqs: options.MaxNumSeqs = None,
    kv_cache_memory_bytes: options.KvCacheMemory = None,
    gpu_memory_utilization: options.MemoryUtilization = None,
    cache_dir: options.CacheDir = None,
    stats: options.Stats = False,
    plot: options.Plot = None,
    tree: options.Tree = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Solve PROBLEM by searching over reasoning steps.

    Without a verifier the model answers plainly, or with -n by majority vote. Progress goes to
    stderr; the answer, the winning steps with the verifier's scores and the cost go to stdout.
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
            cache_dir=cache_dir,
        )
        named = {
            "search": search or _usual_search(n, settings),
            "n": DEFAULTS.n if n is None else n,
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
            "aggregation": aggregation,
        }
        config = search_config(**{**named, **parse_options(option or ())})
        check_plot(plot)
        check_tree(tree)
        text = session.read_problem(problem)
        system = session.system_message(system)
        session.check_search(config, settings)
        if search is None and settings.verifier is None:
            render.stderr().print(_without_verifier(config.search), style="dim")
        with session.loaded(settings) as engine:
            result = (_print_json if as_json else _show)(engine, text, config, system)
        _report(result, stats=stats, plot=plot, tree=tree, to_stderr=as_json)


def _usual_search(n: int | None, settings: EngineConfig) -> str:
    """The search where none is named: without a verifier a plain answer, or a vote of `n`."""
    if settings.verifier is not None:
        return DEFAULTS.search
    return "none" if n in (None, 1) else "self_consistency"


def _without_verifier(search: str) -> str:
    done = "a plain answer" if search == "none" else "a majority vote"
    more = " (-n 8 would vote)" if search == "none" else ""
    return (
        f"no verifier, so this is {done}{more}: --verifier judge lets the model judge its own "
        "steps, and searches for the best ones"
    )


def _report(
    result: SearchResult, *, stats: bool, plot: Path | None, tree: Path | None, to_stderr: bool
) -> None:
    """Prints warnings, and prints and draws the requested additions to the answer."""
    for warning in result.warnings:
        render.stderr().print(f"warning: {warning}", style="yellow", soft_wrap=True)
    if stats:
        (render.stderr() if to_stderr else render.stdout()).print("", stats_view(result))
    if plot is not None:
        save_plot(result, plot)
    if tree is not None:
        save_tree(result, tree)


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
        out.print(*render.plain_lines(result), sep="\n")
    else:
        result = render.follow(events, render.stderr())
        out.print(render.outcome_view(result))
    return result
