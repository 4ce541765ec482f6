"""Seconds of a search on the demonstration models: every arm on the same work, interleaved.

`seeded` forces step lengths and scores (`seeded_steps.py`), so that the demonstration models carry
a workload of realistic shape; `demo` is the models' own reasoning. Both prefix caches are emptied
before each search.
"""

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from benchmarks.arms import ARMS
from benchmarks.paired import Row, Workload, is_over, paired_rows
from fasttts.backends.vllm import load_backends
from fasttts.backends.vllm.verifier import VLLMVerifier
from fasttts.config import SearchConfig, engine_config, search_config
from fasttts.demo import generator_path
from fasttts.demo.problems import generate_problems

NUM_PROMPT_TOKENS = 64
WORKLOADS = ("demo", "seeded")


def vllm_rows(arguments: argparse.Namespace, deadline: float | None) -> Iterator[list[Row]]:
    """All rows so far, for both workloads and all numbers of beams."""
    # As loading models of this size does; too late once the workload has imported torch.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    done: list[Row] = []
    for name in arguments.workloads or WORKLOADS:
        if is_over(deadline):
            return
        workload = _open(name, arguments)
        try:
            for beams in arguments.beams:
                rows: list[Row] = []
                for rows in paired_rows(
                    workload,
                    beams,
                    arms=arguments.arms or list(ARMS),
                    repetitions=arguments.repetitions,
                    slots=arguments.slots,
                    deadline=deadline,
                ):
                    yield done + rows
                done += rows
        finally:
            workload.close()


def seeded_prompt(encode: Callable[[str], Sequence[int]], problem: str) -> list[int]:
    """A prompt of the length that the seeded workload assumes."""
    return (list(encode(problem)) * NUM_PROMPT_TOKENS)[:NUM_PROMPT_TOKENS]


def seeded_search(arguments: argparse.Namespace, beams: int) -> SearchConfig:
    """A search that only depth ends."""
    return search_config(
        n=beams,
        beam_width=arguments.beam_width,
        max_depth=arguments.depth,
        max_tokens=3000,
        max_step_tokens=3000,
        seed=arguments.seed,
    )


def _demo_search(arguments: argparse.Namespace, beams: int) -> SearchConfig:
    return search_config(n=beams, beam_width=arguments.beam_width, seed=arguments.seed)


def _open(name: str, arguments: argparse.Namespace) -> Workload:
    from benchmarks.seeded_steps import SeededSteps

    is_seeded = name == "seeded"
    config = engine_config(
        max_num_seqs=arguments.slots or max(arguments.beams),
        kv_cache_memory_bytes=1 << 30,
        verifier_process=arguments.verifier_process is not False,
        generator_args=_seeded_arguments() if is_seeded else {},
    )
    processors = [SeededSteps] if is_seeded else []
    generator, verifier = load_backends(config, logits_processors=processors)
    assert isinstance(verifier, VLLMVerifier)
    problem = generate_problems("test", arguments.seed, 1, min_operations=8)[0].text
    if is_seeded:
        prompt = seeded_prompt(generator.tokenizer.encode, problem)
    else:
        prompt = generator.tokenizer.encode_chat([{"role": "user", "content": problem}])
    return Workload(
        name=name,
        generator=generator,
        verifier=verifier,
        prompt_token_ids=prompt,
        problem=problem,
        config=partial(seeded_search if is_seeded else _demo_search, arguments),
    )


def _seeded_arguments() -> dict[str, Any]:
    """What the generator needs to end steps at seeded lengths."""
    from benchmarks.seeded_steps import ARGUMENTS, steps_options

    options = steps_options(str(generator_path()), num_prompt_tokens=NUM_PROMPT_TOKENS)
    return {"additional_config": {ARGUMENTS: options}}
