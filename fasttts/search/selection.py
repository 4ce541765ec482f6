"""Selection among ended candidates.

Majority is self-consistency (Wang et al. 2022, arXiv 2203.11171); the weighted majority sums the
verifier's scores of equal answers (weighted best-of-N: Li et al. 2022, arXiv 2206.02336; Snell et
al. 2024, arXiv 2408.03314, section 5.1).
"""

import math
from collections.abc import Sequence

from fasttts.answers.equality import group_equal
from fasttts.config import Selection
from fasttts.types import Candidate, Path


def rank(candidates: Sequence[Candidate], selection: Selection) -> list[Candidate]:
    """Sorts candidates, best first; the order of the input makes no difference.

    Complete ones come before those that hit a cap, and those before malformed ones.

    Args:
        candidates: All ended candidates of a search.
        selection: "best" orders by score; "majority" by how many candidates share the answer;
            "weighted" by the sum of their scores. Ties go to the higher score, then to the smaller
            path.
    """
    readable = (c for c in candidates if c.is_complete and not c.is_malformed)
    complete = sorted(readable, key=lambda c: c.path)
    votes = _votes(complete, selection)

    def key(candidate: Candidate) -> tuple[bool, bool, float, float, Path]:
        vote = votes.get(candidate.path, 0.0)
        is_cut_off = not candidate.is_complete
        order = (-vote, -(candidate.score or 0.0), candidate.path)
        return (candidate.is_malformed, is_cut_off, *order)

    return sorted(candidates, key=key)


def _votes(candidates: Sequence[Candidate], selection: Selection) -> dict[Path, float]:
    """Each candidate's share of the vote; none under "best", where its own score decides."""
    if selection == "best":
        return {}
    votes: dict[Path, float] = {}
    for group in group_equal([c.answer for c in candidates]):
        members = [candidates[index] for index in group]
        weights = [1.0 if selection == "majority" else c.score or 0.0 for c in members]
        votes.update(dict.fromkeys((c.path for c in members), round(math.fsum(weights), 4)))
    return votes
