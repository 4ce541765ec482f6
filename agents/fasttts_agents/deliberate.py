"""The `deliberate` tool without a framework: its description for the model, and its execution."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, Self, get_args

from pydantic import BaseModel, Field

from fasttts import (
    ConfigurationError,
    FastTTS,
    Finished,
    Progress,
    SearchConfig,
    SearchError,
    SearchResult,
)
from fasttts.errors import wrong_type
from fasttts.routing import Always, Router
from fasttts.search import resolve
from fasttts_agents.budget import RunBudget, current_run_budget

NAME = "deliberate"
DESCRIPTION = (
    "Solve a hard problem by verifier-guided search. "
    "Use it for problems that take several steps and pass the whole problem."
)

Effort = Literal["low", "medium", "high"]
EFFORTS: tuple[Effort, ...] = get_args(Effort)
_DIVISORS: Mapping[Effort, int] = {"low": 4, "medium": 2, "high": 1}
"""Divisors of the configured search's beams."""

_PROBLEM = "The whole problem, word for word."
_EFFORT = "How hard to think: more effort solves more problems and costs more."

Tell = Callable[[dict[str, Any]], None]
"""Receives a search's progress."""


def check_search(engine: FastTTS, config: SearchConfig) -> None:
    """Checks that the engine's models can run a search.

    Args:
        engine: The engine.
        config: The search.

    Raises:
        ConfigurationError: The search needs a verifier and the engine has none, or either one is
            of the wrong type.
    """
    if not isinstance(engine, FastTTS):
        raise wrong_type("engine", engine, "a FastTTS")
    if not isinstance(config, SearchConfig):
        raise wrong_type("config", config, "a SearchConfig")
    resolve(config, has_verifier=engine.verifier_name is not None)


class DeliberateInput(BaseModel):
    """Arguments of the tool."""

    problem: str = Field(description=_PROBLEM)


class LowEffortInput(DeliberateInput):
    """Arguments with the lowest effort only."""

    effort: Literal["low"] = Field(default="low", description=_EFFORT)


class MediumEffortInput(DeliberateInput):
    """Arguments with a choice of two efforts."""

    effort: Literal["low", "medium"] = Field(default="medium", description=_EFFORT)


class HighEffortInput(DeliberateInput):
    """Arguments with a choice of all efforts."""

    effort: Effort = Field(default="high", description=_EFFORT)


INPUTS: Final[Mapping[Effort | None, type[DeliberateInput]]] = {
    None: DeliberateInput,
    "low": LowEffortInput,
    "medium": MediumEffortInput,
    "high": HighEffortInput,
}
"""The tool's arguments, by the highest effort that the model may choose."""


