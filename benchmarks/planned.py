"""What the memory planner predicts beside what is measured: `python -m benchmarks.planned`.

Each pair of models (real shapes, dummy weights) shares the planned memory and does the seeded
search. Memory is this process's on the device, as the driver counts it: everything but the KV
caches, which are as large as planned. Seconds are predicted by the roofline and, once both models
have been timed as `fasttts calibrate` does, by their calibrations.
"""

import argparse
import importlib
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.dummy_models import MAX_MODEL_LEN
from benchmarks.paired import Row, Workload, paired_rows
from benchmarks.report import Report
from benchmarks.search_gpu import GIB, PAIRS, device_name, open_pair
from benchmarks.search_vllm import NUM_PROMPT_TOKENS
from benchmarks.turns import HELP, turn
from benchmarks.workload import MEAN_TOKENS
from fasttts.memory import (
    Calibration,
    MemoryPlan,
    calibrate_generator,
    calibrate_verifier,
    make_plan,
    read_shape,
    this_device,
)
from fasttts.memory import Workload as PlannedWorkload
from fasttts.memory.requirements import PROCESS_BYTES

_COLUMNS = {
    "models": "models",
    "what": "what",
    "planned": "planned",
    "calibrated": "cali- brated",
    "measured": "measured",
    "ratio": "measured / planned",
}
_OPENED = "is open after"
"""What `fasttts` logs when an engine is open."""


class Memory(logging.Handler):
    """Notes this process's memory on the device whenever an engine is open."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.bytes: list[int] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a reading where the record says that an engine is open."""
        if _OPENED in record.getMessage():
            self.bytes.append(device_bytes())


def device_bytes() -> int:
    """Memory of this process on its GPU; of all where the driver does not tell them apart."""
    pynvml: Any = importlib.import_module("vllm.third_party.pynvml")
    pynvml.nvmlInit()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    handle = pynvml.nvmlDeviceGetHandleByIndex(int(visible))
    running = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    own = sum(each.usedGpuMemory or 0 for each in running if each.pid == os.getpid())
    return own or int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)


def rows(arguments: argparse.Namespace) -> Iterator[list[Row]]:
    """All rows so far, after each pair of models."""
    done: list[Row] = []
    memory = Memory()
    logger = logging.getLogger("fasttts")
    logger.addHandler(memory)
    logger.setLevel(logging.INFO)
    for pair in arguments.models:
        memory.bytes.clear()
        with tempfile.TemporaryDirectory() as folder:
            with turn(arguments.turns, alone=False):
                workload = open_pair(pair, Path(folder), arguments)
            try:
                plan = _plan(Path(folder), pair, arguments)
                done += [{"models": pair, **row} for row in _measured(workload, plan, memory)]
                done += [
                    {"models": pair, **row}
                    for row in _timed(workload, plan, Path(folder), pair, arguments)
                ]
                yield done
            finally:
                workload.close()


def _measured(workload: Workload, plan: MemoryPlan, memory: Memory) -> Iterator[Row]:
    """Memory without KV caches, when each engine is open."""
    (first, second), verifier = memory.bytes[:2], plan.verifier
    assert verifier is not None
    engines = (plan.generator, first), (verifier, second - first)
    for engine, found in engines:
        is_first = engine.role == "generator"
        planned = engine.weight_bytes + engine.activation_bytes + engine.runtime_bytes
        yield _row(
            f"{engine.role}, GiB",
            (planned + is_first * PROCESS_BYTES) / GIB,
            (found - engine.kv_cache_memory_bytes) / GIB,
        )


def _timed(
    workload: Workload, plan: MemoryPlan, folder: Path, pair: str, arguments: argparse.Namespace
) -> Iterator[Row]:
    """Seconds of the search."""
    name, beams = plan.device.name, max(arguments.beams)
    found = paired_rows(
        workload, beams, arms=("deep",), repetitions=arguments.repetitions, turns=arguments.turns
    )
    (row,) = list(found)[-1]
    scoring_s, search_s = row["verification_s"], row["median_s"]
    with turn(arguments.turns, alone=True):
        calibrations = [
            calibrate_generator(workload.generator, name),
            calibrate_verifier(workload.verifier, name),
        ]
    by_rates = _plan(folder, pair, arguments, step_tokens=MEAN_TOKENS)
    by_times = _plan(folder, pair, arguments, calibrations, step_tokens=MEAN_TOKENS)
    rates, times = by_rates.times, by_times.times
    decoding_s = search_s - scoring_s  # and the loop
    yield _row("decoding and the loop, s", rates.generation_s, decoding_s, times.generation_s)
    yield _row("scoring, s", rates.verification_s, scoring_s, times.verification_s)
    yield _row("the search, s", by_rates.predicted_s, search_s, by_times.predicted_s)
    yield _row("all, after searches, GiB", plan.usable_bytes / GIB, device_bytes() / GIB)


def _row(what: str, planned: float, measured: float, calibrated: float | None = None) -> Row:
    return {
        "what": what,
        "planned": planned,
        "calibrated": calibrated,
        "measured": measured,
        "ratio": measured / (calibrated or planned),
    }


def _plan(
    folder: Path,
    pair: str,
    arguments: argparse.Namespace,
    calibrations: Sequence[Calibration] = (),
    **sizes: int,
) -> MemoryPlan:
    """The plan of the opened pair; with `step_tokens`, of the search that it does."""
    generator, verifier = pair.split("+")
    device = replace(this_device(), memory_bytes=int(arguments.memory_gib * GIB))
    return make_plan(
        device,
        read_shape(folder / f"generator-{generator}"),
        read_shape(folder / f"verifier-{verifier}"),
        PlannedWorkload(
            num_beams=max(arguments.beams),
            beam_width=arguments.beam_width,
            depth=arguments.depth,
            prompt_tokens=NUM_PROMPT_TOKENS,
            max_model_len=MAX_MODEL_LEN,
            **sizes,
        ),
        offloading="none",
        calibrations=calibrations,
        max_num_seqs=max(arguments.beams),
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=lambda text: text.split(","), default=list(PAIRS))
    parser.add_argument("--beams", type=int, default=64)
    parser.add_argument("--memory-gib", type=float, default=24.0)
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--turns", type=Path, help=HELP)
    parser.add_argument("--output", type=Path, help="a file that has the JSON line so far")
    arguments = parser.parse_args()
    settings: dict[str, Any] = {**vars(arguments), "output": None, "turns": None}
    settings["device"] = device_name()
    report = Report(
        benchmark="planned", config=settings, seed=0, columns=_COLUMNS, output=arguments.output
    )
    search = {"beam_width": 4, "depth": 10, "slots": None, "eager": False, "runner": None}
    others = {"async_scheduling": True, "verifier_process": None, "seed": 0}
    others["verifier_device"] = None
    options = argparse.Namespace(**{**vars(arguments), **search, **others})
    options.beams = [arguments.beams]
    for found in rows(options):
        report.take(found)
    report.print()


if __name__ == "__main__":
    main()
