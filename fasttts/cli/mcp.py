"""`fasttts mcp`: the tools of an engine for clients of the Model Context Protocol."""

import asyncio
import functools
import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, NoReturn

from fasttts.cli import logs, options, session
from fasttts.cli.option_values import parse_switches
from fasttts.cli.options import DEFAULTS
from fasttts.config import search_config
from fasttts.config.paths import user_path
from fasttts.engine.loading import check_conversations
from fasttts.errors import ConfigurationError
from fasttts.network import read_keys

if TYPE_CHECKING:
    from fasttts_agents.mcp import BackgroundEngine

TRANSPORTS = ("stdio", "http")

_LAST_WORD_S = 1.0
"""How long an error of loading is waited for once the clients have left."""


def run(
    *,
    transport: options.Transport = "stdio",
    time_limit: options.TimeLimit = 45.0,
    max_problem_tokens: options.MaxProblemTokens = 2048,
    host: options.Host = "127.0.0.1",
    port: options.Port = 8000,
    api_key_file: options.ApiKeyFile = None,
    allowed_host: options.AllowedHosts = None,
    allowed_origin: options.AllowedOrigins = None,
    search: options.ToolSearch = None,
    n: options.Count = DEFAULTS.n,
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
    generator: options.Generator = None,
    verifier: options.Verifier = None,
    dtype: options.DtypeName = None,
    numerics: options.NumericsName = None,
    max_model_len: options.MaxModelLen = None,
    max_num_seqs: options.MaxNumSeqs = None,
    kv_cache_memory_bytes: options.KvCacheMemory = None,
    gpu_memory_utilization: options.MemoryUtilization = None,
    cache_dir: options.CacheDir = None,
    debug: options.Debug = False,
) -> None:
    """Offer searches as tools to MCP clients.

    The tools are `deliberate`, `solve_many` and `check_answer`. A client starts this command and
    speaks to it over standard input and output, or, with --transport http, connects to
    http://HOST:PORT/mcp. The models are loaded once, while clients are already answered, and calls
    are searched together.
    """
    with session.reported_errors(debug=debug):
        _check_installed()
        from fasttts_agents.mcp import (
            BackgroundEngine,
            HttpOptions,
            HttpServer,
            ProtocolStreams,
            ToolService,
            http_app,
            make_server,
            serve_stdio,
        )

        if transport not in TRANSPORTS:
            raise ConfigurationError(f"--transport {transport}: use {' or '.join(TRANSPORTS)}")
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
        config = search_config(
            search=search or ("self_consistency" if settings.verifier is None else DEFAULTS.search),
            n=n,
            beam_width=beam_width,
            seed=seed,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
            max_tokens=max_tokens,
            step_pattern=step_pattern,
            step_tokens=step_tokens,
            thinking=thinking,
            thinking_token_budget=thinking_token_budget,
            chat_template_kwargs=parse_switches(chat_template_kwargs),
            answer=answer,
        )
        session.check_search(config, settings)
        check_conversations(settings)
        engine = BackgroundEngine(functools.partial(session.open_engine, settings))
        service = ToolService(
            engine, config, time_limit_s=time_limit, max_problem_tokens=max_problem_tokens
        )
        server = make_server(service)
        if transport == "stdio":
            with ProtocolStreams() as streams:
                _serve(engine, serve_stdio(server, streams), streams.end)
            return
        http = HttpOptions(
            host=host,
            port=port,
            keys=read_keys((), None if api_key_file is None else user_path(api_key_file)),
            allowed_hosts=tuple(allowed_host or ()),
            allowed_origins=tuple(allowed_origin or ()),
        )
        web = HttpServer(http_app(server, http), http)
        with logs.warnings_shown():
            _serve(engine, web.serve(), web.end, f"tools at {web.url}")


def _check_installed() -> None:
    missing = [name for name in ("mcp", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(f"{missing[0]} is not installed: pip install 'fasttts[mcp]'")


def _serve(
    engine: "BackgroundEngine",
    serving: Coroutine[Any, Any, None],
    end: Callable[[], None],
    greeting: str | None = None,
) -> None:
    """Serves clients until they leave, a signal comes, or the models cannot be loaded."""
    try:
        asyncio.run(_until_end(engine, serving, end, greeting))
    finally:
        if engine.is_loading:  # nothing is there to be closed yet, and loading cannot be stopped
            end_process()
        engine.close()


def end_process() -> NoReturn:
    """Ends the process at once, whatever its threads do."""
    sys.stderr.flush()
    os._exit(0)


async def _until_end(
    engine: "BackgroundEngine",
    serving: Coroutine[Any, Any, None],
    end: Callable[[], None],
    greeting: str | None,
) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end)
    if greeting is not None:
        logs.tell(greeting)
    loading = asyncio.create_task(engine.loaded())
    served = asyncio.create_task(serving)
    await asyncio.wait({loading, served}, return_when=asyncio.FIRST_COMPLETED)
    if not loading.done():  # clients have left; why nothing came of it may be told yet
        await asyncio.wait({loading}, timeout=_LAST_WORD_S)
    if not loading.done():
        loading.cancel()
    elif loading.exception() is None:
        logs.tell("the models are loaded")
    else:
        end()
    await served
    if not loading.cancelled() and loading.done():
        loading.result()
