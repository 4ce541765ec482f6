"""What a second GPU of the same machine brings, in each of the ways to use it.

    python -m benchmarks.scaling --output scaling.json --lines scaling.jsonl --time-limit 540
    python -m benchmarks.scaling --backend fake

`replicas`: one engine against two, each in a process and on a GPU of its own, all at work on
searches. `ray`: the same behind an application of Ray Serve, over HTTP. `apart`: generator and
verifier on one GPU against a GPU for each. `spread`: a generator on one GPU against two.
Models have real shapes and dummy weights. Each engine has a process of its own, and each row is
written as soon as it is there; what fails is a row with its error.
"""

import argparse
import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import Report

Row = dict[str, Any]
Task = Mapping[str, Any]

MEASUREMENTS = ("replicas", "ray", "apart", "spread")
_COLUMNS = {
    "measurement": "what",
    "arm": "arm",
    "beams": "beams",
    "searches_per_s": "searches a s",
    "tokens_per_s": "tokens a s",
    "iteration_ms": "iteration ms",
    "ratio": "ratio",
    "error": "error",
}
_ENGINE_S = 240.0
"""Seconds that one engine may take, from its start to its row."""


class EngineProcess:
    """A `benchmarks.scaling_engine`.

    Args:
        task: What it does.
        gpu: The GPU that it sees alone; None where it sees all.
        module: Another module of the same manner.
    """

    def __init__(
        self, task: Task, gpu: str | None = None, module: str = "benchmarks.scaling_engine"
    ) -> None:
        visible = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(task)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **visible},
        )

    def wait_until_ready(self) -> None:
        """Waits until the engine is open.

        Raises:
            RuntimeError: It has ended instead.
        """
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == "ready":
                return
        raise RuntimeError(f"ended with {self._process.wait()} before its engine was open")

    def begin(self) -> None:
        """Has it work."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def row(self) -> Row:
        """Waits for what it has measured.

        Raises:
            RuntimeError: It has ended without.
        """
        printed, _ = self._process.communicate(timeout=_ENGINE_S)
        lines = [line for line in printed.splitlines() if line.startswith("{")]  # Ray prints too
        if not lines or self._process.returncode:
            raise RuntimeError(f"ended with {self._process.returncode}")
        found: Row = json.loads(lines[-1])
        return found

    def end(self) -> None:
        """Ends it, whatever it does."""
        self._process.kill()
        self._process.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """Engines that work at the same time.

    Attributes:
        measurement: What it is an arm of.
        name: Its own.
        task: Of each engine.
        gpus: The GPU that each engine sees alone; None where it sees all.
        module: Does the task.
    """

    measurement: str
    name: str
    task: Task
    gpus: Sequence[str | None] = (None,)
    module: str = "benchmarks.scaling_engine"

    def start(self, stack: contextlib.ExitStack) -> list[EngineProcess]:
        """Starts the processes, which end with the stack."""
        started = []
        for gpu in self.gpus:
            started.append(EngineProcess(self.task, gpu, self.module))
            stack.callback(started[-1].end)
        return started

    def row(self, processes: Sequence[EngineProcess]) -> Row:
        """Has them work once all are ready; what fails is said in the row."""
        try:
            for process in processes:
                process.wait_until_ready()
            for process in processes:
                process.begin()
            found = [process.row() for process in processes]
            measured = joined(found) if len(found) > 1 else found[0]
        except (RuntimeError, OSError, ValueError, subprocess.TimeoutExpired) as error:
            measured = {"error": f"{type(error).__name__}: {error}"}
        named = {"measurement": self.measurement, "arm": self.name, "beams": self.task["beams"]}
        return {**named, "models": self.task["models"], **measured}


def replicas(options: argparse.Namespace) -> Iterator[Arm]:
    """One engine against two, each in a process and on a GPU of its own."""
    for num_replicas in (1, 2):
        yield Arm(
            measurement="replicas",
            name=f"{num_replicas} in processes",
            task=_searches_task(options),
            gpus=_gpus(options)[:num_replicas] or [None] * num_replicas,
        )


def ray(options: argparse.Namespace) -> Iterator[Arm]:
    """The same behind Ray Serve, where Ray is installed."""
    if importlib.util.find_spec("ray") is None:
        return
    for num_replicas in (1, 2):
        task = {
            **_searches_task(options),
            "num_replicas": num_replicas,
            "searches": num_replicas * options.searches,
            "together": num_replicas * options.together,
        }
        yield Arm(
            measurement="ray",
            name=f"{num_replicas} on Ray",
            task=task,
            module="benchmarks.scaling_ray",
        )


def joined(rows: Sequence[Row]) -> Row:
    """One row of engines that worked at the same time; the slowest says how long."""
    seconds = max(row["seconds"] for row in rows)
    return {
        "seconds": seconds,
        "searches": (searches := sum(row["searches"] for row in rows)),
        "searches_per_s": searches / seconds,
        "tokens_per_s": sum(row["tokens_per_s"] * row["seconds"] for row in rows) / seconds,
        "service_s": [one for row in rows for one in row["service_s"]],
    }


def apart(options: argparse.Namespace) -> Iterator[Arm]:
    """Both models on one GPU, without and with a process for the verifier; and on one each."""
    arms: dict[str, dict[str, Any]] = {
        "one GPU": {},
        "one GPU, own process": {"verifier_process": True},
    }
    if options.backend != "cpu":
        arms["two GPUs"] = {"verifier_device": 1}
    chosen = options.arms or list(arms)
    if unknown := set(chosen) - set(arms):
        raise ValueError(f"--arms {', '.join(sorted(unknown))}: there are {', '.join(arms)}")
    for beams in options.beams:
        for name in chosen:
            task = {
                **_task(options, "steps"),
                "beams": beams,
                "models": options.models,
                "verifier_process": False,
                "verifier_device": None,
                **arms[name],
            }
            yield Arm(measurement="apart", name=name, task=task)


def spread(options: argparse.Namespace) -> Iterator[Arm]:
    """The generator of the largest shape on one GPU, and spread over two."""
    for beams in options.beams:
        for size in (1, 2):
            task = {
                **_task(options, "decoding"),
                "beams": beams,
                "models": f"{options.large_model}+{options.large_model}",
                "tensor_parallel_size": size,
            }
            name = f"{size} rank{'s' if size > 1 else ''}"
            yield Arm(measurement="spread", name=name, task=task)


def _task(options: argparse.Namespace, work: str) -> dict[str, Any]:
    return {
        "work": work,
        "backend": options.backend,
        "tokens": options.tokens,
        "step_tokens": options.step_tokens,
        "depth": options.depth,
        "rounds": options.rounds,
        "memory_gib": options.memory_gib,
    }


def _searches_task(options: argparse.Namespace) -> dict[str, Any]:
    counts = {"searches": options.searches, "together": options.together}
    beams = {"beams": options.replica_beams, "models": options.models}
    return {**_task(options, "searches"), **counts, **beams}


def _gpus(options: argparse.Namespace) -> list[str]:
    """The GPUs of the first two replicas, by CUDA's names; none where there are not any."""
    if options.backend != "gpu":
        return []
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0,1").split(",")[:2]


