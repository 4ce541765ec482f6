"""`fasttts serve`: an OpenAI-compatible server over one engine."""

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fasttts.cli import logs, options, render, session
from fasttts.config.serving import ServingConfig, serving_config
from fasttts.engine import FastTTS
from fasttts.errors import ConfigurationError
from fasttts.network import LOOPBACK_NAMES, address, check_reach, is_loopback, listening_socket

logger = logging.getLogger(__name__)


def run(
    *,
    host: options.Host = "127.0.0.1",
    port: options.Port = 8000,
    name: options.ServedNames = None,
    search: options.ServedSearch = None,
    api_key_file: options.ApiKeyFile = None,
    cors_origin: options.CorsOrigins = None,
    allowed_host: options.AllowedHosts = None,
    max_requests: options.MaxRequests = None,
    max_body_bytes: options.MaxBodyBytes = None,
    max_prompt_tokens: options.MaxPromptTokens = None,
    max_beams: options.MaxBeams = None,
    max_seconds: options.MaxRequestSeconds = None,
    drain_seconds: options.DrainSeconds = 30.0,
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
    """Serve the model to OpenAI's clients.

    The name that a client gives the model chooses the search, such as NAME:beam-16. API keys are
    read from the variable FASTTTS_SERVE_API_KEYS and from --api-key-file. SIGTERM and Ctrl-C let
    requests in work end.
    """
    with session.reported_errors(debug=debug):
        try:
            from fasttts import serving
        except ImportError as error:  # the extra is not installed; its message says which
            raise ConfigurationError(str(error)) from error
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
        config = _config(
            host,
            names=name,
            search=search,
            api_key_file=api_key_file,
            cors_origins=cors_origin,
            allowed_hosts=allowed_host,
            max_requests=max_requests,
            max_body_bytes=max_body_bytes,
            max_prompt_tokens=max_prompt_tokens,
            max_beams=max_beams,
            max_seconds=max_seconds,
        )
        # Before the models are loaded, which takes minutes: whether the port is free.
        with listening_socket(host, port) as listener:
            url = address(listener)
            with _terminable(), session.loaded(settings) as engine, logs.warnings_shown():
                serving.serve(
                    engine,
                    config,
                    listener,
                    drain_s=drain_seconds,
                    on_start=_announcement(engine, url),
                )
                signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends, and closes the engine


def _config(host: str, **asked: object) -> ServingConfig:
    """The server's options; on loopback, web pages cannot reach it by a name of their own."""
    given = {name: value for name, value in asked.items() if value is not None}
    config = serving_config(**given)
    if is_loopback(host) and not config.allowed_hosts:
        config = config.model_copy(update={"allowed_hosts": LOOPBACK_NAMES})
    check_reach(host, config.keys())
    return config


@contextmanager
def _terminable() -> Iterator[None]:
    """Lets SIGTERM end the process while the models load.

    The first process of a container has no default for it: the signal would be lost.
    """

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    usual = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, usual)


def _announcement(engine: FastTTS, url: str) -> Callable[[], None]:
    """Prints where the server is, once it answers."""

    def announce() -> None:
        verifier = engine.verifier_name or "no verifier"
        models = f"{engine.generator_name}, {verifier}, {engine.max_model_len:,} tokens of context"
        text = f"Serving {models} on {url}/v1"
        logger.info("%s", text, extra={"url": url})
        if not logs.is_written():
            render.stderr().print(text, soft_wrap=True)

    return announce
