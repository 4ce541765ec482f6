"""Grades outcomes of searches: right, wrong, cut, without an answer, or an error."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from fasttts.answers.equality import Ballot, answer_ballots, answers_equal, group_ballots
from fasttts.answers.extraction import Extractor
from fasttts.config import SearchConfig
from fasttts.errors import FastTTSError
from fasttts.evaluation.problems import Problem
from fasttts.search.aggregation import voting
from fasttts.types import Candidate, FinishReason, Path, SearchResult

ProblemOutcome = SearchResult | FastTTSError
"""An item that `search_many` returns for a problem; an error is a wrong answer."""

Verdict = Literal["right", "wrong", "no answer", "cut", "error"]
"""The kinds of outcomes: a right or a wrong answer, a text without one, a text that hit a cap
before it announced a right one, or no result at all."""


class AnswerGroups(list[Sequence[int]]):
    """Groups of candidates, where the group of one depends on which others vote.

    Args:
        groups: The groups if all of them vote.
        ballots: What each candidate may vote for; empty without a vote.
    """

    def __init__(self, groups: Iterable[Sequence[int]], ballots: Sequence[Ballot]) -> None:
        super().__init__(groups)
        self.ballots = ballots


class Judge(Protocol):
    """Tells right answers from wrong ones, and which are equal; to build on: `AnswerJudge`."""

    @property
    def name(self) -> str:
        """A name; judges that decide differently have different ones."""
        ...

    def extractor(self, problem: Problem, config: SearchConfig) -> Extractor | None:
        """What finds the answers that a search on the problem votes with.

        Args:
            problem: The problem.
            config: The search.

        Returns:
            None where the search's option `answer` says it.
        """
        ...

    def answers(self, problem: Problem, candidates: Sequence[Candidate]) -> Sequence[str | None]:
        """The answers that stand in candidates; None where one has none, which is wrong.

        Args:
            problem: The problem.
            candidates: The candidates of one search.
        """
        ...

    def right(self, problem: Problem, candidates: Sequence[Candidate]) -> Sequence[bool]:
        """Decides which candidates are right.

        Args:
            problem: The problem.
            candidates: As for `answers`.
        """
        ...

    def groups(self, problem: Problem, candidates: Sequence[Candidate]) -> Sequence[Sequence[int]]:
        """Indices of candidates that vote for the same, together; those without a vote left out.

        Args:
            problem: The problem.
            candidates: As for `answers`.

        Returns:
            Groups that stay the same where some of the candidates are left out, or `AnswerGroups`.
        """
        ...


class AnswerJudge:
    """Compares answers with the known one, by value."""

    @property
    def name(self) -> str:
        """The rule's name."""
        return "equality"

    def extractor(self, problem: Problem, config: SearchConfig) -> Extractor | None:
        """None: the option `answer` says where answers stand."""
        return None

    def answers(self, problem: Problem, candidates: Sequence[Candidate]) -> Sequence[str | None]:
        """The candidates' own."""
        return [candidate.answer for candidate in candidates]

    def right(self, problem: Problem, candidates: Sequence[Candidate]) -> Sequence[bool]:
        """Those that equal the known answer."""
        return [answers_equal(candidate.answer, problem.answer) for candidate in candidates]

    def groups(self, problem: Problem, candidates: Sequence[Candidate]) -> Sequence[Sequence[int]]:
        """Equal answers; those that vote in the search are read as they are there."""
        voters = {candidate.answer for candidate in voting(candidates)}
        ballots = answer_ballots([candidate.answer for candidate in candidates], first=voters)
        return AnswerGroups(group_ballots(ballots), ballots)


