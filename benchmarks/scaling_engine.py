"""One engine in a process of its own, for `benchmarks.scaling`: opened, told to begin, measured.

    python -m benchmarks.scaling_engine '{"work": "searches", "backend": "fake"}'

It prints "ready" when its engine is open, waits for a line on its standard input, works, and prints
one JSON line.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fasttts import FastTTS, SearchResult
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.config import engine_config
from fasttts.decoding.sampling import Sampling
from fasttts.interfaces import GenerationRequest, Generator

Row = dict[str, Any]
Task = Mapping[str, Any]
"""What to do: `work` and `backend`, and what the functions here read of it."""

_PROMPT_TOKENS = 64
GIB = 1 << 30


def main() -> None:
    """Reads the task, and does it."""
    run_task(prepare)


def run_task(prepare: Callable[[Task, ExitStack], Callable[[], Row]]) -> None:
    """Reads a task, says when it is prepared, and does it once it is told to.

    Args:
        prepare: Opens what the task needs, and returns what measures it.
    """
    task: Task = json.loads(sys.argv[1])
    with ExitStack() as stack:
        begin = prepare(task, stack)
        print("ready", flush=True)
        sys.stdin.readline()
        print(json.dumps(begin()), flush=True)


def prepare(task: Task, stack: ExitStack) -> Callable[[], Row]:
    """Opens the engine of a task, and returns what measures it.

    Args:
        task: What to do.
        stack: Closes the engine.
    """
    return _WORKS[task["work"]](task, stack)


def _searches(task: Task, stack: ExitStack) -> Callable[[], Row]:
    """Whole searches, some at a time: how many a second, and how long each took."""
    engine = stack.enter_context(_engine(task, stack))
    options = {"n": task["beams"], "max_tokens": task["tokens"], "step_tokens": task["step_tokens"]}

    def search(seed: int) -> tuple[float, int]:
        started = time.perf_counter()
        result: SearchResult = engine.search(
            f"Problem {seed}", search="beam_search", seed=seed, **options
        )
        return time.perf_counter() - started, result.usage.required_tokens

    def begin() -> Row:
        search(task["searches"])  # warms up
        started = time.perf_counter()
        with ThreadPoolExecutor(task["together"]) as pool:
            done = list(pool.map(search, range(task["searches"])))
        seconds = time.perf_counter() - started
        return {
            "seconds": seconds,
            "searches": len(done),
            "searches_per_s": len(done) / seconds,
            "tokens_per_s": sum(tokens for _, tokens in done) / seconds,
            "service_s": [one for one, _ in done],
        }

    return begin


def _engine(task: Task, stack: ExitStack) -> FastTTS:
    if task["backend"] == "fake":
        return FastTTS(FakeGenerator(), FakeVerifier())
    options = model_options(task, stack)
    if task["backend"] == "gpu":
        from fasttts.memory import this_device

        options["gpu_memory_utilization"] = task["memory_gib"] * GIB / this_device().memory_bytes
    return FastTTS.from_config(engine_config(**options))


def model_options(task: Task, stack: ExitStack) -> dict[str, Any]:
    """Options of an engine on models of the task's shapes with dummy weights.

    Args:
        task: Its `models` are the shapes of generator and verifier.
        stack: Removes their directories.
    """
    from benchmarks.dummy_models import MAX_MODEL_LEN, write_generator, write_verifier

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    generator, verifier = task["models"].split("+")
    dummy = {"load_format": "dummy"}
    return {
        "generator": str(write_generator(folder, generator)),
        "verifier": str(write_verifier(folder, verifier)),
        "max_model_len": MAX_MODEL_LEN,
        "planned_beams": task["beams"],
        "generator_args": dummy,
        "verifier_args": dummy,
    }


def _steps(task: Task, stack: ExitStack) -> Callable[[], Row]:
    """One search at a time with steps of seeded lengths, as `benchmarks.search` measures it."""
    if task["backend"] == "fake":
        return _searches({**task, "searches": 1, "together": 1}, stack)
    from benchmarks.paired import paired_rows
    from benchmarks.search_gpu import open_pair

    arguments = argparse.Namespace(
        slots=None,
        beams=[task["beams"]],
        beam_width=4,
        depth=task["depth"],
        seed=0,
        runner=None,
        eager=False,
        async_scheduling=True,
        memory_gib=task["memory_gib"],
        verifier_process=task["verifier_process"],
        verifier_device=task["verifier_device"],
    )
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    workload = open_pair(task["models"], folder, arguments)
    stack.callback(workload.close)

    def begin() -> Row:
        *_, (found,) = paired_rows(
            workload, task["beams"], arms=["deep"], repetitions=task["rounds"]
        )
        return {
            "seconds": found["median_s"],
            "searches": len(found["seconds"]),
            "searches_per_s": 1 / found["median_s"],
            "tokens_per_s": found["goodput"],
            "verification_s": found["verification_s"],
            "generation_s": found["generation_s"],
        }

    return begin


def _decoding(task: Task, stack: ExitStack) -> Callable[[], Row]:
    """Sequences of one length, decoded together: milliseconds of an iteration."""
    generator = _generator(task, stack)
    stack.callback(generator.close)

    def iterations(number: int) -> list[float]:
        for index in range(task["beams"]):
            token_ids = [(number + index + place) % 1000 + 100 for place in range(_PROMPT_TOKENS)]
            request = GenerationRequest(
                request_id=f"{number}-{index}",
                prompt_token_ids=token_ids,
                seed=index,
                sampling=Sampling(temperature=0.8),
                max_tokens=task["tokens"],
            )
            generator.add(request)
        seconds = []
        while generator.num_unfinished():
            started = time.perf_counter()
            generator.step()
            seconds.append(time.perf_counter() - started)
        return seconds

    def begin() -> Row:
        iterations(0)  # warms up
        started = time.perf_counter()
        found = [one for number in range(task["rounds"]) for one in iterations(number + 1)]
        seconds = time.perf_counter() - started
        num_tokens = task["rounds"] * task["beams"] * task["tokens"]
        return {
            "seconds": seconds,
            "tokens_per_s": num_tokens / seconds,
            "iteration_ms": 1000 * statistics.median(found),
        }

    return begin


def _generator(task: Task, stack: ExitStack) -> Generator:
    if task["backend"] == "fake":
        return FakeGenerator(max_num_seqs=task["beams"])
    from fasttts.backends.vllm import load_backends

    options = model_options(task, stack) | {"max_num_seqs": task["beams"]}
    config = engine_config(**options, tensor_parallel_size=task["tensor_parallel_size"])
    return load_backends(config.without_verifier())[0]


_WORKS: dict[str, Callable[[Task, ExitStack], Callable[[], Row]]] = {
    "searches": _searches,
    "steps": _steps,
    "decoding": _decoding,
}


if __name__ == "__main__":
    main()
