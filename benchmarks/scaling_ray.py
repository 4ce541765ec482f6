"""Replicas of Ray Serve for `benchmarks.scaling`: the searches of `scaling_engine`, over HTTP."""

import asyncio
import os
import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import httpx

from benchmarks.scaling_engine import Row, Task, model_options, run_task
from benchmarks.serve import free_port
from fasttts import EngineConfig, FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier

_REQUEST_S = 200.0


def open_fake(config: EngineConfig) -> FastTTS:
    """The engine of a replica without models."""
    return FastTTS(FakeGenerator(), FakeVerifier())


def main() -> None:
    """Reads the task, and does it."""
    run_task(_serve)


def _serve(task: Task, stack: ExitStack) -> Callable[[], Row]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex())  # else it writes a file at home
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")
    import ray
    from ray import serve

    from fasttts.ray import build_app

    is_fake, port = task["backend"] == "fake", free_port()
    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    stack.callback(ray.shutdown)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    stack.callback(serve.shutdown)
    options: dict[str, Any] = {
        "engine": {} if is_fake else model_options(task, stack),
        "serving": {"names": ["model"], "search": "beam_search"},
        "min_replicas": task["num_replicas"],
        "max_replicas": task["num_replicas"],
        "num_gpus": 1 if task["backend"] == "gpu" else 0,
        "num_cpus": 0.5,
    }
    if is_fake:
        options["open_engine"] = "benchmarks.scaling_ray:open_fake"
    serve.run(build_app(options), name="scaling", route_prefix="/")
    return lambda: asyncio.run(_ask(task, f"http://127.0.0.1:{port}"))


async def _ask(task: Task, url: str) -> Row:
    """As many requests at a time as the task says; one before them warms each replica up."""
    room = asyncio.Semaphore(task["together"])
    own = {"search": "beam_search", "n": task["beams"], "step_tokens": task["step_tokens"]}

    async def search(client: httpx.AsyncClient, seed: int) -> tuple[float, int]:
        body = {
            "model": "model",
            "messages": [{"role": "user", "content": f"Problem {seed}"}],
            "seed": seed,
            "max_tokens": task["tokens"],
            "fasttts": own,
        }
        async with room:
            started = time.perf_counter()
            reply = await client.post("/v1/chat/completions", json=body)
            seconds = time.perf_counter() - started
        reply.raise_for_status()
        return seconds, reply.json()["usage"]["fasttts"]["required_tokens"]

    async with httpx.AsyncClient(base_url=url, timeout=_REQUEST_S) as client:
        first = task["searches"]
        await asyncio.gather(
            *(search(client, first + number) for number in range(4 * task["num_replicas"]))
        )
        started = time.perf_counter()
        done = await asyncio.gather(*(search(client, seed) for seed in range(task["searches"])))
        seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "searches": len(done),
        "searches_per_s": len(done) / seconds,
        "tokens_per_s": sum(tokens for _, tokens in done) / seconds,
        "service_s": [one for one, _ in done],
    }


if __name__ == "__main__":
    main()
