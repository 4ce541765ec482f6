"""What an iteration costs: `python -m benchmarks.iteration --model 1.5B --batches 8,64,256,512`.

Milliseconds of one decoding iteration of FastTTS's generator, and of vLLM alone with its own seeded
sampling, on the same shape with dummy weights, in one process and in turn. Both use the same model
runner, so that they differ in the sampling rule and in what is made of the outputs alone. The mean
leaves out the first iterations, in which prompts are computed, and the last ones.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.dummy_models import MAX_MODEL_LEN, SHAPES, write_generator
from benchmarks.report import Report
from benchmarks.turns import HELP, turn
from fasttts.backends.vllm.environment import RUNNER_VARIABLE, set_environment

Row = dict[str, Any]
ARMS = ("vllm", "fasttts")
NUM_PROMPT_TOKENS = 200
_NUM_SKIPPED, _NUM_LAST = 20, 5
_TEMPERATURE = 0.8
_FREE_SHARE = 0.1
_COLUMNS = {
    "arm": "arm",
    "batch": "sequences",
    "ms": "ms an iteration",
    "low_ms": "shortest round",
    "high_ms": "longest round",
    "ratio": "against vLLM",
}

Decode = Callable[[str, int, int], list[float]]
"""Runs a batch of sequences to its end: a name, how many, and their tokens; gives seconds."""


def rows(arguments: argparse.Namespace) -> Iterator[list[Row]]:
    """All rows so far."""
    with tempfile.TemporaryDirectory() as folder:
        model = str(write_generator(Path(folder), arguments.model))
        arms: dict[str, Decode] = {}
        try:
            with turn(arguments.turns, alone=False):
                for name in ARMS:
                    opened = _open_fasttts if name == "fasttts" else _open_vllm
                    arms[name], close = opened(model, arguments)
                    arguments.closing.append(close)
            done: list[Row] = []
            for batch in arguments.batches:
                with turn(arguments.turns, alone=True):
                    done += _rows(arms, batch, arguments)
                yield done
        finally:
            for close in arguments.closing:
                close()


def _rows(arms: dict[str, Decode], batch: int, arguments: argparse.Namespace) -> list[Row]:
    found: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(-1, arguments.repetitions):  # one round before the others warms up
        for name, decode in arms.items():
            seconds = decode(f"{batch}-{number}", batch, arguments.tokens)
            kept = seconds[_NUM_SKIPPED : len(seconds) - _NUM_LAST]
            if number >= 0:
                found[name].append(1000 * statistics.fmean(kept))
    ratios = [own / bare for own, bare in zip(found["fasttts"], found["vllm"], strict=True)]
    return [
        {
            "arm": name,
            "batch": batch,
            "ms": statistics.median(times),
            "low_ms": min(times),
            "high_ms": max(times),
            "ratio": statistics.median(ratios) if name == "fasttts" else 1.0,
        }
        for name, times in found.items()
    ]


def _prompt(number: int) -> list[int]:
    """A prompt of its own for each sequence, so that none is cached."""
    return [token % 1000 + 100 for token in range(number, number + NUM_PROMPT_TOKENS)]


def _open_fasttts(model: str, arguments: argparse.Namespace) -> tuple[Decode, Callable[[], None]]:
    from fasttts.backends.vllm import load_backends
    from fasttts.config import engine_config
    from fasttts.decoding.sampling import Sampling
    from fasttts.interfaces import GenerationRequest

    config = engine_config(
        generator=model,
        verifier=None,
        max_num_seqs=max(arguments.batches),
        kv_cache_memory_bytes=arguments.kv_bytes,
        max_model_len=MAX_MODEL_LEN,
        generator_args={"load_format": "dummy", "enforce_eager": arguments.eager},
    )
    generator, _ = load_backends(config)

    def decode(name: str, batch: int, num_tokens: int) -> list[float]:
        for number in range(batch):
            request = GenerationRequest(
                request_id=f"{name}-{number}",
                prompt_token_ids=_prompt(number),
                seed=number + 1,
                sampling=Sampling(temperature=_TEMPERATURE),
                max_tokens=num_tokens,
            )
            generator.add(request)
        seconds = []
        while generator.num_unfinished():
            started = time.perf_counter()
            generator.step()
            generator.pressure()
            seconds.append(time.perf_counter() - started)
        return seconds

    return decode, generator.close


def _open_vllm(model: str, arguments: argparse.Namespace) -> tuple[Decode, Callable[[], None]]:
    from fasttts.backends.vllm.engine_lifecycle import close_engine, open_engine
    from fasttts.backends.vllm.environment import prepare_environment

    prepare_environment(None)
    from vllm import SamplingParams
    from vllm.inputs import TokensPrompt
    from vllm.platforms import current_platform
    from vllm.sampling_params import RequestOutputKind

    is_cpu = current_platform.is_cpu()
    on_cpu: dict[str, Any] = {"dtype": "float32", "block_size": 32} if is_cpu else {}
    # What must be free when it opens, beside the other arm's engine; the cache has its own size.
    on_gpu = {} if is_cpu else {"gpu_memory_utilization": _FREE_SHARE}
    llm = open_engine(
        "generator",
        model=model,
        load_format="dummy",
        max_model_len=MAX_MODEL_LEN,
        max_num_seqs=max(arguments.batches),
        kv_cache_memory_bytes=arguments.kv_bytes,
        enable_prefix_caching=True,
        disable_log_stats=True,
        scheduling_policy="priority",
        enforce_eager=arguments.eager or is_cpu,
        **on_cpu,
        **on_gpu,
    )
    engine = llm.llm_engine

    def decode(name: str, batch: int, num_tokens: int) -> list[float]:
        for number in range(batch):
            params = SamplingParams(
                temperature=_TEMPERATURE,
                seed=None if is_cpu else number + 1,  # a CPU cannot, in vLLM 0.32
                max_tokens=num_tokens,
                ignore_eos=True,
                detokenize=False,
                output_kind=RequestOutputKind.DELTA,
            )
            prompt = TokensPrompt(prompt_token_ids=_prompt(number))
            engine.add_request(f"{name}-{number}", prompt, params)
        seconds = []
        while engine.has_unfinished_requests():
            started = time.perf_counter()
            engine.step()
            seconds.append(time.perf_counter() - started)
        return seconds

    return decode, lambda: close_engine(llm)


def main() -> None:
    """Prints the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=list(SHAPES), default="1.5B")
    parser.add_argument("--batches", type=_numbers, default=[8, 64, 256, 512])
    parser.add_argument("--tokens", type=int, default=160, help="of each sequence")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--kv-gib", type=float, default=10.0, help="KV cache of each engine")
    parser.add_argument("--runner", choices=["first", "second"], default="second", help="vLLM's")
    parser.add_argument("--eager", action="store_true", help="no CUDA graphs")
    parser.add_argument("--turns", type=Path, help=HELP)
    parser.add_argument("--output", type=Path, help="a file that has the JSON line so far")
    arguments = parser.parse_args()
    config = {**vars(arguments), "output": None, "turns": None}
    report = Report(
        benchmark="iteration",
        config=config,
        seed=0,
        columns=_COLUMNS,
        output=arguments.output,
    )
    arguments.kv_bytes, arguments.closing = int(arguments.kv_gib * (1 << 30)), []
    with set_environment({RUNNER_VARIABLE: "1" if arguments.runner == "second" else "0"}):
        for found in rows(arguments):
            report.take(found)
    report.print()


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    main()
