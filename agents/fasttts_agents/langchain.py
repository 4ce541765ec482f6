"""`deliberate` as a LangChain tool."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Self

from langchain_core.tools import BaseTool, ToolException
from langchain_core.tools.base import ArgsSchema
from pydantic import Field, model_validator

from fasttts import FastTTS, FastTTSError, SearchConfig
from fasttts_agents.deliberate import (
    DESCRIPTION,
    NAME,
    DeliberateInput,
    Deliberation,
    check_search,
)

__all__ = ["DeliberateTool"]


class DeliberateTool(BaseTool):
    """Lets an agent's model hand a hard problem to a verifier-guided search.

    The message's content is the winning solution; its artifact is the whole search as JSON values.
    The tool talks to the engine directly, so nothing of the search appears in the agent's own
    stream of messages. An error of the engine reaches the model as a message it can react to.

    Attributes:
        engine: Where the search runs; it may be the one that also runs the agent's model.
        config: How it searches.
    """

    name: str = NAME
    description: str = DESCRIPTION
    args_schema: ArgsSchema | None = DeliberateInput
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    handle_tool_error: bool | str | Callable[[ToolException], str] | None = True
    engine: FastTTS = Field(exclude=True, repr=False)
    config: SearchConfig = Field(default_factory=SearchConfig)

    @model_validator(mode="after")
    def _check_deliberation(self) -> Self:
        check_search(self.engine, self.config)
        return self

    def _run(self, problem: str) -> tuple[str, dict[str, Any]]:
        with _tool_errors():
            found = Deliberation.of(self.engine.search(problem, config=self.config))
        return found.answer, found.trace

    async def _arun(self, problem: str) -> tuple[str, dict[str, Any]]:
        with _tool_errors():
            found = Deliberation.of(await self.engine.asearch(problem, config=self.config))
        return found.answer, found.trace


@contextmanager
def _tool_errors() -> Iterator[None]:
    try:
        yield
    except FastTTSError as error:
        raise ToolException(f"deliberate failed: {error}") from error
