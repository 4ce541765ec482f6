"""What is told while a search runs."""

from dataclasses import dataclass

from fasttts.types.results import SearchResult, Usage
from fasttts.types.values import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta:
    """New text of a plain decoding; the deltas joined are the result's text."""

    text: str


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
class PrefixDelta:
    """Text that every possible answer of a search begins with, after what was told before.

    Joined, the deltas are a prefix of the result's text at any time, and at the end all of it.
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
    | PrefixDelta
    | Progress
    | AnswerChosen
    | UsageReported
    | Finished
)
