"""Selection among ended candidates.

Majority is self-consistency (Wang et al. 2022, arXiv 2203.11171); the weighted majority sums the
verifier's scores of equal answers (weighted best-of-N: Li et al. 2022, arXiv 2206.02336; Snell et
al. 2024, arXiv 2408.03314, section 5.1).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fasttts.answers.equality import group_equal
from fasttts.config import Selection
from fasttts.types import Candidate, Path

_REMEDY = (
    "ask for a \\boxed{} answer, as the system preset 'math' does (--system preset:math), or set "
    "the option answer (--answer)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The order of candidates, and the votes behind it.

    Attributes:
        candidates: All of them, best first.
        num_votes: Candidates whose answers were counted; None where nothing was voted on.
        is_guessed: Whether only last numbers were counted, as no candidate announced an answer.
    """

    candidates: tuple[Candidate, ...]
    num_votes: int | None
    is_guessed: bool

    @property
    def is_undecided(self) -> bool:
        """Whether there was a vote without a single answer: scores and paths decided."""
        return self.num_votes == 0

    @property
    def warning(self) -> str | None:
        """A warning about the vote; None where nothing is wrong with it."""
        if self.is_undecided:
            return (
                f"none of {len(self.candidates)} candidates has an answer to vote for: the first "
                f"by score and path was taken; {_REMEDY}"
            )
        if self.is_guessed:
            return (
                f"none of {len(self.candidates)} candidates announces an answer: the last numbers "
                f"of their texts were counted; {_REMEDY}"
            )
        return None


def rank(candidates: Sequence[Candidate], selection: Selection) -> list[Candidate]:
    """Sorts candidates, best first; the order of the input makes no difference.

    Complete ones come before those that hit a cap, and those before malformed ones.

    Args:
        candidates: All ended candidates of a search.
        selection: "best" orders by score; "majority" by how many candidates share the answer;
            "weighted" by the sum of their scores. Ties go to the higher score, then to the smaller
            path.
    """
    return list(make_ranking(candidates, selection).candidates)


def make_ranking(candidates: Sequence[Candidate], selection: Selection) -> Ranking:
    """The order that `rank` gives, and whether any answer was counted for it.

    Args:
        candidates: As for `rank`.
        selection: As for `rank`.
    """
    readable = (c for c in candidates if c.is_complete and not c.is_malformed)
    voters = _voters(sorted(readable, key=lambda c: c.path))
    is_vote = selection != "best"
    votes = _votes(voters, selection) if is_vote else {}

    def key(candidate: Candidate) -> tuple[bool, bool, float, float, Path]:
        vote = votes.get(candidate.path, 0.0)
        is_cut_off = not candidate.is_complete
        order = (-vote, -(candidate.score or 0.0), candidate.path)
        return (candidate.is_malformed, is_cut_off, *order)

    return Ranking(
        candidates=tuple(sorted(candidates, key=key)),
        num_votes=len(votes) if is_vote else None,
        is_guessed=bool(votes) and not any(c.is_announced for c in voters),
    )


def _voters(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those with an answer: where any is announced, those that announce one."""
    answered = [c for c in candidates if c.answer]
    return [c for c in answered if c.is_announced] or answered


def _votes(voters: Sequence[Candidate], selection: Selection) -> dict[Path, float]:
    """The vote for each voter's answer."""
    votes: dict[Path, float] = {}
    for group in group_equal([c.answer for c in voters]):
        members = [voters[index] for index in group]
        weights = [1.0 if selection == "majority" else c.score or 0.0 for c in members]
        votes.update(dict.fromkeys((c.path for c in members), round(math.fsum(weights), 4)))
    return votes
