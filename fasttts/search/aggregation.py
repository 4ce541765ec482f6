"""Aggregation: of step scores to the score of a path, and of candidates to the order of answers.

Step-wise (names of Snell et al. 2024, arXiv 2408.03314, section 5.1 and appendix E): `last`, `min`
and `prod` are compared there and by Lightman et al. 2023 (arXiv 2305.20050). With `model` the
verifier reads the whole path as one step (`scheduling/verifier_batching.py`), as reward_hub does,
which its_hub uses; each step then carries the score of the path up to its end, and the last one
counts.

Inter-answer: majority is self-consistency (Wang et al. 2022, arXiv 2203.11171); the weighted
majority sums the verifier's scores of equal answers (weighted best-of-N: Li et al. 2022, arXiv
2206.02336). Answers that are announced as such have a vote. The last number of a text that
announces none is a guess: it has one only while no text announces an answer.
"""

import collections
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fasttts.answers.equality import group_equal
from fasttts.config import Aggregation, Selection
from fasttts.tree import Beam
from fasttts.types import Candidate, Path, Vote

SCORE_GRID = 10_000
"""Every score is a multiple of 1 / SCORE_GRID before a decision uses it."""

_RULES: dict[Aggregation, Callable[[Sequence[float]], float]] = {
    "last": lambda scores_S: scores_S[-1],
    "min": min,
    "prod": math.prod,
    "mean": lambda scores_S: sum(scores_S) / len(scores_S),
    "model": lambda scores_S: scores_S[-1],
}

_REMEDY = (
    "ask for a \\boxed{} answer, as the system preset 'math' does (--system preset:math), or set "
    "the option answer (--answer)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The order of candidates, and the votes behind it.

    Attributes:
        candidates: All of them, best first.
        votes: The answers that were counted, the one with the most votes first; None where nothing
            was voted on, as with a single candidate.
        is_guessed: Whether only last numbers were counted, as no candidate announced an answer.
    """

    candidates: tuple[Candidate, ...]
    votes: tuple[Vote, ...] | None
    is_guessed: bool

    @property
    def is_undecided(self) -> bool:
        """Whether there was a vote without a single answer: scores and paths decided."""
        return self.votes == ()

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


def on_grid(score: float) -> float:
    """Rounds a score to 1e-4, so that differences by the shape of a batch do not decide."""
    return round(score * SCORE_GRID) / SCORE_GRID


def aggregate(scores_S: Sequence[float], rule: Aggregation) -> float:
    """Computes one score for a path, on the grid; 0 for a path without steps.

    Args:
        scores_S: Scores of its steps, in order.
        rule: How they are combined.
    """
    return on_grid(_RULES[rule](scores_S)) if scores_S else 0.0


def best_aggregate(scores_S: Sequence[float], rule: Aggregation, num_steps: int = 1) -> float:
    """Computes the highest score a path can have after further steps, on the grid.

    Args:
        scores_S: Scores of its steps so far, in order.
        rule: How they are combined; a mean rises with each step of the best score.
        num_steps: Further steps, at least 1.
    """
    return aggregate([*scores_S, *[1.0] * num_steps], rule)


def count_votes(beams: Iterable[Beam]) -> tuple[collections.Counter[str], bool]:
    """Votes by answer while a search runs, and whether they are for announced answers."""
    answers = [(beam.answer, beam.is_announced) for beam in beams if beam.answer is not None]
    announced = collections.Counter(answer for answer, is_announced in answers if is_announced)
    if announced:
        return announced, True
    return collections.Counter(answer for answer, _ in answers), False


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
    voters = sorted(voting(candidates), key=lambda c: c.path)
    is_vote = selection != "best" and len(candidates) > 1
    votes = _votes(voters, selection) if is_vote else ()
    weights = {path: vote.weight for vote in votes for path in vote.paths}

    def key(candidate: Candidate) -> tuple[bool, bool, float, float, Path]:
        vote = weights.get(candidate.path, 0.0)
        is_cut_off = candidate.finish_reason != "stop"
        return (candidate.is_malformed, is_cut_off, -vote, *_by_score(candidate))

    return Ranking(
        candidates=tuple(sorted(candidates, key=key)),
        votes=votes if is_vote else None,
        is_guessed=bool(votes) and not any(c.is_announced for c in voters),
    )


def voting(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that vote: complete ones with an answer; where any announces one, only such.

    Args:
        candidates: All ended candidates of a search.
    """
    readable = (c for c in candidates if c.finish_reason == "stop" and not c.is_malformed)
    answered = [c for c in readable if c.answer]
    return [c for c in answered if c.is_announced] or answered


def _votes(voters: Sequence[Candidate], selection: Selection) -> tuple[Vote, ...]:
    """The voters' answers, most votes first; ties go as between candidates."""
    votes = []
    for group in group_equal([c.answer for c in voters]):
        members = sorted((voters[index] for index in group), key=_by_score)
        weights = [1.0 if selection == "majority" else c.score or 0.0 for c in members]
        vote = Vote(
            answer=members[0].answer or "",
            weight=round(math.fsum(weights), 4),
            paths=tuple(c.path for c in members),
        )
        votes.append((-vote.weight, _by_score(members[0]), vote))
    return tuple(vote for *_, vote in sorted(votes, key=lambda each: each[:2]))


def _by_score(candidate: Candidate) -> tuple[float, Path]:
    return (-(candidate.score or 0.0), candidate.path)
