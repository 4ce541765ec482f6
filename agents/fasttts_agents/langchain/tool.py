"""`deliberate` as a LangChain tool."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Self

from langchain_core.tools import BaseTool, ToolException
from langchain_core.tools.base import ArgsSchema
from langgraph.config import get_stream_writer
from pydantic import Field, model_validator

from fasttts import FastTTS, FastTTSError, SearchConfig
from fasttts_agents.deliberate import (
    DESCRIPTION,
    INPUTS,
    NAME,
    DeliberateInput,
    Deliberator,
    Effort,
    Tell,
)


class DeliberateTool(BaseTool):
    """Lets an agent's model pass a hard problem to a verifier-guided search.

    The message's content is the winning solution; its artifact is the whole search as JSON values.
    The tool calls the engine directly, so nothing of the search appears in the agent's own stream
    of messages; its progress does in `stream_mode="custom"`. An error reaches the model as a
    message it can react to. Under a `DeliberationMiddleware` it stays within the run's budget.

    Attributes:
        engine: Runs the search; it may be the one that also runs the agent's model.
        config: The search at the highest effort.
        max_effort: Lets the model choose an effort up to this one: "low" takes a quarter of the
            beams, "medium" half of them. None gives it no choice.
        max_problem_tokens: Longest problem that the model may pass.
    """

    name: str = NAME
    description: str = DESCRIPTION
    args_schema: ArgsSchema | None = DeliberateInput
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    handle_tool_error: bool | str | Callable[[ToolException], str] | None = True
    engine: FastTTS = Field(exclude=True, repr=False)
    config: SearchConfig = Field(default_factory=SearchConfig)
    max_effort: Effort | None = None
    max_problem_tokens: int = Field(default=2048, ge=1)

    @model_validator(mode="after")
    def _check_deliberation(self) -> Self:
        self._deliberator()
        self.args_schema = INPUTS[self.max_effort]
        return self

    def _deliberator(self) -> Deliberator:
        """Made for each call: the fields of a copy may have changed."""
        return Deliberator(
            engine=self.engine,
            config=self.config,
            max_effort=self.max_effort,
            max_problem_tokens=self.max_problem_tokens,
        )

    def _run(self, problem: str, effort: Effort | None = None) -> tuple[str, dict[str, Any]]:
        with _tool_errors():
            found = self._deliberator().run(problem, effort, _writer())
        return found.answer, found.trace

    async def _arun(self, problem: str, effort: Effort | None = None) -> tuple[str, dict[str, Any]]:
        with _tool_errors():
            found = await self._deliberator().arun(problem, effort, _writer())
        return found.answer, found.trace


def _writer() -> Tell | None:
    """The custom stream of the running graph; None outside of one."""
    try:
        return get_stream_writer()
    except (RuntimeError, KeyError):  # no runnable's context, or one without a graph
        return None


@contextmanager
def _tool_errors() -> Iterator[None]:
    try:
        yield
    except FastTTSError as error:
        raise ToolException(f"deliberate failed: {error}") from error
