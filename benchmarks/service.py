"""One engine, many callers: `python -m benchmarks.service --backend fake|vllm`.

Of mixed calls from threads and tasks: how many were lost, and what was leaked. The first token of
plain requests while 4 searches of 64 beams run, against idle: in iterations (95th percentile), and
in seconds. By how much budgets of seconds are overshot, and what that may take at most.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.latency import Latency
from benchmarks.mixed_calls import MixedCalls
from benchmarks.report import Report
from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.interfaces import Generator, Verifier

COLUMNS = {
    "arm": "arm",
    "calls": "calls",
    "lost": "lost",
    "leaked": "leaked",
    "ttft_iterations_p95_idle": "p95 itera- tions idle",
    "ttft_iterations_p95_load": "p95 itera- tions loaded",
    "ttft_ms_p95_idle": "p95 ms idle",
    "ttft_ms_p95_load": "p95 ms loaded",
    "ttft_seconds_ratio": "ratio",
    "overshoot_ms_max": "over- shoot ms",
    "step_ms_max": "longest step ms",
}


def main(argv: list[str] | None = None) -> None:
    """Reads the command line and runs the benchmark."""
    arguments = _parser().parse_args(argv)
    report = Report(
        benchmark=f"service-{arguments.backend}",
        config={name: value for name, value in vars(arguments).items() if name != "output"},
        seed=arguments.seed,
        columns=COLUMNS,
        output=arguments.output,
    )
    rows: list[dict[str, Any]] = []
    for slots in arguments.slots:
        rows.append(_row(slots, arguments))
        report.take(rows)
    report.print()


def _row(slots: int, arguments: argparse.Namespace) -> dict[str, Any]:
    generator, verifier, problems = _open(slots, arguments)
    latency = Latency(
        generator=generator, verifier=verifier, problems=problems, seed=arguments.seed
    )
    latency.idle(3)  # warms up
    idle = latency.idle(arguments.requests)
    loaded = latency.loaded(
        arguments.requests, num_searches=arguments.searches, beams=arguments.beams
    )
    budgets_s = [arguments.budget_s * (1 + i / 10) for i in range(arguments.deadlines)]
    overshoots_s, step_s = latency.deadlines(budgets_s, beams=arguments.beams)
    with FastTTS(generator, verifier) as engine:
        calls = MixedCalls(engine=engine, problem=problems[0], max_tokens=50)
        soak = calls.soak(arguments.calls, num_workers=32)
    idle_s, loaded_s = (p95([seconds for _, seconds in found]) for found in (idle, loaded))
    return {
        "arm": f"{slots} slots",
        "calls": soak.calls,
        "lost": soak.lost,
        "leaked": soak.leaked,
        "ttft_iterations_p95_idle": int(p95([num for num, _ in idle])),
        "ttft_iterations_p95_load": int(p95([num for num, _ in loaded])),
        "ttft_ms_p95_idle": 1000 * idle_s,
        "ttft_ms_p95_load": 1000 * loaded_s,
        "ttft_seconds_ratio": loaded_s / idle_s,
        "overshoot_ms_max": 1000 * max(overshoots_s),
        "overshoot_ms_p95": 1000 * p95(overshoots_s),
        "step_ms_max": 1000 * step_s,
    }


def p95(values: Sequence[float]) -> float:
    """The 95th percentile: the smallest value that 95 % of them do not exceed."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def _open(slots: int, arguments: argparse.Namespace) -> tuple[Generator, Verifier, list[str]]:
    if arguments.backend == "fake":
        return FakeGenerator(max_num_seqs=slots), FakeVerifier(), ["a", "b", "c", "d"]
    from fasttts.backends.vllm import load_backends
    from fasttts.config import engine_config
    from fasttts.demo.problems import generate_problems

    problems = generate_problems("test", arguments.seed, 8, min_operations=8)
    config = engine_config(max_num_seqs=slots, kv_cache_memory_bytes=1 << 30)
    generator, verifier = load_backends(config)
    assert verifier is not None
    return generator, verifier, [problem.text for problem in problems]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=["fake", "vllm"], default="fake")
    parser.add_argument("--slots", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--calls", type=int, default=400, help="mixed calls")
    parser.add_argument("--requests", type=int, default=100, help="plain requests that are timed")
    parser.add_argument("--searches", type=int, default=4, help="beside the plain requests")
    parser.add_argument("--beams", type=int, default=64)
    parser.add_argument("--deadlines", type=int, default=10, help="searches with a budget")
    parser.add_argument("--budget-s", type=float, default=0.2, help="of the first of them")
    parser.add_argument("--output", type=Path, help="a file that has the JSON line so far")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
