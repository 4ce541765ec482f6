"""When the iterations and the verifier batches of one search ran; kept for traces alone.

Nothing of it is read by a decision. A search that is not traced step by step has none.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierBatch:
    """A search's part of a batch that the verifier scored, or failed to.

    Attributes:
        began_at: When the batch began, in the loop's seconds.
        ended_at: When it ended.
        num_searches: Searches that shared it.
        num_requests: Requests of this search in it.
        num_steps: Steps that they asked scores for.
        num_computed_tokens: Tokens that the verifier computed for them.
        num_cached_tokens: Tokens that its prefix cache supplied.
        error: Why there are no scores; None where there are.
    """

    began_at: float
    ended_at: float
    num_searches: int
    num_requests: int
    num_steps: int
    num_computed_tokens: int
    num_cached_tokens: int
    error: BaseException | None


@dataclass(slots=True)
class Timeline:
    """The times of one search, in the loop's seconds.

    Attributes:
        iterations: Begin and end of each iteration in which the search had a sequence; indices are
            those of `Node.ran`.
        batches: Its parts of the verifier's batches, in the order in which they ended.
    """

    iterations: list[tuple[float, float]] = field(default_factory=list)
    batches: list[VerifierBatch] = field(default_factory=list)
