"""A tool that reports the remaining budget to the model."""

from langchain_core.tools import BaseTool

from fasttts_agents.budget import current_run_budget


class BudgetTool(BaseTool):
    """Reports how many tokens of the run's budget remain for searches."""

    name: str = "deliberation_budget"
    description: str = "Tell how many tokens may still be spent on thinking hard."

    def _run(self) -> str:
        return str(current_run_budget())
