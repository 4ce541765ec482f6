"""Routing of each model call of a LangChain agent, within a budget."""

import operator
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, NotRequired

from langchain.agents.middleware import (
    AgentMiddleware,
    AgentState,
    ExtendedModelResponse,
    ModelRequest,
    ModelResponse,
    Runtime,
    ToolCallRequest,
)
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.types import Command

from fasttts import Budget
from fasttts.errors import wrong_type
from fasttts.routing import RoutingPolicy
from fasttts_agents.budget import BudgetExhausted, RunBudget, check_budget, granted
from fasttts_agents.langchain.budget_tool import BudgetTool
from langchain_fasttts import ChatFastTTS


class DeliberationState(AgentState[Any]):
    """The agent's state with the run's spending.

    Attributes:
        deliberation_spent: Tokens of model calls and of tools, in the trees of their searches;
            every run begins at 0.
    """

    deliberation_spent: NotRequired[Annotated[int, operator.add]]


class DeliberationMiddleware(AgentMiddleware[DeliberationState, Any, Any]):
    """Lets a routing policy decide about every call of a `ChatFastTTS`, within a budget.

    Each call of the model gets its own decision, so a run may answer one turn plainly and search
    the next; the message's `response_metadata["fasttts"]["routing"]` holds it. Calls of other
    models pass unchanged. Put it last, next to the model: then it sees which model a fallback
    chose, and the cost of retries is that of the returned replies.

    Args:
        policy: Decides; None takes the model's own, which is the calibrated cascade by default.
        budget_tokens: Tokens that all model calls and `deliberate` tools of a run may spend
            together; once they are spent, calls are decoded plainly and report so. None does not
            limit them.
        tells_budget: Whether the model gets a tool that reports the remaining budget.

    Raises:
        ConfigurationError: `budget_tokens` is negative, or an argument is of the wrong type.
    """

    state_schema = DeliberationState

    def __init__(
        self,
        policy: RoutingPolicy | None = None,
        *,
        budget_tokens: int | None = None,
        tells_budget: bool = False,
    ) -> None:
        super().__init__()
        check_budget(budget_tokens)
        if policy is not None and not callable(getattr(policy, "decide", None)):
            raise wrong_type("policy", policy, "a routing policy, with a method `decide`, or None")
        if not isinstance(tells_budget, bool):
            raise wrong_type("tells_budget", tells_budget, "a bool")
        self.policy = policy
        self.budget_tokens = budget_tokens
        self.tools = [BudgetTool()] if tells_budget else []

    def before_agent(
        self, state: DeliberationState, runtime: Runtime[Any]
    ) -> dict[str, Any] | None:
        return {"deliberation_spent": -state.get("deliberation_spent", 0)}

    async def abefore_agent(
        self, state: DeliberationState, runtime: Runtime[Any]
    ) -> dict[str, Any] | None:
        return self.before_agent(state, runtime)

    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        return _paid(handler(self._routed(request)))

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        return _paid(await handler(self._routed(request)))

    def wrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]],
    ) -> ToolMessage | Command[Any]:
        with granted(self._allowance(request.state)) as allowance:
            return _charged(handler(request), allowance)

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        with granted(self._allowance(request.state)) as allowance:
            return _charged(await handler(request), allowance)

    def _allowance(self, state: Any) -> RunBudget:
        """The remaining budget of the run."""
        if self.budget_tokens is None:
            return RunBudget()
        left = self.budget_tokens - int(state.get("deliberation_spent", 0))
        return RunBudget(total=self.budget_tokens, left=left)

    def _routed(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        """The request with routing options, where the model can search."""
        if not isinstance(request.model, ChatFastTTS):
            return request
        allowance = self._allowance(request.state)
        settings: dict[str, Any] = {"search": "auto"}
        if self.policy is not None:
            settings["policy"] = self.policy
        if allowance.is_used_up:
            settings["policy"] = BudgetExhausted(total=allowance.total or 0)
        elif allowance.left is not None:
            own = request.model_settings.get("budget") or request.model.budget or Budget()
            settings["budget"] = allowance.bounded(own)
        return request.override(model_settings={**request.model_settings, **settings})


def _paid(response: ModelResponse[Any]) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
    """The response, with a state update that adds its cost."""
    reports = [m.response_metadata.get("fasttts") for m in response.result if _is_said(m)]
    spent = sum(report["usage"]["required_tokens"] for report in reports if report)
    if not spent:
        return response
    command: Command[Any] = Command(update={"deliberation_spent": spent})
    return ExtendedModelResponse(model_response=response, command=command)


def _is_said(message: object) -> bool:
    return isinstance(message, AIMessage)


def _charged(
    outcome: ToolMessage | Command[Any], allowance: RunBudget
) -> ToolMessage | Command[Any]:
    """The tool's message, with a state update that adds its cost."""
    if not allowance.spent or not isinstance(outcome, ToolMessage):
        return outcome
    return Command(update={"messages": [outcome], "deliberation_spent": allowance.spent})