def noted_text(result: SearchResult, notes: Sequence[str] = ()) -> str:
    """The winning solution for a model to read, behind the warnings about it.

    Args:
        result: The result.
        notes: Texts that follow the result's warnings.
    """
    return "".join(f"({note})\n\n" for note in (*result.warnings, *notes)) + result.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliberation:
    """Result of the tool.

    Attributes:
        answer: The winning solution, which the model reads.
        trace: The whole `SearchResult` as JSON values, for people and programs.
    """

    answer: str
    trace: dict[str, Any]

    @classmethod
    def of(cls, result: SearchResult, notes: Sequence[str] = ()) -> Self:
        """Converts the result of a search.

        Args:
            result: The result.
            notes: Texts for the model, put before the answer behind the result's warnings.
        """
        return cls(answer=noted_text(result, notes), trace=json.loads(result.to_json()))

    def __str__(self) -> str:
        return self.answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliberator:
    """Executes the tool in every framework.

    Attributes:
        engine: Runs the search; it may be the one that also runs the agent's model.
        config: The search at the highest effort.
        max_effort: The highest effort that the model may choose; None gives it no choice.
        max_problem_tokens: Longest problem that the model may pass.
    """

    engine: FastTTS
    config: SearchConfig
    max_effort: Effort | None = None
    max_problem_tokens: int = 2048

    def __post_init__(self) -> None:
        check_search(self.engine, self.config)
        _check_effort("max_effort", self.max_effort)
        longest: object = self.max_problem_tokens
        if not isinstance(longest, int) or longest < 1:
            raise wrong_type("max_problem_tokens", longest, "a positive integer")
        if self.config.search == "none":
            raise ConfigurationError("search='none' is no search: name one for the tool to make")

    def run(
        self, problem: str, effort: Effort | None = None, tell: Tell | None = None
    ) -> Deliberation:
        """Solves a problem within the budget of the run.

        Args:
            problem: The problem that the model passed.
            effort: How hard to think; None is the highest allowed.
            tell: Receives progress; None for no reports.

        Raises:
            FastTTSError: The problem cannot be solved; the message is for the model.
        """
        allowance = current_run_budget()
        self._check_call(problem, effort, tell)
        router = Router(self.engine, allowance.policy(Always()))
        config = self._of_effort(effort, allowance)
        result: SearchResult | None = None
        try:
            with closing(router.stream(problem, config=config)) as events:
                for event in events:
                    result = _seen(event, tell) or result
        except SearchError as error:
            allowance.pay(error.usage)
            raise
        return _deliberation(_paid(result, allowance), allowance)

    async def arun(
        self, problem: str, effort: Effort | None = None, tell: Tell | None = None
    ) -> Deliberation:
        """Solves as `run` does, for event loops; cancelling the task stops the search.

        Args:
            problem: The problem that the model passed.
            effort: How hard to think; None is the highest allowed.
            tell: Receives progress; None for no reports.

        Raises:
            FastTTSError: As for `run`.
        """
        return _deliberation(await self.asolve(problem, effort, tell), current_run_budget())

    async def asolve(
        self, problem: str, effort: Effort | None = None, tell: Tell | None = None
    ) -> SearchResult:
        """Solves as `arun` does, and returns the whole result.

        Args:
            problem: The problem that the model passed.
            effort: How hard to think; None is the highest allowed.
            tell: Receives progress; None for no reports.

        Raises:
            FastTTSError: As for `run`.
        """
        allowance = current_run_budget()
        self._check_call(problem, effort, tell)
        router = Router(self.engine, allowance.policy(Always()))
        config = self._of_effort(effort, allowance)
        result: SearchResult | None = None
        try:
            async with aclosing(router.astream(problem, config=config)) as events:
                async for event in events:
                    result = _seen(event, tell) or result
        except SearchError as error:
            allowance.pay(error.usage)
            raise
        return _paid(result, allowance)

    def _check_call(self, problem: str, effort: Effort | None, tell: Tell | None) -> None:
        if not isinstance(problem, str):
            raise wrong_type("problem", problem, "a str")
        try:
            problem.encode()
        except UnicodeEncodeError as error:
            raise ConfigurationError(f"the problem is not Unicode text: {error.reason}") from error
        _check_effort("effort", effort)
        if tell is not None and not callable(tell):
            raise wrong_type("tell", tell, "a function or None")
        num_tokens = len(self.engine.tokenizer.encode(problem))
        if num_tokens > self.max_problem_tokens:
            raise ConfigurationError(
                f"the problem has {num_tokens} tokens, more than {self.max_problem_tokens}: pass "
                "the problem alone, without the rest of the conversation"
            )

    def _of_effort(self, effort: Effort | None, allowance: RunBudget) -> SearchConfig:
        """The search with the beams of an effort, a multiple of `beam_width`."""
        ceiling = self.max_effort or "high"
        chosen = min(effort or ceiling, ceiling, key=EFFORTS.index)
        width, n = self.config.beam_width, self.config.n // _DIVISORS[chosen]
        n = max(width, n // width * width) if n < self.config.n else self.config.n
        budget = allowance.bounded(self.config.budget)
        return self.config.model_copy(update={"n": n, "budget": budget})


def _check_effort(name: str, effort: object) -> None:
    if effort is not None and not (isinstance(effort, str) and effort in EFFORTS):
        raise wrong_type(name, effort, f"one of {', '.join(EFFORTS)} or None")


def _seen(event: object, tell: Tell | None) -> SearchResult | None:
    if isinstance(event, Progress) and tell is not None:
        tell({"type": NAME, **asdict(event)})
    return event.result if isinstance(event, Finished) else None


def _paid(result: SearchResult | None, allowance: RunBudget) -> SearchResult:
    assert result is not None, "a stream ends with its result"
    allowance.pay(result.usage)
    return result


def _deliberation(result: SearchResult, allowance: RunBudget) -> Deliberation:
    return Deliberation.of(result, [str(allowance)] if allowance.is_used_up else [])
