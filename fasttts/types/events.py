"""Events of a running search or decoding."""

from dataclasses import dataclass

from fasttts.types.results import SearchResult, TokenLogprob, Usage
from fasttts.types.values import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta:
    """New text of a plain decoding.

    Attributes:
        text: Follows the text of the deltas before; all of them joined are the result's text.
        logprobs: The tokens of `text` with their log-probabilities; empty unless the option
            `num_logprobs` asks for them.
    """

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchStarted:
    """A search was handed to the engine.

    Attributes:
        num_beams: Root candidates to start with.
    """

    num_beams: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished:
    """A node of the tree ended.

    Attributes:
        path: Position in the tree.
        text: The node's own text.
    """

    path: Path
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepScored:
    """A path was scored.

    Attributes:
        path: Position in the tree.
        score: Aggregated score of the path, on the grid of 1e-4.
    """

    path: Path
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """Beams that are not continued.

    Attributes:
        paths: Their positions in the tree.
    """

    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixDelta:
    """Growth of the prefix that every possible answer of the search shares.

    Joined, the deltas are a prefix of the result's text at any time, and all of it at the end.

    Attributes:
        text: Follows the text of the deltas before.
    """

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The state of a running search: after every decision, and when it sampled 256 more tokens.

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
class AnswerChosen:
    """The winning candidate.

    Attributes:
        text: Its whole text.
        answer: The answer extracted from it; None where there is none.
        score: Its aggregated score; None without a verifier.
    """

    text: str
    answer: str | None
    score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReported:
    """Token and node counts of the ended search.

    Attributes:
        usage: The counts, as in the result.
    """

    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The last event of every stream.

    Attributes:
        result: The result of the search or the decoding.
    """

    result: SearchResult


Event = (
    TextDelta
    | SearchStarted
    | StepFinished
    | StepScored
    | Pruned
    | PrefixDelta
    | Progress
    | AnswerChosen
    | UsageReported
    | Finished
)
