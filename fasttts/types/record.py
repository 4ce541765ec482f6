"""The record of a search: every node, and when it decoded, was scored and was decided about."""

from dataclasses import dataclass
from typing import Literal

from fasttts.types.values import FinishReason, Path

RESULT_VERSION = 1
"""Version of a result's JSON; raised when a field changes its meaning or goes."""

Fate = Literal["continued", "answer", "pruned", "dominated", "running", "wasted"]
"""What became of a node; see `RecordedNode`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One reasoning step of a candidate, as the verifier read it.

    Attributes:
        text: The step without separators and surrounding white space.
        score: On the grid of 1e-4; None when no verifier ran.
    """

    text: str
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """An answer that candidates voted for.

    Attributes:
        answer: The answer, as the first candidate of the ranking that gives it writes it.
        weight: How many candidates give it, or with `selection="weighted"` the sum of their scores.
        paths: The candidates that give it or an equal one, best first.
    """

    answer: str
    weight: float
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedNode:
    """A node of a search, or a speculative one that became no part of its tree.

    Iterations are those in which the search had a sequence in the generator, counted from 0 as in
    `Occupancy`.

    Attributes:
        path: Position in the tree; a wasted node may have the path of another.
        steps: The node's own text as steps; several where it holds a whole answer.
        score: The path's aggregated score; None where it was not scored.
        fate: "continued": others follow it. "answer": its answer ended, or hit a cap. "pruned": a
            decision did not continue it. "dominated": given up before it was scored, since no score
            could save it. "running": it was still decoding, or waited for a decision. "wasted":
            generated ahead of a decision that did not ask for it, or behind the end of the budget.
        finish_reason: None where it did not end.
        num_tokens: The node's own tokens.
        num_tokens_ahead: Those of them that were generated before a decision asked for the node.
        ran: When it held a slot of the generator: pairs of its first iteration and the one after
            its last. The tokens of an iteration in which a step ends belong in part to the next
            one, whose first iteration follows; it may end by them, and has none.
        decided_at: The iteration before which a decision asked for it; None where none did.
        scored_at: The iteration before which its score arrived; None where none did.
    """

    path: Path
    steps: tuple[Step, ...]
    score: float | None
    fate: Fate
    finish_reason: FinishReason | None
    num_tokens: int
    num_tokens_ahead: int
    ran: tuple[tuple[int, int], ...]
    decided_at: int | None
    scored_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRecord:
    """How a search went, node by node.

    What ran ahead and when depends on the schedule, as `Usage` and `Occupancy` do.

    Attributes:
        problem: The text that was searched.
        num_slots: Sequences that could run together.
        nodes: All nodes in the order of their paths, which is depth first.
    """

    problem: str = ""
    num_slots: int = 0
    nodes: tuple[RecordedNode, ...] = ()
