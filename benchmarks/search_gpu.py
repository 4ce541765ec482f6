"""Seconds of a search on models of real sizes with dummy weights, memory capped at 24 GB.

Steps have seeded lengths and seeded text, or recorded text (`--streams`), scores are seeded;
generator and verifier do the work of real ones. The planner splits the memory between them.
"""

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.arms import MAIN_ARMS
from benchmarks.dummy_models import MAX_MODEL_LEN, write_generator, write_verifier
from benchmarks.paired import Row, Workload, is_over, paired_rows
from benchmarks.search_vllm import NUM_PROMPT_TOKENS, seeded_prompt, seeded_search
from benchmarks.seeded_steps import ARGUMENTS, SeededSteps, steps_options
from benchmarks.turns import turn
from fasttts.backends.vllm import load_backends
from fasttts.backends.vllm.environment import RUNNER_VARIABLE, set_environment
from fasttts.backends.vllm.generator import VLLMGenerator
from fasttts.backends.vllm.verifier import VLLMVerifier
from fasttts.config import EngineConfig, engine_config
from fasttts.demo.problems import generate_problems
from fasttts.memory import (
    MemoryPlan,
    engine_arguments,
    plan_engines,
    read_shape,
    this_device,
)
from fasttts.memory import Workload as PlannedWorkload

PAIRS = ("1.5B+1.5B", "1.5B+7B", "7B+1.5B")
GIB = 1 << 30


def gpu_rows(arguments: argparse.Namespace, deadline: float | None) -> Iterator[list[Row]]:
    """All rows so far, for all pairs of models and all numbers of beams."""
    done: list[Row] = []
    for pair in arguments.models or PAIRS:
        if is_over(deadline):
            return
        with tempfile.TemporaryDirectory() as folder:
            with turn(arguments.turns, alone=False):
                workload = open_pair(pair, Path(folder), arguments)
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
                        turns=arguments.turns,
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


def default_runner() -> str:
    """The model runner of vLLM that a generator gets here where nobody chooses."""
    import torch

    return "second" if torch.cuda.is_available() else "first"


def open_pair(pair: str, folder: Path, arguments: argparse.Namespace) -> Workload:
    """Loads a pair of models that do the seeded search.

    Args:
        pair: Shapes of generator and verifier, such as "1.5B+7B".
        folder: Takes their directories.
        arguments: Those of `benchmarks.search`.
    """
    generator_shape, verifier_shape = pair.split("+")
    generator_path = write_generator(folder, generator_shape)
    verifier_path = write_verifier(folder, verifier_shape)
    config = _engine_config(generator_path, verifier_path, arguments)
    is_second = (arguments.runner or default_runner()) == "second"
    with set_environment({RUNNER_VARIABLE: "1" if is_second else "0"}):
        processors = [_seeded_processor(is_second)]
        generator, verifier = load_backends(config, logits_processors=processors)
    assert isinstance(verifier, VLLMVerifier)
    if is_second:
        from benchmarks.seeded_slots import watch

        options = config.generator_args["additional_config"][ARGUMENTS]
        watch(
            generator,
            separator=options["separator"],
            num_prompt_tokens=options["num_prompt_tokens"],
        )
    problem = generate_problems("test", arguments.seed, 1, min_operations=8)[0].text
    return Workload(
        name="seeded",
        generator=generator,
        verifier=verifier,
        prompt_token_ids=seeded_prompt(generator.tokenizer.encode, problem),
        problem=problem,
        config=partial(seeded_search, arguments),
        graphs=_graph_counts(generator),
    )


def _graph_counts(generator: VLLMGenerator) -> Mapping[str, int]:
    """Iterations of the generator by mode of CUDA graphs, counted from now on."""
    from benchmarks.known_drafts import GraphModes, runner_of

    return GraphModes(runner_of(generator._llm)).counts


def _seeded_processor(is_second: bool) -> type:
    """What writes the text, in the model runner that the generator gets."""
    if not is_second:
        return SeededSteps
    from benchmarks.seeded_slots import SeededSlots

    return SeededSlots


def _engine_config(generator: Path, verifier: Path, arguments: argparse.Namespace) -> EngineConfig:
    config = engine_config(
        generator=str(generator),
        verifier=str(verifier),
        max_model_len=MAX_MODEL_LEN,
        max_num_seqs=arguments.slots or max(arguments.beams),
        offloading="none",
        verifier_process=bool(arguments.verifier_process),
        verifier_device=arguments.verifier_device,
    )
    plan = _plan(config, generator, verifier, arguments)
    own = [
        {"load_format": "dummy", "enforce_eager": arguments.eager, **planned}
        for planned in engine_arguments(plan)
    ]
    for each in own:  # a share of the whole device, not of the part that was planned
        if (share := each.get("gpu_memory_utilization")) is not None:
            each["gpu_memory_utilization"] = (
                share * plan.device.memory_bytes / this_device().memory_bytes
            )
    options = steps_options(
        str(generator),
        num_prompt_tokens=NUM_PROMPT_TOKENS,
        writes_text=True,
        streams=arguments.streams,
    )
    update = {
        "max_num_seqs": plan.generator.max_num_seqs,
        "generator_args": {
            **own[0],
            "async_scheduling": arguments.async_scheduling,
            "additional_config": {ARGUMENTS: options},
        },
        "verifier_args": own[1],
    }
    return config.model_copy(update=update)


def _plan(
    config: EngineConfig, generator: Path, verifier: Path, arguments: argparse.Namespace
) -> MemoryPlan:
    """How both models share the capped memory at the largest number of beams."""
    workload = PlannedWorkload(
        num_beams=max(arguments.beams),
        beam_width=arguments.beam_width,
        depth=arguments.depth,
        prompt_tokens=NUM_PROMPT_TOKENS,
    )
    device = replace(this_device(), memory_bytes=int(arguments.memory_gib * GIB))
    return plan_engines(config, device, read_shape(generator), read_shape(verifier), workload)
