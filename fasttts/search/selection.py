"""The choice among ended candidates."""

from collections.abc import Sequence

from fasttts.config import Selection
from fasttts.search.answers import group_equal
from fasttts.types import Candidate


def rank(candidates: Sequence[Candidate], selection: Selection) -> list[Candidate]:
    """All candidates, best first.

    Complete ones come before those that hit a cap. "best" orders by score; "majority" by how many
    candidates share the answer; "weighted" by the sum of their scores (weighted best-of-N). Ties
    go to the higher score, then to the smaller path.
    """
    complete = [c for c in candidates if c.is_complete]
    votes = _votes(complete, selection)

    def key(candidate: Candidate) -> tuple[bool, float, float, tuple[int, ...]]:
        vote = votes.get(candidate.path, 0.0)
        return (not candidate.is_complete, -vote, -(candidate.score or 0.0), candidate.path)

    return sorted(candidates, key=key)


def _votes(candidates: Sequence[Candidate], selection: Selection) -> dict[tuple[int, ...], float]:
    """Each candidate's share of the vote; its own score alone decides under "best"."""
    if selection == "best":
        return {}
    votes: dict[tuple[int, ...], float] = {}
    for group in group_equal([c.answer for c in candidates]):
        members = [candidates[index] for index in group]
        weights = [1.0 if selection == "majority" else c.score or 0.0 for c in members]
        votes.update(dict.fromkeys((c.path for c in members), round(sum(weights), 4)))
    return votes