@dataclass(frozen=True, slots=True, kw_only=True)
class GradedCandidate:
    """A candidate of a search, graded.

    Attributes:
        path: Position in the tree.
        text: Its text.
        answer: Its answer, or its program; None where there is none.
        is_right: Whether its answer is right; a text that was cut has to announce it.
        group: Number of the group of equal answers, among all candidates; None without an answer.
        score: Its score; None without a verifier.
        finish_reason: "length" where it hit a cap.
        is_announced: As in `Candidate`.
        is_malformed: As in `Candidate`.
        num_tokens: Tokens of the text.
        ballot: What it may vote for: the number of its own value, then those of the undecorated
            values that it equals too, the likelier first. Empty where it votes with its group,
            whichever candidates vote.
    """

    path: Path
    text: str
    answer: str | None
    is_right: bool
    group: int | None
    score: float | None
    finish_reason: FinishReason
    is_announced: bool
    is_malformed: bool
    num_tokens: int
    ballot: Ballot = ()

    @property
    def is_complete(self) -> bool:
        """Whether the model ended it by itself."""
        return self.finish_reason == "stop"


def is_correct(outcome: ProblemOutcome, answer: int | str) -> bool:
    """Whether an outcome's answer equals the known one; no answer is wrong.

    Args:
        outcome: A result, or the error of the search, which is wrong.
        answer: The known answer.
    """
    problem = Problem(id="", text="", answer=str(answer))
    return verdict_of(outcome, grade(problem, outcome, AnswerJudge())) == "right"


def grade(problem: Problem, outcome: ProblemOutcome, judge: Judge) -> tuple[GradedCandidate, ...]:
    """Grades every candidate of an outcome, in its order, which is best first.

    Args:
        problem: The problem.
        outcome: What its search ended with; an error has no candidates.
        judge: Decides what is right.
    """
    if not isinstance(outcome, SearchResult):
        return ()
    candidates = outcome.candidates
    found = judge.groups(problem, candidates)
    groups = {index: number for number, group in enumerate(found) for index in group}
    ballots = found.ballots if isinstance(found, AnswerGroups) else [()] * len(candidates)
    right = right_candidates(problem, candidates, judge)
    answers = judge.answers(problem, candidates)
    return tuple(
        _graded(candidate, answers[index], right[index], groups.get(index), ballots[index])
        for index, candidate in enumerate(candidates)
    )


def right_candidates(
    problem: Problem, candidates: Sequence[Candidate], judge: Judge
) -> tuple[bool, ...]:
    """Decides which candidates solve a problem; a text that was cut has to announce its answer.

    Args:
        problem: The problem.
        candidates: Candidates of one search.
        judge: Decides about answers.
    """
    verdicts = zip(candidates, judge.right(problem, candidates), strict=True)
    return tuple(
        is_right and (candidate.is_complete or candidate.is_announced)
        for candidate, is_right in verdicts
    )


def _graded(
    candidate: Candidate, answer: str | None, is_right: bool, group: int | None, ballot: Ballot
) -> GradedCandidate:
    return GradedCandidate(
        path=candidate.path,
        text=candidate.text,
        answer=answer,
        is_right=is_right,
        group=group,
        score=candidate.score,
        finish_reason=candidate.finish_reason,
        is_announced=candidate.is_announced,
        is_malformed=candidate.is_malformed,
        num_tokens=candidate.num_tokens,
        ballot=ballot,
    )


def verdict_of(outcome: ProblemOutcome, candidates: Sequence[GradedCandidate]) -> Verdict:
    """Classifies an outcome by its chosen candidate, which is the first.

    Args:
        outcome: A result or an error.
        candidates: Its graded candidates.
    """
    return verdict_of_chosen(candidates) if isinstance(outcome, SearchResult) else "error"


def verdict_of_chosen(candidates: Sequence[GradedCandidate]) -> Verdict:
    """Classifies the first of graded candidates; none at all are an error."""
    if not candidates:
        return "error"
    chosen = candidates[0]
    if chosen.is_right:
        return "right"
    if not chosen.is_complete:
        return "cut"
    return "wrong" if chosen.answer else "no answer"
