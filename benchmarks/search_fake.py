"""Counts of a search on the fake backend: iterations and tokens on seeded step lengths."""

import argparse
import statistics
from collections.abc import Iterator
from typing import Any

from benchmarks.driving import Measurement, measure
from benchmarks.workload import SeededGenerator, SeededVerifier, oracle_iterations
from fasttts.config import PLAIN, SchedulingConfig, SearchConfig, search_config

Row = dict[str, Any]

NUM_PROMPT_TOKENS = 16
UNLIMITED = 100_000
IMMEDIATE = SchedulingConfig(verification_batch_tokens=1, speculation_rule="score")
FAKE_ARMS: dict[str, tuple[int, SchedulingConfig]] = {
    "plain": (1, PLAIN),
    "paper": (1, SchedulingConfig(speculation_rule="paper", early_verification=False)),
    "early": (1, IMMEDIATE.model_copy(update={"speculation_depth": 1})),
    "deep": (1, IMMEDIATE),
    "deep_2x": (2, IMMEDIATE),
}


def fake_rows(beams: int, arguments: argparse.Namespace) -> Iterator[Row]:
    """Counts of every arm, means over searches with different seeds."""
    seeds = range(arguments.seed, arguments.seed + arguments.repetitions)
    searches = {
        name: [fake_search(beams, factor * beams, arm, arguments, seed) for seed in seeds]
        for name, (factor, arm) in FAKE_ARMS.items()
    }
    plain = searches["plain"]
    for name, found in searches.items():
        yield _fake_row(name, beams, FAKE_ARMS[name][0] * beams, found, plain)
    best = [
        oracle_iterations([node.path for node in one.run.tree], seed, NUM_PROMPT_TOKENS)
        for one, seed in zip(plain, seeds, strict=True)
    ]
    ratios = [b / p.run.counts.num_iterations for b, p in zip(best, plain, strict=True)]
    yield {
        "arm": "oracle",
        "beams": beams,
        "iterations": statistics.mean(best),
        "iterations_ratio": statistics.mean(ratios),
        "token_work_ratio": 1.0,
        "identical": True,
    }


def fake_search(
    beams: int, slots: int, arm: SchedulingConfig, arguments: argparse.Namespace, seed: int
) -> Measurement:
    """One search of the seeded workload."""
    return measure(
        SeededGenerator(num_prompt_tokens=NUM_PROMPT_TOKENS, max_num_seqs=slots),
        SeededVerifier(),
        arm,
        prompt_token_ids=[ord("a")] * NUM_PROMPT_TOKENS,
        problem="seeded",
        config=_seeded_search(beams, arguments, seed),
    )


def _seeded_search(beams: int, arguments: argparse.Namespace, seed: int) -> SearchConfig:
    """A beam search of the seeded workload: only depth ends it."""
    return search_config(
        n=beams,
        beam_width=arguments.beam_width,
        max_depth=arguments.depth,
        max_tokens=UNLIMITED,
        max_step_tokens=UNLIMITED,
        seed=seed,
    )


def _fake_row(
    name: str, beams: int, slots: int, found: list[Measurement], plain: list[Measurement]
) -> Row:
    pairs = list(zip(found, plain, strict=True))
    counts = [(one.run.counts, other.run.counts) for one, other in pairs]
    return {
        "arm": name,
        "beams": beams,
        "slots": slots,
        "iterations": statistics.mean(one.num_iterations for one, _ in counts),
        "iterations_ratio": statistics.mean(a.num_iterations / b.num_iterations for a, b in counts),
        "token_work_ratio": statistics.mean(
            a.generated_tokens / b.generated_tokens for a, b in counts
        ),
        "identical": all(one.tree == other.tree for one, other in pairs),
        "loop_ms": statistics.median(one.loop_ms for one in found),
    }
