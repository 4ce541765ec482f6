"""The `deliberate` tool without a framework: what a model reads about it, and what it does."""

import json
from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, Field

from fasttts import FastTTS, SearchConfig, SearchResult
from fasttts.search import resolve

NAME = "deliberate"
DESCRIPTION = (
    "Solve a hard problem by verifier-guided search. "
    "Use it for problems that take several steps and pass the whole problem."
)


def check_search(engine: FastTTS, config: SearchConfig) -> None:
    """Raises ConfigurationError when the engine's models cannot run this search."""
    resolve(config, has_verifier=engine.verifier_name is not None)


class DeliberateInput(BaseModel):
    """What the model passes."""

    problem: str = Field(description="The whole problem, word for word.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliberation:
    """What a search found.

    Attributes:
        answer: The winning solution, which the model reads.
        trace: The whole `SearchResult` as JSON values, which people and programs read.
    """

    answer: str
    trace: dict[str, Any]

    @classmethod
    def of(cls, result: SearchResult) -> Self:
        """The outcome of a search in the tool's terms."""
        return cls(answer=result.text, trace=json.loads(result.to_json()))

    def __str__(self) -> str:
        return self.answer
