"""Arguments and results of the tools, whose JSON schemas clients are shown."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fasttts import SearchResult
from fasttts_agents.deliberate import Effort, HighEffortInput

MAX_PROBLEMS = 64
"""Problems of one call of `solve_many`."""

_EFFORT = HighEffortInput.model_fields["effort"].description
_SCORE = "The verifier's score of it, from 0 to 1; null without a verifier."


class DeliberateArguments(HighEffortInput):
    """Arguments of `deliberate`."""

    model_config = ConfigDict(extra="forbid")


class SolveManyArguments(BaseModel):
    """Arguments of `solve_many`."""

    model_config = ConfigDict(extra="forbid")

    problems: list[str] = Field(
        min_length=1, max_length=MAX_PROBLEMS, description="The problems, each whole."
    )
    effort: Effort = Field(default="high", description=_EFFORT)


class CheckAnswerArguments(BaseModel):
    """Arguments of `check_answer`."""

    model_config = ConfigDict(extra="forbid")

    answer: str = Field(
        min_length=1, description="The answer to check, alone or at the end of a solution."
    )
    problem: str | None = Field(
        default=None, description="The whole problem, which is then solved to compare."
    )
    expected: str | None = Field(
        default=None, description="The right answer where it is known; nothing is solved then."
    )
    effort: Effort = Field(default="high", description=_EFFORT)

    @model_validator(mode="after")
    def _has_a_measure(self) -> Self:
        if self.problem is None and self.expected is None:
            raise ValueError("pass the problem, or the expected answer")
        return self


class Solution(BaseModel):
    """A solved problem, in a few values: models read all of them."""

    answer: str | None = Field(description="The answer that the solution ends in; null for none.")
    solution: str = Field(description="The winning solution, step by step.")
    score: float | None = Field(description=_SCORE)
    is_complete: bool = Field(description="Whether the model ended the solution by itself.")
    stop_reason: str = Field(description="'complete', or 'seconds' where time ran out.")
    seconds: float = Field(description="Seconds that it took.")
    generated_tokens: int = Field(description="Tokens sampled for it, on all candidates.")

    @classmethod
    def of(cls, result: SearchResult) -> Self:
        """Converts the result of a search."""
        return cls(
            answer=result.answer,
            solution=result.text,
            score=result.score,
            is_complete=result.candidates[0].is_complete,
            stop_reason=result.stop_reason,
            seconds=round(result.timings.total_s, 3),
            generated_tokens=result.usage.generated_tokens,
        )


class Unsolved(BaseModel):
    """A problem without a solution."""

    error: str = Field(description="Why there is none.")


class Solutions(BaseModel):
    """Result of `solve_many`."""

    solutions: list[Solution | Unsolved] = Field(description="In the order of the problems.")


class Verdict(BaseModel):
    """Result of `check_answer`."""

    verdict: Literal["agrees", "differs", "unknown"] = Field(
        description="Whether it means the same as the other answer; 'unknown' if that was not found"
    )
    answer: str = Field(description="The answer that was checked.")
    compared_with: str | None = Field(description="The expected answer, or the one that was found.")
    share: float | None = Field(
        description="Share of the answers found by the search that agree; null if none was made."
    )
    score: float | None = Field(
        description="The highest score of a solution that agrees; null where there is none."
    )
    solution: Solution | None = Field(description="The search's own solution; null if none.")
