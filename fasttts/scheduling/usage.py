"""Cost of a search and of an engine so far, counted where it arises."""

import collections
import heapq
import itertools
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fasttts.interfaces import MemoryPressure
from fasttts.scheduling.score_counts import ScoreCounts
from fasttts.tree import Node, SearchTree


@dataclass(slots=True, kw_only=True)
class Counts:
    """The raw counts of one run.

    Attributes:
        generated_tokens: As in `fasttts.types.Usage`.
        requested_tokens: Prompt tokens of all generator requests that had a token.
        cached_tokens: Those of them that the prefix cache supplied.
        verifier_computed_tokens: As in `fasttts.types.Usage`.
        verifier_cached_tokens: As in `fasttts.types.Usage`.
        num_verifications: As in `fasttts.types.Usage`.
        drafted_tokens: As in `fasttts.types.Usage`.
        kept_draft_tokens: As in `fasttts.types.Usage`.
        scores: What its scores told apart.
        num_preemptions: As in `fasttts.types.Usage`.
        peak_kv_cache_usage: As in `fasttts.types.Usage`.
        generation_s: As in `fasttts.types.Timings`.
        verification_s: As in `fasttts.types.Timings`.
        num_required: Required sequences, one number for each iteration.
        num_speculative: Speculative sequences, one number for each iteration.
        first_token_s: Seconds from its submission to the end of the iteration that gave its first
            token; None before.
    """

    generated_tokens: int = 0
    requested_tokens: int = 0
    cached_tokens: int = 0
    verifier_computed_tokens: int = 0
    verifier_cached_tokens: int = 0
    num_verifications: int = 0
    drafted_tokens: int = 0
    kept_draft_tokens: int = 0
    scores: ScoreCounts = field(default_factory=ScoreCounts)
    num_preemptions: int = 0
    peak_kv_cache_usage: float = 0.0
    generation_s: float = 0.0
    verification_s: float = 0.0
    num_required: list[int] = field(default_factory=list)
    num_speculative: list[int] = field(default_factory=list)
    first_token_s: float | None = None

    @property
    def num_iterations(self) -> int:
        """Generator iterations in which the run had a sequence."""
        return len(self.num_required)

    def drafted(self, num_drafted: int, num_kept: int) -> None:
        """Adds a pass with drafts.

        Args:
            num_drafted: Drafted tokens that it computed.
            num_kept: Those of them that are among its tokens.
        """
        self.drafted_tokens += num_drafted
        self.kept_draft_tokens += num_kept

    def iterated(
        self, seconds: float, num_required: int, num_speculative: int, gauge: "PressureGauge"
    ) -> None:
        """Adds an iteration.

        Args:
            seconds: Time of the iteration.
            num_required: The run's required sequences in it.
            num_speculative: Its speculative ones.
            gauge: The generator's report after it.
        """
        self.generation_s += seconds
        self.num_required.append(num_required)
        self.num_speculative.append(num_speculative)
        self.num_preemptions += gauge.num_new_preemptions
        self.peak_kv_cache_usage = max(self.peak_kv_cache_usage, gauge.usage)


