"""Seconds of a search on two vLLM engines: every arm on the same work, interleaved, in one process.

`seeded` forces step lengths and scores (`seeded_steps.py`), so that the demonstration models carry
a workload of realistic shape; `demo` is the models' own reasoning. Both prefix caches are emptied
before each search.
"""

import argparse
import statistics
from dataclasses import dataclass
from typing import Any

from benchmarks.driving import Measurement, measure
from benchmarks.seeded_steps import ARGUMENTS, CostlySeededVerifier, Rescoring, SeededSteps
from fasttts.backends.base import Verifier
from fasttts.backends.vllm import load_backends
from fasttts.backends.vllm.verifier import VLLMVerifier
from fasttts.config import PLAIN, SchedulingConfig, SearchConfig, engine_config, search_config
from fasttts.demo.problems import generate_problems

Row = dict[str, Any]

NUM_PROMPT_TOKENS = 64
FULL = SchedulingConfig()
SWITCHES = (
    "speculation",
    "early_verification",
    "lookahead_verification",
    "prefix_order",
    "early_stop",
    "two_phase",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One way of running a search; `rescores` is what search-and-learn does at every step."""

    scheduling: SchedulingConfig
    rescores: bool = False


ARMS: dict[str, Arm] = {
    "plain": Arm(scheduling=PLAIN, rescores=True),
    "plain+cache": Arm(scheduling=PLAIN),
    "paper": Arm(
        scheduling=SchedulingConfig(speculation_rule="paper", early_verification=False),
    ),
    "deep": Arm(scheduling=FULL),
    **{f"no_{name}": Arm(scheduling=FULL.model_copy(update={name: False})) for name in SWITCHES},
}


def vllm_rows(arguments: argparse.Namespace) -> list[Row]:
    """Rows for both workloads and all numbers of beams."""
    rows: list[Row] = []
    for workload in arguments.workloads:
        bench = Bench(workload, arguments)
        try:
            for beams in arguments.beams:
                rows += bench.rows(beams)
        finally:
            bench.close()
    return rows


class Bench:
    """Two engines on the demonstration models, and one workload for them."""

    def __init__(self, workload: str, arguments: argparse.Namespace) -> None:
        self._workload = workload
        self._arguments = arguments
        config = engine_config(
            max_num_seqs=arguments.slots or max(arguments.beams),
            kv_cache_memory_bytes=1 << 30,
            generator_args=_seeded_arguments() if workload == "seeded" else {},
        )
        processors = [SeededSteps] if workload == "seeded" else []
        self._generator, verifier = load_backends(config, logits_processors=processors)
        assert isinstance(verifier, VLLMVerifier)
        self._verifier = verifier
        problem = generate_problems("test", arguments.seed, 1, min_operations=8)[0]
        self._problem = problem.text

    def close(self) -> None:
        """Frees both engines."""
        self._generator.close()
        self._verifier.close()

    def rows(self, beams: int) -> list[Row]:
        """Every arm, `repetitions` times, in turn; after one unmeasured round."""
        names = [name for name in ARMS if name in self._arguments.arms or not self._arguments.arms]
        found: dict[str, list[Measurement]] = {name: [] for name in names}
        for repetition in range(self._arguments.repetitions + 1):
            for name in names:
                one = self._search(ARMS[name], beams)
                if repetition:
                    found[name].append(one)
        return [_row(name, self._workload, beams, found) for name in names]

    def _search(self, arm: Arm, beams: int) -> Measurement:
        self._generator.reset_prefix_cache()
        self._verifier.reset_prefix_cache()
        self._verifier.reads_prefix_cache = not arm.rescores
        return measure(
            self._generator,
            self._scorer(arm),
            arm.scheduling.model_copy(update={"slots": self._arguments.slots or beams}),
            prompt_token_ids=self._prompt(),
            problem=self._problem,
            config=self._config(beams),
        )

    def _scorer(self, arm: Arm) -> Verifier:
        if self._workload == "seeded":
            return CostlySeededVerifier(self._verifier, rescores=arm.rescores)
        return Rescoring(self._verifier) if arm.rescores else self._verifier

    def _prompt(self) -> list[int]:
        if self._workload == "seeded":
            return (self._generator.tokenizer.encode(self._problem) * 9)[:NUM_PROMPT_TOKENS]
        return self._generator.tokenizer.encode_chat([{"role": "user", "content": self._problem}])

    def _config(self, beams: int) -> SearchConfig:
        arguments = self._arguments
        if self._workload == "demo":
            return search_config(n=beams, beam_width=arguments.beam_width, seed=arguments.seed)
        return search_config(
            n=beams,
            beam_width=arguments.beam_width,
            max_depth=arguments.depth,
            max_tokens=3000,
            max_step_tokens=3000,
            seed=arguments.seed,
        )


def _seeded_arguments() -> dict[str, Any]:
    """What the generator needs to end steps at seeded lengths."""
    from transformers import AutoTokenizer

    from fasttts.demo import generator_path

    tokenizer = AutoTokenizer.from_pretrained(generator_path())
    separator = tokenizer.encode("\n\n", add_special_tokens=False)
    options = {
        "separator": separator[0],
        "end": [tokenizer.eos_token_id],
        "num_prompt_tokens": NUM_PROMPT_TOKENS,
    }
    return {"additional_config": {ARGUMENTS: options}}


def _row(name: str, workload: str, beams: int, found: dict[str, list[Measurement]]) -> Row:
    searches, plain = found[name], found.get("plain", found[name])
    usage = searches[0].run.counts
    return {
        "arm": name,
        "workload": workload,
        "beams": beams,
        "seconds": [one.seconds for one in searches],
        "median_s": statistics.median(one.seconds for one in searches),
        "goodput_ratio": _goodput_ratio(searches, plain),
        "goodput_ratio_cache": _goodput_ratio(searches, found.get("plain+cache", searches)),
        "identical": all(one.tree == plain[0].tree for one in searches),
        "iterations": usage.num_iterations,
        "token_work_ratio": usage.generated_tokens / plain[0].run.counts.generated_tokens,
        "verifier_computed_ratio": _computed_ratio(searches[0]),
        "verifier_calls": usage.num_verifications,
        "generation_s": statistics.median(one.run.counts.generation_s for one in searches),
        "verification_s": statistics.median(one.run.counts.verification_s for one in searches),
        "loop_ms": statistics.median(one.loop_ms for one in searches),
    }


def _goodput_ratio(searches: list[Measurement], others: list[Measurement]) -> float:
    """Median over repetitions of returned tokens per second against another arm's."""
    return statistics.median(
        (one.num_returned_tokens / one.seconds) / (other.num_returned_tokens / other.seconds)
        for one, other in zip(searches, others, strict=True)
    )


def _computed_ratio(one: Measurement) -> float:
    """Verifier tokens computed for each token that was generated."""
    return one.run.counts.verifier_computed_tokens / one.run.counts.generated_tokens
