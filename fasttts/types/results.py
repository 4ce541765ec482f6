"""What a search found and what that cost."""

from dataclasses import dataclass
from typing import Any

from fasttts.types.documents import Document
from fasttts.types.values import FinishReason, Path, StopReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One reasoning step of a candidate, as the verifier read it.

    `score` lies on the grid of 1e-4; it is None when no verifier ran.
    """

    text: str
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPrefix:
    """The beginning of an answer that is there before a search; every candidate goes on from it.

    Attributes:
        text: All of it, up to where the next step begins.
        steps: The same as steps; each has a score where the search uses a verifier.
    """

    text: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One complete or cut-off path of the tree.

    Attributes:
        path: Position in the tree.
        text: The whole answer text, separators included.
        steps: The same text as steps with their scores.
        score: `steps` aggregated to one number; None without a verifier.
        answer: What the answer extractor found in `text`, as it is written there.
        finish_reason: "stop" for a complete candidate, "length" for one that hit a cap.
        num_tokens: Tokens of `text`, the end-of-turn token included.
        is_malformed: Whether the extractor could not read what the text should hold, such as a
            tool call; it ranks behind every candidate that can be read.
        is_announced: Whether `text` presents `answer` as its answer. False for the last number of
            a text that presents none, which has a vote only where no candidate announces one.
    """

    path: Path
    text: str
    steps: tuple[Step, ...]
    score: float | None
    answer: str | None
    finish_reason: FinishReason
    num_tokens: int
    is_malformed: bool = False
    is_announced: bool = True

    @property
    def is_complete(self) -> bool:
        """Whether the model ended this candidate by itself."""
        return self.finish_reason == "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeNode:
    """A node of a search that ended without a result.

    Attributes:
        path: Position in the tree.
        text: Its own text, as far as it came.
        score: The path's aggregated score; None where it was not scored.
        finish_reason: None where it was still running.
        num_tokens: Its own tokens.
    """

    path: Path
    text: str
    score: float | None
    finish_reason: FinishReason | None
    num_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a search cost, in tokens and counts.

    Attributes:
        prompt_tokens: Tokens of the rendered prompt, counted once.
        generated_tokens: Tokens the generator sampled for this search, on every beam.
        required_tokens: Those of the tree: what every schedule has to generate.
        speculated_tokens: Those of the tree that were generated before a decision asked for them;
            what speculation wasted is `generated_tokens - required_tokens`.
        returned_tokens: Tokens of the chosen candidate.
        recomputed_tokens: Prompt tokens the generator computed again because a continued path
            was no longer in its prefix cache.
        verifier_computed_tokens: Tokens the verifier ran through its model.
        verifier_cached_tokens: Verifier prompt tokens that its prefix cache supplied.
        num_nodes: Nodes of the tree.
        num_verifications: Requests made to the verifier.
        num_iterations: Generator iterations in which this search had a sequence running.
        num_preemptions: Times a sequence, of any search, lost its KV blocks meanwhile.
        peak_kv_cache_usage: Largest share of the generator's KV cache in use meanwhile, 0 to 1.
        is_cached: Whether the result was read from the result cache; the numbers are what it cost
            when it was computed.
    """

    prompt_tokens: int = 0
    generated_tokens: int = 0
    required_tokens: int = 0
    speculated_tokens: int = 0
    returned_tokens: int = 0
    recomputed_tokens: int = 0
    verifier_computed_tokens: int = 0
    verifier_cached_tokens: int = 0
    num_nodes: int = 0
    num_verifications: int = 0
    num_iterations: int = 0
    num_preemptions: int = 0
    peak_kv_cache_usage: float = 0.0
    is_cached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy:
    """Sequences of one search in the generator's batch, one number for each iteration.

    Attributes:
        required: Sequences that some decision waited for.
        speculative: Sequences that ran ahead.
        plain: Sequences that the plain loop (decode all, score all, decide) would have run for the
            same tree, alone and with the same slots.
    """

    required: tuple[int, ...] = ()
    speculative: tuple[int, ...] = ()
    plain: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Wall-clock seconds of a search, from admission to the chosen answer.

    `generation_s` and `verification_s` are the engine steps in which this search took part; steps
    shared with other searches count in full for each of them. A verifier that works while the
    generator decodes counts only where it was waited for.
    """

    total_s: float = 0.0
    generation_s: float = 0.0
    verification_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult(Document):
    """The outcome of one search or of one plain decoding.

    Attributes:
        text: The chosen candidate's text.
        answer: The chosen candidate's extracted answer.
        score: The chosen candidate's aggregated score.
        finish_reason: The chosen candidate's.
        stop_reason: Why the search ended; "complete" where no budget cut it short.
        candidates: Every ended candidate, best first by the selection rule.
        usage: Token and node counts.
        timings: Seconds by phase.
        occupancy: How the search used the generator's slots.
        seed: The search seed; with the same models and `config` it gives the same result.
        config: The resolved search configuration, every option spelled out.
        generator: Name or path of the generator.
        verifier: Name or path of the verifier; None when none took part.
        plan: The memory plan of the engine as JSON data, which `MemoryPlan.from_dict` reads; None
            where its memory was not planned.
        routing: The decision of a routing policy as JSON data, whose cost is part of `usage`; None
            where none decided.
    """

    text: str
    answer: str | None
    score: float | None
    finish_reason: FinishReason
    candidates: tuple[Candidate, ...]
    usage: Usage
    timings: Timings
    occupancy: Occupancy = Occupancy()
    seed: int
    config: dict[str, Any]
    generator: str
    verifier: str | None
    plan: dict[str, Any] | None = None
    stop_reason: StopReason = "complete"
    routing: dict[str, Any] | None = None
