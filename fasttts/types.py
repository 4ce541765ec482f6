"""The values that travel between the parts of FastTTS.

Axis suffixes of nested sequences: `_B` beams or batch rows, `_S` steps of one path, `_T` tokens,
`_V` vocabulary. Counts are `num_*`; units stand in the name (`_s`, `_tokens`, `_bytes`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import TypeAdapter

Path = tuple[int, ...]
"""Child indices from the root: `(2,)` is root candidate 2, `(2, 0)` its first child."""

Message = Mapping[str, Any]
"""One chat message in OpenAI's form: `role`, `content`, and where they apply `tool_calls`,
`tool_call_id`, `name`."""

FinishReason = Literal["stop", "step", "length"]
"""Why a node ended: the model (or a stop string) ended the answer, a step was complete, or a cap
on tokens, depth or context was reached."""


StopReason = Literal["complete", "seconds", "tokens", "verifier_calls", "refused", "cancelled"]
"""Why a search ended: by its own rule, because that part of its budget was spent, because it could
not have met its deadline, or because its caller stopped it."""


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
class Step:
    """One reasoning step of a candidate, as the verifier read it.

    `score` lies on the grid of 1e-4; it is None when no verifier ran.
    """

    text: str
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
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
    """

    path: Path
    text: str
    steps: tuple[Step, ...]
    score: float | None
    answer: str | None
    finish_reason: FinishReason
    num_tokens: int
    is_malformed: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether the model ended this candidate by itself."""
        return self.finish_reason == "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a search cost, in tokens and counts.

    Attributes:
        prompt_tokens: Tokens of the rendered prompt, counted once.
        generated_tokens: Tokens the generator sampled for this search, on every beam.
        needed_tokens: Those of the tree: what every schedule has to generate.
        speculated_tokens: Those of the tree that were generated before a decision asked for them;
            what speculation wasted is `generated_tokens - needed_tokens`.
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
    """

    prompt_tokens: int = 0
    generated_tokens: int = 0
    needed_tokens: int = 0
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether an engine can work.

    Attributes:
        is_healthy: Whether calls are accepted.
        reason: What happened and what helps; None where the engine is healthy.
    """

    is_healthy: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy:
    """Sequences of one search in the generator's batch, one number for each iteration.

    Attributes:
        needed: Sequences that some decision waited for.
        speculative: Sequences that ran ahead.
        plain: Sequences that the plain loop (decode all, score all, decide) would have run for the
            same tree, alone and with the same slots.
    """

    needed: tuple[int, ...] = ()
    speculative: tuple[int, ...] = ()
    plain: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Wall-clock seconds of a search, from admission to the chosen answer.

    `generation_s` and `verification_s` are the engine steps in which this search took part; steps
    shared with other searches count in full for each of them.
    """

    total_s: float = 0.0
    generation_s: float = 0.0
    verification_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
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

    def to_json(self, *, indent: int | None = None) -> str:
        """The result as one JSON document; `from_json` reads it back."""
        return _RESULT.dump_json(self, indent=indent).decode()

    @classmethod
    def from_json(cls, document: str | bytes) -> Self:
        """The result that `to_json` wrote.

        Raises:
            pydantic.ValidationError: The document is not one of ours.
        """
        result = _RESULT.validate_json(document)
        assert isinstance(result, cls)
        return result


_RESULT: TypeAdapter[SearchResult] = TypeAdapter(SearchResult)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool call found in generated text; `arguments` is a JSON object as text."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedOutput:
    """Generated text separated into what is said and what is called."""

    content: str
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta:
    """New text of a plain decoding; the deltas joined are the result's text."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The state of a running search after something was decided.

    Attributes:
        depth: Steps committed so far.
        num_beams: Beams alive.
        num_finished: Candidates that ended.
        best_text: Text of the best scored path so far.
        best_score: Its aggregated score; None before the first verification.
        generated_tokens: Tokens sampled so far.
        elapsed_s: Seconds since admission.
    """

    depth: int
    num_beams: int
    num_finished: int
    best_text: str
    best_score: float | None
    generated_tokens: int
    elapsed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchStarted:
    """A search was handed to the engine."""

    num_beams: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished:
    """A node of the tree ended; `text` is its own."""

    path: Path
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepScored:
    """A path has its aggregated score."""

    path: Path
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """Beams that are not continued."""

    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkDelta:
    """Text that every possible answer of a search begins with, after what was told before.

    Joined, the deltas are a prefix of the result's text at any time, and at the end all of it.
    """

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerChosen:
    """The candidate that won."""

    text: str
    answer: str | None
    score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReported:
    """What the search cost."""

    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The last event of every stream."""

    result: SearchResult


Event = (
    TextDelta
    | SearchStarted
    | StepFinished
    | StepScored
    | Pruned
    | TrunkDelta
    | Progress
    | AnswerChosen
    | UsageReported
    | Finished
)
