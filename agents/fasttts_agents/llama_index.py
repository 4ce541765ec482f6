"""`deliberate` as a LlamaIndex tool."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context, Event

from fasttts import FastTTS, SearchConfig
from fasttts_agents.budget import RunBudget, check_budget, granted
from fasttts_agents.deliberate import (
    DESCRIPTION,
    INPUTS,
    NAME,
    Deliberation,
    Deliberator,
    Effort,
    Tell,
)

_SPENT = "deliberation_spent"

__all__ = ["DeliberationProgress", "deliberate_tool"]


class DeliberationProgress(Event):
    """Progress of a search, among the events of the agent's handler.

    Attributes:
        depth: Steps committed so far.
        num_finished: Candidates that ended.
        best_score: Score of the best path so far; None before the first verification.
        best_text: Text of that path.
        generated_tokens: Tokens sampled so far.
    """

    depth: int
    num_finished: int
    best_score: float | None
    best_text: str
    generated_tokens: int


def deliberate_tool(
    engine: FastTTS,
    config: SearchConfig | None = None,
    *,
    max_effort: Effort | None = None,
    max_problem_tokens: int = 2048,
    budget_tokens: int | None = None,
) -> FunctionTool:
    """Lets an agent's model pass a hard problem to a verifier-guided search.

    The tool's content is the winning solution; its `raw_output` is a `Deliberation` with the trace.
    In an agent it writes `DeliberationProgress` to the stream of events. Errors are raised;
    LlamaIndex's agents pass them to the model.

    Args:
        engine: Runs the search; it may be the one that also runs the agent's model.
        config: The search at the highest effort; None takes the defaults.
        max_effort: Lets the model choose an effort up to this one: "low" takes a quarter of the
            beams, "medium" half of them. None gives it no choice.
        max_problem_tokens: Longest problem that the model may pass.
        budget_tokens: Tokens that the tool may spend in one `Context` of an agent, where it keeps
            count as `deliberation_spent`; after that its replies are plain, and report so. None
            does not limit it.

    Raises:
        ConfigurationError: The engine has no verifier and the search needs one, or an argument is
            of the wrong type.
    """
    check_budget(budget_tokens)
    deliberator = Deliberator(
        engine=engine,
        config=SearchConfig() if config is None else config,
        max_effort=max_effort,
        max_problem_tokens=max_problem_tokens,
    )

    calls = _Calls(deliberator=deliberator, budget_tokens=budget_tokens)
    return FunctionTool.from_defaults(
        fn=calls.run,
        async_fn=calls.arun,
        name=NAME,
        description=DESCRIPTION,
        fn_schema=INPUTS[max_effort],
        partial_params={"ctx": None},  # outside an agent no context is passed
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Calls:
    """The functions of one tool."""

    deliberator: Deliberator
    budget_tokens: int | None

    def run(self, ctx: Context, problem: str, effort: Effort | None = None) -> Deliberation:
        return self.deliberator.run(problem, effort, _writer(ctx))

    async def arun(self, ctx: Context, problem: str, effort: Effort | None = None) -> Deliberation:
        async with _granted(ctx, self.budget_tokens):
            return await self.deliberator.arun(problem, effort, _writer(ctx))


@asynccontextmanager
async def _granted(ctx: Context | None, budget_tokens: int | None) -> AsyncIterator[None]:
    """Reads the remaining budget from the agent's state, and adds the cost to it afterwards."""
    if ctx is None or budget_tokens is None:
        yield
        return
    left = budget_tokens - await ctx.store.get(_SPENT, default=0)
    with granted(RunBudget(total=budget_tokens, left=left)) as allowance:
        try:
            yield
        finally:
            async with ctx.store.edit_state() as state:
                state[_SPENT] = state.get(_SPENT, 0) + allowance.spent


def _writer(ctx: Context | None) -> Tell | None:
    """Writes to the events of the running workflow; None outside of one."""
    if ctx is None:
        return None

    def tell(progress: dict[str, Any]) -> None:
        known = {name: progress[name] for name in DeliberationProgress.model_fields}
        ctx.write_event_to_stream(DeliberationProgress(**known))

    return tell
