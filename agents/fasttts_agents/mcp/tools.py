"""The tools without the protocol: `deliberate`, `solve_many` and `check_answer` within a time."""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from fasttts import ConfigurationError, FastTTSError, SearchConfig, SearchResult
from fasttts.answers.equality import answers_equal, group_equal
from fasttts.answers.extraction import make_extractor
from fasttts.config.validation import did_you_mean, refusal
from fasttts.errors import wrong_type
from fasttts.verifiers.daemon_pool import run_in_daemon
from fasttts_agents.deliberate import DESCRIPTION, NAME, Deliberator, Effort, Tell, noted_text
from fasttts_agents.mcp.loading import BackgroundEngine
from fasttts_agents.mcp.values import (
    CheckAnswerArguments,
    DeliberateArguments,
    Solution,
    Solutions,
    SolveManyArguments,
    Unsolved,
    Verdict,
)

TIME_LIMIT_S: Final = 45.0
"""Below the 60 seconds after which clients of the official TypeScript SDK give up."""

_GRACE_SHARE: Final = 0.1
"""Share of the time in which an answer may still be completed."""

_LEAST_S: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Result of a call.

    Attributes:
        text: For a model to read.
        value: The same as values.
    """

    text: str
    value: BaseModel


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolInfo:
    """Description of a tool.

    Attributes:
        title: For people.
        description: For models.
        arguments: Its arguments.
        result: Its result.
    """

    title: str
    description: str
    arguments: type[BaseModel]
    result: type[BaseModel]


TOOLS: Final[Mapping[str, ToolInfo]] = {
    NAME: ToolInfo(
        title="Deliberate",
        description=DESCRIPTION,
        arguments=DeliberateArguments,
        result=Solution,
    ),
    "solve_many": ToolInfo(
        title="Solve many problems",
        description=(
            "Solve several independent problems at once by verifier-guided search. "
            "It takes little longer than the hardest of them alone."
        ),
        arguments=SolveManyArguments,
        result=Solutions,
    ),
    "check_answer": ToolInfo(
        title="Check an answer",
        description=(
            "Check an answer to a problem by solving the problem again by verifier-guided search, "
            "or compare it with the expected answer. Answers are compared by meaning: "
            "1/2 and 0.50 agree."
        ),
        arguments=CheckAnswerArguments,
        result=Verdict,
    ),
}
"""The tools, by name."""


class ToolService:
    """Executes the tools on one engine; calls in flight share its batches.

    Args:
        engine: Runs the searches.
        config: The search at the highest effort.
        time_limit_s: Most seconds of a call. A search ends early enough for its best answer so far
            to be returned in time.
        max_problem_tokens: Longest problem.

    Attributes:
        time_limit_s: The same.

    Raises:
        ConfigurationError: An argument cannot work.
    """

    def __init__(
        self,
        engine: BackgroundEngine,
        config: SearchConfig,
        *,
        time_limit_s: float = TIME_LIMIT_S,
        max_problem_tokens: int = 2048,
    ) -> None:
        limit_s: object = time_limit_s
        if not isinstance(limit_s, int | float) or not 0 < limit_s < float("inf"):
            raise wrong_type("time_limit_s", limit_s, "a number of seconds above 0")
        if config.search == "none":
            raise ConfigurationError("search='none' is no search: name one for the tools to make")
        longest: object = max_problem_tokens
        if not isinstance(longest, int) or longest < 1:
            raise wrong_type("max_problem_tokens", longest, "a positive integer")
        self.time_limit_s: Final = float(time_limit_s)
        self._engine = engine
        self._config = config
        self._max_problem_tokens = max_problem_tokens

    async def call(self, name: str, arguments: Mapping[str, Any], tell: Tell) -> Outcome:
        """Executes a tool; cancelling the task stops its searches.

        Args:
            name: The tool.
            arguments: Its arguments as JSON values.
            tell: Receives the progress of its searches.

        Raises:
            FastTTSError: The call cannot work, or it failed; the message is for the model.
        """
        if name not in TOOLS:
            raise ConfigurationError(f"unknown tool '{name}': {did_you_mean(name, TOOLS)}")
        model = TOOLS[name].arguments
        try:
            checked = model.model_validate(arguments)
        except ValidationError as error:
            raise refusal(model, error) from error
        deadline = time.monotonic() + self.time_limit_s
        match checked:
            case DeliberateArguments():
                return await self._deliberate(checked, deadline, tell)
            case SolveManyArguments():
                return await self._solve_many(checked, deadline, tell)
            case CheckAnswerArguments():
                return await self._check_answer(checked, deadline, tell)
        raise AssertionError(f"{name} has a method here")

    async def _deliberate(self, asked: DeliberateArguments, deadline: float, tell: Tell) -> Outcome:
        result = await self._solve(asked.problem, asked.effort, deadline, tell)
        return Outcome(text=noted_text(result), value=Solution.of(result))

    async def _solve_many(self, asked: SolveManyArguments, deadline: float, tell: Tell) -> Outcome:
        num_ended = 0

        async def solve(problem: str) -> SearchResult | FastTTSError:
            nonlocal num_ended
            try:
                return await self._solve(problem, asked.effort, deadline, _unheard)
            except FastTTSError as error:
                return error
            finally:
                num_ended += 1
                tell({"state": f"{num_ended} of {len(asked.problems)} problems ended"})

        found = await asyncio.gather(*map(solve, asked.problems))
        errors = [each for each in found if isinstance(each, FastTTSError)]
        if len(errors) == len(found):
            raise errors[0]
        values = [_solution(each) for each in found]
        texts = [f"Problem {i}\n\n{_text(each)}" for i, each in enumerate(found, start=1)]
        return Outcome(text="\n\n".join(texts), value=Solutions(solutions=values))

    async def _check_answer(
        self, asked: CheckAnswerArguments, deadline: float, tell: Tell
    ) -> Outcome:
        answer = self._stated(asked.answer)
        if asked.expected is not None:
            expected = self._stated(asked.expected)
            is_equal = await _in_daemon(functools.partial(answers_equal, answer, expected))
            return _judged(answer, expected, is_equal=is_equal)
        assert asked.problem is not None, "it is one of the two"
        result = await self._solve(asked.problem, asked.effort, deadline, tell)
        candidates = [each for each in result.candidates if each.answer]
        if not result.answer:
            return _judged(answer, None, is_equal=False, share=0.0, result=result)
        answers = [answer, result.answer, *(each.answer for each in candidates)]
        groups = await _in_daemon(functools.partial(group_equal, answers))
        equal = next(group for group in groups if 0 in group)
        agreeing = [candidates[index - 2] for index in equal if index >= 2]
        return _judged(
            answer,
            result.answer,
            is_equal=1 in equal,
            share=round(len(agreeing) / len(candidates), 4),
            score=max((one.score for one in agreeing if one.score is not None), default=None),
            result=result,
        )

    def _stated(self, text: str) -> str:
        """The answer that a text announces, or else all of it."""
        found = make_extractor(self._config.answer).read(text)
        return found.text if found is not None and found.is_announced else text.strip()

    async def _solve(
        self, problem: str, effort: Effort, deadline: float, tell: Tell
    ) -> SearchResult:
        if self._engine.is_loading:
            tell({"state": "the models are being loaded"})
        engine = await self._engine.loaded(max(deadline - time.monotonic(), _LEAST_S))
        grace_s = _GRACE_SHARE * self.time_limit_s
        left_s = max(deadline - time.monotonic() - grace_s, _LEAST_S)
        budget = self._config.budget.model_copy(
            update={"seconds": left_s, "grace_seconds": grace_s}
        )
        deliberator = Deliberator(
            engine=engine,
            config=self._config.model_copy(update={"budget": budget}),
            max_effort="high",
            max_problem_tokens=self._max_problem_tokens,
        )
        return await deliberator.asolve(problem, effort, tell)


def _unheard(_: dict[str, Any]) -> None:
    """Ignores the progress of one problem of many."""


def _solution(found: SearchResult | FastTTSError) -> Solution | Unsolved:
    return Unsolved(error=str(found)) if isinstance(found, FastTTSError) else Solution.of(found)


def _text(found: SearchResult | FastTTSError) -> str:
    return f"no solution: {found}" if isinstance(found, FastTTSError) else noted_text(found)


def _in_daemon(function: Callable[[], Any]) -> Awaitable[Any]:
    """Runs algebra, which may take seconds, beside the event loop."""
    return asyncio.wrap_future(run_in_daemon(function))


def _judged(
    answer: str,
    other: str | None,
    *,
    is_equal: bool,
    share: float | None = None,
    score: float | None = None,
    result: SearchResult | None = None,
) -> Outcome:
    verdict = Verdict(
        verdict="unknown" if other is None else "agrees" if is_equal else "differs",
        answer=answer,
        compared_with=other,
        share=share,
        score=score,
        solution=None if result is None else Solution.of(result),
    )
    return Outcome(text=_sentence(verdict), value=verdict)


def _sentence(verdict: Verdict) -> str:
    if verdict.compared_with is None:
        return f"unknown: the search found no answer to compare {verdict.answer} with"
    text = f"{verdict.answer} {verdict.verdict} "
    text += "with" if verdict.verdict == "agrees" else "from"
    if verdict.solution is None:
        return f"{text} the expected answer {verdict.compared_with}"
    return (
        f"{text} {verdict.compared_with}, the answer that the search found; "
        f"{verdict.share:.0%} of its answers agree with it"
    )
