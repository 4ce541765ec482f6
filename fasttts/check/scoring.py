"""Scores sampled answers with the verifier, a few at once, until time is up."""

from collections.abc import Iterator, Sequence

from fasttts.check.deadline import Deadline
from fasttts.interfaces import VerificationRequest, Verifier
from fasttts.search.aggregation import on_grid
from fasttts.verifiers.async_scoring import finish, scoring_of

_MOST_AT_ONCE = 32
_SHARE_AT_ONCE = 0.1
"""Share of the time left that one batch may take, judging by those before."""

Scored = tuple[int, tuple[float, ...]]
"""Index of a request, and the score of each of its steps."""


def score_all(
    verifier: Verifier, requests: Sequence[VerificationRequest], deadline: Deadline
) -> Iterator[list[Scored]]:
    """Yields the scores of one batch after the other.

    Args:
        verifier: An idle verifier.
        requests: Answers to score, none of whose steps has a score.
        deadline: When to stop.
    """
    begin_s, done = deadline.elapsed_s, 0
    while done < len(requests):
        size = _batch_size(done, deadline.elapsed_s - begin_s, deadline.left_s)
        if size == 0:
            return
        batch = requests[done : done + size]
        found = finish(scoring_of(verifier, batch))
        yield [
            (done + index, tuple(map(on_grid, verification.scores)))
            for index, verification in enumerate(found)
        ]
        done += len(batch)


def _batch_size(done: int, seconds: float, left_s: float) -> int:
    """One answer at first, then as many as take a small part of the time left; 0 for none."""
    if done == 0 or seconds <= 0.0:
        return int(left_s > 0.0)
    num_fitting = left_s * done / seconds
    if num_fitting < 1.0:
        return 0
    return max(1, min(_MOST_AT_ONCE, int(num_fitting * _SHARE_AT_ONCE)))