def with_ratios(rows: Sequence[Row]) -> list[Row]:
    """Adds each arm's tokens a second against the first arm of its measurement, if that has any."""
    first: dict[tuple[Any, ...], float | None] = {}
    found: list[Row] = []
    for row in rows:
        rate = row.get("tokens_per_s")
        base = first.setdefault((row["measurement"], row["beams"]), rate)
        found.append(row if rate is None or base is None else {**row, "ratio": rate / base})
    return found


_MEASURE = {
    "replicas": replicas,
    "ray": ray,
    "apart": apart,
    "spread": spread,
}


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """All rows, until the time is over."""
    started = time.monotonic()
    arms = [arm for name in options.measurements for arm in _MEASURE[name](options)]
    with contextlib.ExitStack() as all_open:
        opened = [arm.start(all_open) for arm in arms] if options.open_first else []
        for index, arm in enumerate(arms):
            if options.time_limit is not None and time.monotonic() - started > options.time_limit:
                return
            with contextlib.ExitStack() as one_open:
                yield arm.row(opened[index] if opened else arm.start(one_open))


def main(argv: list[str] | None = None) -> None:
    """Prints a table and one JSON line, and writes rows as they come."""
    options = _parser().parse_args(argv)
    _shrink(options)
    kept = {name: value for name, value in vars(options).items() if name not in _FILES}
    report = Report(
        benchmark="scaling", config=kept, seed=0, columns=_COLUMNS, output=options.output
    )
    found: list[Row] = []
    for row in rows(options):
        found.append(row)
        report.take(with_ratios(found))
        if options.lines is not None:
            with options.lines.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(row) + "\n")
    report.print()


_FILES = ("output", "lines")


def _shrink(options: argparse.Namespace) -> None:
    """On a CPU, and without models, everything is tiny."""
    if options.backend != "gpu":
        options.models, options.large_model, options.memory_gib = "tiny+tiny", "tiny", 4.0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=["gpu", "cpu", "fake"], default="gpu")
    parser.add_argument("--measurements", type=_known, default=list(MEASUREMENTS))
    parser.add_argument("--models", default="1.5B+1.5B", help="generator and verifier, on a GPU")
    parser.add_argument("--large-model", default="14B", help="of spread, on a GPU")
    parser.add_argument("--beams", type=_numbers, default=[64, 256], help="comma-separated")
    parser.add_argument("--arms", type=_words, help='of apart: "one GPU,two GPUs"; all by default')
    parser.add_argument("--replica-beams", type=int, default=16, help="of replicas and ray")
    parser.add_argument("--searches", type=int, default=32, help="of each replica")
    parser.add_argument("--together", type=int, default=8, help="searches at a time in a replica")
    parser.add_argument("--tokens", type=int, default=256, help="of each beam")
    parser.add_argument("--step-tokens", type=int, default=64, help="of replicas and ray")
    parser.add_argument("--depth", type=int, default=8, help="steps of apart")
    parser.add_argument("--rounds", type=int, default=2, help="of apart and spread")
    parser.add_argument("--memory-gib", type=float, default=24.0, help="of each GPU, for one arm")
    parser.add_argument(
        "--open-first",
        action="store_true",
        help="open all engines at once, before the first is measured: memory for all is needed",
    )
    parser.add_argument("--time-limit", type=float, help="seconds after which no engine is opened")
    parser.add_argument("--output", type=Path, help="a file that has the JSON line so far")
    parser.add_argument("--lines", type=Path, help="a file to which rows are added, a line each")
    return parser


def _known(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(MEASUREMENTS):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: use {MEASUREMENTS}")
    return names


def _words(text: str) -> list[str]:
    return text.split(",")


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
