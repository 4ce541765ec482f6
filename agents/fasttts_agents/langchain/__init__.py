"""Building blocks for LangChain agents: a tool that searches, and a middleware that routes."""

from fasttts_agents.langchain.budget_tool import BudgetTool
from fasttts_agents.langchain.middleware import DeliberationMiddleware, DeliberationState
from fasttts_agents.langchain.tool import DeliberateTool
from fasttts_agents.langchain.trace import TracePart, trace_of

__all__ = [
    "BudgetTool",
    "DeliberateTool",
    "DeliberationMiddleware",
    "DeliberationState",
    "TracePart",
    "trace_of",
]
