"""The record of one problem under one method: a line of an evaluation's file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fasttts.evaluation.grading import (
    GradedCandidate,
    Judge,
    ProblemOutcome,
    Verdict,
    grade,
    verdict_of,
)
from fasttts.evaluation.problems import Problem
from fasttts.types import SearchResult, StopReason, Usage
from fasttts.types.documents import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCost:
    """The cost of one run of a search; another run of it gives other numbers.

    Attributes:
        elapsed_s: Wall-clock seconds since the record before it, of the same method, or since the
            method began; their sum is the time of the method.
        total_s: Seconds of the search, from admission to the answer.
        generated_tokens: Tokens that were sampled, speculation included.
        verifier_tokens: Tokens that the verifier ran through its model.
        num_verifications: Requests to the verifier.
        num_iterations: Iterations of the generator in which it took part.
    """

    elapsed_s: float
    total_s: float
    generated_tokens: int
    verifier_tokens: int
    num_verifications: int
    num_iterations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(Document):
    """The outcome of one problem under one method.

    All but `run` is a function of problem, models, settings and seed, within what their numerics
    promise.

    Attributes:
        index: Number of the problem in the evaluation, from 0.
        problem: The problem's name.
        method: The method.
        verdict: What the outcome is.
        text: The problem's text.
        expected: The known answer; None where tests decide.
        answer: The chosen answer, or its program; None where there is none.
        stop_reason: Why the search ended; "complete" where no budget cut it short.
        error: The message of the error; None where there is a result.
        tokens: Tokens of the search tree, without what speculation wasted.
        answer_tokens: Tokens of all candidates.
        candidates: All candidates, best first.
        run: The cost of this run.
        kind: Tells this line from the header.
    """

    index: int
    problem: str
    method: str
    verdict: Verdict
    text: str
    expected: str | None
    answer: str | None
    stop_reason: StopReason
    error: str | None
    tokens: int
    answer_tokens: int
    candidates: tuple[GradedCandidate, ...]
    run: RunCost
    kind: Literal["result"] = "result"


def make_record(
    index: int,
    problem: Problem,
    method: str,
    outcome: ProblemOutcome,
    *,
    judge: Judge,
    elapsed_s: float,
) -> Record:
    """Grades an outcome and puts it on record.

    Args:
        index: Number of the problem.
        problem: The problem.
        method: The method.
        outcome: What the search ended with.
        judge: Decides what is right.
        elapsed_s: As in `RunCost`.
    """
    result = outcome if isinstance(outcome, SearchResult) else None
    candidates = grade(problem, outcome, judge)
    usage: Usage = getattr(outcome, "usage", Usage())
    return Record(
        index=index,
        problem=problem.id,
        method=method,
        verdict=verdict_of(outcome, candidates),
        text=problem.text,
        expected=problem.answer,
        answer=candidates[0].answer if candidates else None,
        stop_reason=getattr(outcome, "stop_reason", "complete"),
        error=None if result is not None else str(outcome),
        tokens=usage.required_tokens,
        answer_tokens=_num_tokens(candidates),
        candidates=candidates,
        run=RunCost(
            elapsed_s=round(elapsed_s, 6),
            total_s=round(0.0 if result is None else result.timings.total_s, 6),
            generated_tokens=usage.generated_tokens,
            verifier_tokens=usage.verifier_computed_tokens,
            num_verifications=usage.num_verifications,
            num_iterations=usage.num_iterations,
        ),
    )


def _num_tokens(candidates: Sequence[GradedCandidate]) -> int:
    return sum(candidate.num_tokens for candidate in candidates)