def token_counts(counts: Counts, tree: SearchTree) -> dict[str, Any]:
    """Counts the tokens of one run, by the names of `fasttts.types.Usage`.

    Args:
        counts: The counts of the run.
        tree: Its tree.
    """
    recomputed = counts.requested_tokens - counts.cached_tokens - tree.num_start_tokens
    return {
        "generated_tokens": counts.generated_tokens,
        "required_tokens": sum(len(node.token_ids) for node in tree),
        "speculated_tokens": sum(node.num_speculated_tokens for node in tree),
        "recomputed_tokens": max(0, recomputed),
        "verifier_computed_tokens": counts.verifier_computed_tokens,
        "verifier_cached_tokens": counts.verifier_cached_tokens,
        "num_verifications": counts.num_verifications,
        "drafted_tokens": counts.drafted_tokens,
        "kept_draft_tokens": counts.kept_draft_tokens,
        **asdict(counts.scores),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineUsage:
    """Cost of all searches of one engine together.

    Sampled tokens, iterations and seconds count at once, everything else from the end of a search
    on, in whatever way it ended.

    Attributes:
        num_searches: Searches and plain decodings that ended.
        num_iterations: Iterations of the generator.
        required_sequences: Sequences that some decision waited for, summed over the iterations.
        speculative_sequences: Speculative sequences, summed over the iterations.
        generated_tokens: Tokens sampled.
        required_tokens: Tokens of the trees.
        wasted_tokens: Tokens that became part of no tree.
        speculated_tokens: Tokens of the trees that were generated before a decision asked for them.
        recomputed_tokens: Prompt tokens computed again; see `fasttts.types.Usage`.
        verifier_computed_tokens: Tokens the verifier ran through its model.
        verifier_cached_tokens: Verifier prompt tokens that its prefix cache supplied.
        num_verifications: Requests made to the verifier.
        drafted_tokens: Drafted tokens that the generator computed, kept or not.
        kept_draft_tokens: Those of them that were kept; the others were wasted.
        num_nan_scores: Scores that were not a number and counted as 0.
        num_compared_scores: Scores of different texts that were compared with each other.
        num_tied_scores: Those of them that another text had as well.
        num_compared_rounds: Decisions and rankings between different texts.
        num_flat_rounds: Those of them in which all texts had one score.
        num_preemptions: Times a sequence lost its KV blocks.
        peak_kv_cache_usage: Largest share of the generator's KV cache in use, 0 to 1.
        generation_s: Seconds in the generator.
        verification_s: Seconds in which the verifier blocked the loop.
    """

    num_searches: int = 0
    num_iterations: int = 0
    required_sequences: int = 0
    speculative_sequences: int = 0
    generated_tokens: int = 0
    required_tokens: int = 0
    wasted_tokens: int = 0
    speculated_tokens: int = 0
    recomputed_tokens: int = 0
    verifier_computed_tokens: int = 0
    verifier_cached_tokens: int = 0
    num_verifications: int = 0
    drafted_tokens: int = 0
    kept_draft_tokens: int = 0
    num_nan_scores: int = 0
    num_compared_scores: int = 0
    num_tied_scores: int = 0
    num_compared_rounds: int = 0
    num_flat_rounds: int = 0
    num_preemptions: int = 0
    peak_kv_cache_usage: float = 0.0
    generation_s: float = 0.0
    verification_s: float = 0.0

    @property
    def mean_sequences(self) -> float:
        """Mean number of slots in use in an iteration."""
        total = self.required_sequences + self.speculative_sequences
        return total / self.num_iterations if self.num_iterations else 0.0


class Account:
    """The totals of one engine: written by the loop's thread, read by any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals: dict[str, Any] = collections.defaultdict(int)
        self._peak = 0.0

    def iterated(
        self, seconds: float, sequences: Iterable[tuple[int, int]], gauge: "PressureGauge"
    ) -> None:
        """Adds an iteration.

        Args:
            seconds: Time of the iteration.
            sequences: Required and speculative sequences of each search.
            gauge: The generator's report after it.
        """
        required, speculative = map(sum, zip(*sequences, strict=True))
        with self._lock:
            self._peak = max(self._peak, gauge.usage)
            self._add(
                num_iterations=1,
                required_sequences=required,
                speculative_sequences=speculative,
                num_preemptions=gauge.num_new_preemptions,
                generation_s=seconds,
            )

    def verified(self, seconds: float) -> None:
        """Adds seconds in which the verifier blocked the loop."""
        with self._lock:
            self._add(verification_s=seconds)

    def sampled(self, num_tokens: int) -> None:
        """Adds tokens of the generator."""
        with self._lock:
            self._add(generated_tokens=num_tokens)

    def ended(self, counts: Counts, tree: SearchTree) -> None:
        """Adds the token counts of an ended search.

        Args:
            counts: The counts of the run.
            tree: Its tree.
        """
        tokens = token_counts(counts, tree)
        num_sampled = tokens.pop("generated_tokens")
        wasted_tokens = num_sampled - tokens["required_tokens"]
        with self._lock:
            self._add(num_searches=1, wasted_tokens=wasted_tokens, **tokens)

    def snapshot(self) -> EngineUsage:
        """The totals so far."""
        with self._lock:
            return EngineUsage(peak_kv_cache_usage=self._peak, **self._totals)

    def _add(self, **amounts: float) -> None:
        for name, amount in amounts.items():
            self._totals[name] += amount


class PressureGauge:
    """Stores the generator's last memory report, to count new preemptions."""

    def __init__(self) -> None:
        self.usage = 0.0
        self.num_new_preemptions = 0
        self._num_preemptions = 0

    def read(self, pressure: MemoryPressure) -> None:
        """Stores the report of one iteration."""
        self.usage = pressure.kv_cache_usage
        self.num_new_preemptions = pressure.num_preemptions - self._num_preemptions
        self._num_preemptions = pressure.num_preemptions

    def is_short(self, threshold: float) -> bool:
        """Whether memory is short: usage above `threshold`, or a sequence was preempted."""
        return self.usage > threshold or self.num_new_preemptions > 0


def plain_occupancy(nodes: Iterable[Node], num_slots: int) -> tuple[int, ...]:
    """Sequences in each iteration, had the plain loop searched the same tree alone.

    The plain loop decodes a round of all groups in the slots it has and waits for the last step
    before the next round begins; since every schedule finds the same tree, its iterations need not
    be run to be counted.

    Args:
        nodes: The nodes of the tree.
        num_slots: Sequences that may run together.
    """
    rounds: dict[int, list[Node]] = collections.defaultdict(list)
    for node in nodes:
        rounds[node.round].append(node)
    occupancy: list[int] = []
    for number in sorted(rounds):
        ordered = sorted(rounds[number], key=lambda node: (node.path[-1], node.path))
        occupancy += _one_round([len(node.token_ids) for node in ordered], num_slots)
    return tuple(occupancy)


def _one_round(lengths: Sequence[int], num_slots: int) -> list[int]:
    """Sequences in each iteration while steps of these lengths run, started in order."""
    free_at = [0] * num_slots
    changes: dict[int, int] = collections.Counter()
    for length in lengths:
        start = heapq.heappop(free_at)
        heapq.heappush(free_at, start + length)
        changes[start] += 1
        changes[start + length] -= 1
    last = max(free_at)
    return list(itertools.accumulate(changes[iteration] for iteration in range(last)))
