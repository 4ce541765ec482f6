"""Seconds of a search on models of real sizes with dummy weights, memory capped at 24 GB.

Steps have seeded lengths and seeded text, scores are seeded; generator and verifier do the work of
real ones. The memory that weights leave is split 4 to 1 between generator and verifier.
"""

import argparse
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.arms import MAIN_ARMS
from benchmarks.dummy_models import MAX_MODEL_LEN, write_generator, write_verifier
from benchmarks.paired import Row, Workload, is_over, paired_rows
from benchmarks.search_vllm import NUM_PROMPT_TOKENS, seeded_prompt, seeded_search
from benchmarks.seeded_steps import ARGUMENTS, SeededSteps, steps_options
from fasttts.backends.vllm import load_backends
from fasttts.backends.vllm.verifier import VLLMVerifier
from fasttts.config import EngineConfig, engine_config
from fasttts.demo.problems import generate_problems
from fasttts.scheduling.memory import read_shape

PAIRS = ("1.5B+1.5B", "1.5B+7B", "7B+1.5B")
GIB = 1 << 30
USABLE = 0.9
RUNTIME_BYTES = GIB
"""Activations and graphs of one engine."""
GENERATOR_SHARE = 0.8
MIN_CACHE_BYTES = 1 << 26


def gpu_rows(arguments: argparse.Namespace, deadline: float | None) -> Iterator[list[Row]]:
    """All rows so far, for all pairs of models and all numbers of beams."""
    done: list[Row] = []
    for pair in arguments.models or PAIRS:
        if is_over(deadline):
            return
        with tempfile.TemporaryDirectory() as folder:
            workload = _open(pair, Path(folder), arguments)
            try:
                for beams in arguments.beams:
                    rows: list[Row] = []
                    for found in paired_rows(
                        workload,
                        beams,
                        arms=arguments.arms or MAIN_ARMS,
                        repetitions=arguments.repetitions,
                        slots=arguments.slots,
                        deadline=deadline,
                    ):
                        rows = [{"models": pair, **row} for row in found]
                        yield done + rows
                    done += rows
            finally:
                workload.close()


def device_name() -> str:
    """What ran."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def _open(pair: str, folder: Path, arguments: argparse.Namespace) -> Workload:
    generator_shape, verifier_shape = pair.split("+")
    generator_path = write_generator(folder, generator_shape)
    verifier_path = write_verifier(folder, verifier_shape)
    config = _engine_config(generator_path, verifier_path, arguments)
    generator, verifier = load_backends(config, logits_processors=[SeededSteps])
    assert isinstance(verifier, VLLMVerifier)
    problem = generate_problems("test", arguments.seed, 1, min_operations=8)[0].text
    return Workload(
        name="seeded",
        generator=generator,
        verifier=verifier,
        prompt_token_ids=seeded_prompt(generator.tokenizer.encode, problem),
        problem=problem,
        config=partial(seeded_search, arguments),
    )


def _engine_config(generator: Path, verifier: Path, arguments: argparse.Namespace) -> EngineConfig:
    weights = [read_shape(path).weight_bytes for path in (generator, verifier)]
    left = USABLE * arguments.memory_gib * GIB - sum(weights) - 2 * RUNTIME_BYTES
    caches = [int(GENERATOR_SHARE * left), int((1 - GENERATOR_SHARE) * left)]
    if min(caches) < MIN_CACHE_BYTES:
        raise SystemExit(f"--memory-gib {arguments.memory_gib}: too little for these models")
    options = steps_options(str(generator), num_prompt_tokens=NUM_PROMPT_TOKENS, writes_text=True)
    own = [
        {
            "load_format": "dummy",
            "kv_cache_memory_bytes": cache,
            "enforce_eager": arguments.eager,
            **_device_arguments(weight, cache),
        }
        for weight, cache in zip(weights, caches, strict=True)
    ]
    return engine_config(
        generator=str(generator),
        verifier=str(verifier),
        max_model_len=MAX_MODEL_LEN,
        max_num_seqs=arguments.slots or max(arguments.beams),
        kv_cache_memory_bytes=caches[0],
        generator_args={
            **own[0],
            "async_scheduling": arguments.async_scheduling,
            "additional_config": {ARGUMENTS: options},
        },
        verifier_args={**own[1], "max_model_len": MAX_MODEL_LEN},
    )


def _device_arguments(weight_bytes: int, cache_bytes: int) -> dict[str, Any]:
    """The share of the device that vLLM looks for at start."""
    import torch

    if not torch.cuda.is_available():
        return {}
    total = torch.cuda.get_device_properties(0).total_memory
    return {"gpu_memory_utilization": (weight_bytes + cache_bytes + RUNTIME_BYTES) / total}
