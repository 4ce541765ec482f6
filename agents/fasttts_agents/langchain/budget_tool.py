"""A tool by which the model asks what it may still spend."""

from langchain_core.tools import BaseTool

from fasttts_agents.budget import current_run_budget


class BudgetTool(BaseTool):
    """Tells the model how many tokens of the run's budget are left for searches."""

    name: str = "deliberation_budget"
    description: str = "Tell how many tokens may still be spent on thinking hard."

    def _run(self) -> str:
        return str(current_run_budget())
