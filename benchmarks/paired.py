"""Arms on the same two engines, in turn, and what their searches took."""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.arms import ARMS, Arm
from benchmarks.driving import Measurement, measure
from benchmarks.scorers import CostlySeededVerifier, Rescoring, Waiting, Watched
from benchmarks.turns import turn
from fasttts.backends.vllm.generator import VLLMGenerator
from fasttts.backends.vllm.verifier import VLLMVerifier
from fasttts.config import SearchConfig
from fasttts.interfaces import Verifier

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What every arm does on two open engines.

    Attributes:
        name: "seeded" replaces the verifier's scores by seeded ones; "demo" keeps them.
        generator: Decodes; its cache is emptied before each search.
        verifier: The same.
        prompt_token_ids: The generator's prompt.
        problem: The verifier's.
        config: The search for a number of beams.
        graphs: The generator's iterations so far, by how CUDA graphs served them; it goes on
            counting.
    """

    name: str
    generator: VLLMGenerator
    verifier: VLLMVerifier
    prompt_token_ids: Sequence[int]
    problem: str
    config: Callable[[int], SearchConfig]
    graphs: Mapping[str, int] = field(default_factory=dict)

    def close(self) -> None:
        """Frees both engines."""
        self.generator.close()
        self.verifier.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """One search of one arm.

    Attributes:
        measured: It.
        num_new_verifier_tokens: Tokens that were new to the verifier.
        graphs: The generator's iterations, by how CUDA graphs served them.
    """

    measured: Measurement
    num_new_verifier_tokens: int
    graphs: Mapping[str, int]


def paired_rows(
    workload: Workload,
    beams: int,
    *,
    arms: Sequence[str],
    repetitions: int,
    slots: int | None = None,
    deadline: float | None = None,
    turns: Path | None = None,
) -> Iterator[list[Row]]:
    """The rows so far, after each round in which every arm ran once.

    One search of the last arm, which does not count, warms up.

    Args:
        workload: What to do.
        beams: Beams of the search.
        arms: Which arms run, in this order; each round begins with the next of them.
        repetitions: Rounds.
        slots: Sequences in a batch; as many as beams by default.
        deadline: No round begins after this time of `time.monotonic`.
        turns: A file by which processes on one GPU take turns; each search is a turn.
    """
    found: dict[str, list[Search]] = {name: [] for name in arms}
    num_slots = min(slots or beams, workload.generator.max_num_seqs)
    for repetition in range(repetitions):
        if is_over(deadline):
            return
        if repetition == 0:
            _search(workload, ARMS[arms[-1]], beams, num_slots, turns)
        first = repetition % len(arms)  # what an arm runs after may change its time
        for name in (*arms[first:], *arms[:first]):
            found[name].append(_search(workload, ARMS[name], beams, num_slots, turns))
        yield [_row(name, workload, beams, num_slots, found) for name in arms]


def is_over(deadline: float | None) -> bool:
    """Whether nothing more should begin."""
    return deadline is not None and time.monotonic() > deadline


def _search(workload: Workload, arm: Arm, beams: int, slots: int, turns: Path | None) -> Search:
    workload.generator.reset_prefix_cache()
    workload.verifier.reset_prefix_cache()
    workload.verifier.reads_prefix_cache = not arm.rescores
    watched = Watched(_verifier_queue(workload, arm))
    before = Counter(workload.graphs)
    with turn(turns, alone=True):
        measured = measure(
            workload.generator,
            watched,
            arm.scheduling.model_copy(update={"slots": slots}),
            prompt_token_ids=workload.prompt_token_ids,
            problem=workload.problem,
            config=workload.config(beams),
        )
    encode = workload.generator.tokenizer.encode
    return Search(
        measured=measured,
        num_new_verifier_tokens=watched.num_new_tokens(encode),
        graphs=dict(Counter(workload.graphs) - before),
    )


def _verifier_queue(workload: Workload, arm: Arm) -> Verifier:
    scorer: Verifier = Waiting(workload.verifier) if arm.waits else workload.verifier
    if arm.rescores:
        scorer = Rescoring(scorer)
    return CostlySeededVerifier(scorer) if workload.name == "seeded" else scorer


def _row(
    name: str, workload: Workload, beams: int, slots: int, found: dict[str, list[Search]]
) -> Row:
    searches = [one.measured for one in found[name]]
    plain = [one.measured for one in found.get("plain", found[name])]
    cached = [one.measured for one in found.get("plain+cache", found[name])]
    counts = searches[0].run.counts
    seconds = [one.seconds for one in searches]
    return {
        "arm": name,
        "workload": workload.name,
        "beams": beams,
        "slots": slots,
        "seconds": seconds,
        "median_s": statistics.median(seconds),
        "range_s": [min(seconds), max(seconds)],
        "goodput": statistics.median(one.num_returned_tokens / one.seconds for one in searches),
        "goodput_ratio": _goodput_ratio(searches, plain),
        "goodput_ratio_cache": _goodput_ratio(searches, cached),
        "identical": all(one.tree == plain[0].tree for one in searches),
        "iterations": counts.num_iterations,
        "iterations_ratio": counts.num_iterations / plain[0].run.counts.num_iterations,
        "generated_tokens": counts.generated_tokens,
        "token_work_ratio": counts.generated_tokens / plain[0].run.counts.generated_tokens,
        "drafted_tokens": counts.drafted_tokens,
        "kept_draft_tokens": counts.kept_draft_tokens,
        "recomputed_tokens": counts.requested_tokens - counts.cached_tokens,
        "num_preemptions": counts.num_preemptions,
        "peak_kv_cache_usage": counts.peak_kv_cache_usage,
        **_verifier_columns(found[name][0], workload.verifier.block_size),
        "generation_s": statistics.median(one.run.counts.generation_s for one in searches),
        "verification_s": statistics.median(one.run.counts.verification_s for one in searches),
        "loop_ms": statistics.median(one.loop_ms for one in searches),
        "graphs": found[name][0].graphs,
    }


def _verifier_columns(one: Search, block_size: int) -> Row:
    """The verifier's computed tokens for each new one, and how many a perfect cache may need.

    A cache of whole blocks forces up to one block a request.
    """
    counts, num_new = one.measured.run.counts, max(1, one.num_new_verifier_tokens)
    forced = block_size * counts.num_verifications
    return {
        "verifier_computed_ratio": counts.verifier_computed_tokens / num_new,
        "verifier_allowed_ratio": (1.05 * num_new + forced) / num_new,
        "verifier_requests": counts.num_verifications,
    }


def _goodput_ratio(searches: Sequence[Measurement], others: Sequence[Measurement]) -> float:
    """Median over repetitions of returned tokens per second against another arm's."""
    return statistics.median(
        (one.num_returned_tokens / one.seconds) / (other.num_returned_tokens / other.seconds)
        for one, other in zip(searches, others, strict=True)
    )
