"""The context of a routing decision: one call of a model, and the signals collected so far."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fasttts.engine.messages import question
from fasttts.routing.problem import has_problem
from fasttts.types import Message, Step, Usage

_FORMATTING = re.compile(
    r"\b(re-?format|rewrite|rephrase|translate|summari[sz]e|proofread|shorten)\b"
    r"|\b(as|into|in) (a |an )?(valid )?(json|yaml|csv|xml|markdown|table|list|bullet points?)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A reply that was decoded once, plainly, and scored by the verifier.

    Attributes:
        text: All of it.
        steps: The same as steps, with their scores if it was scored.
        is_complete: Whether the model ended it by itself.
        calls_tools: Whether it is a tool call.
    """

    text: str
    steps: tuple[Step, ...]
    is_complete: bool
    calls_tools: bool = False

    @property
    def lowest_score(self) -> float | None:
        """The lowest score of its steps; None where one of them has none."""
        scores_S = [step.score for step in self.steps if step.score is not None]
        return min(scores_S) if scores_S and len(scores_S) == len(self.steps) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingContext:
    """The data that a decision is made from; policies use nothing else.

    Attributes:
        messages: The conversation so far.
        tools: The tools the model is offered, in OpenAI's form.
        is_constrained: Whether the reply must have a given form, such as a JSON schema.
        budget_tokens: Tokens that remain; None where they are not limited.
        draft: The plain reply; None before a policy has asked for it.
        yes_probabilities: For each question that a policy has asked, the share of "yes" among the
            answers.
        cost: Cost of these signals so far.
    """

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    is_constrained: bool = False
    budget_tokens: int | None = None
    draft: Draft | None = None
    yes_probabilities: Mapping[str, float] = field(default_factory=dict)
    cost: Usage = field(default_factory=Usage)

    @property
    def last_role(self) -> str:
        """The role of the last message."""
        return str(self.messages[-1]["role"]) if self.messages else ""

    @property
    def question(self) -> str:
        """The last text of the user."""
        return question(self.messages)

    @property
    def is_tool_result(self) -> bool:
        """Whether the model is to continue from a tool's result."""
        return self.last_role in ("tool", "function")

    @property
    def is_formatting(self) -> bool:
        """Whether the reply is to convert something given into another form."""
        return self.is_constrained or _FORMATTING.search(self.question) is not None

    @property
    def has_problem(self) -> bool:
        """Whether the turn holds something to work out, or goes on with it; in doubt it does."""
        return has_problem(self.messages)
