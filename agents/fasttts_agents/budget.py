"""Remaining token budget of an agent run."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from fasttts import Budget, Usage
from fasttts.errors import wrong_type
from fasttts.routing import Decision, RoutingContext, RoutingPolicy, decided


def check_budget(budget_tokens: object) -> None:
    """Checks the budget of a run.

    Raises:
        ConfigurationError: It is no number of tokens and not None.
    """
    is_count = isinstance(budget_tokens, int) and budget_tokens >= 0
    if budget_tokens is not None and not is_count:
        raise wrong_type("budget_tokens", budget_tokens, "at least 0, or None")


@dataclass(slots=True, kw_only=True)
class RunBudget:
    """The part of a run's budget that one call may use; the call records its cost.

    Tokens are those of the search trees, which every schedule generates: the same run spends the
    same, whatever other requests run.

    Attributes:
        total: The budget of the run in tokens; None for one without.
        left: Tokens that remain before the call; None without a budget.
        spent: Tokens that the call has spent.
    """

    total: int | None = None
    left: int | None = None
    spent: int = 0

    @property
    def is_used_up(self) -> bool:
        """Whether only plain decoding is allowed."""
        return self.left is not None and self.left <= 0

    def pay(self, usage: Usage) -> None:
        """Records a cost."""
        self.spent += usage.required_tokens

    def bounded(self, budget: Budget) -> Budget:
        """Limits the budget of one search to the remaining tokens."""
        if self.left is None or self.is_used_up:
            return budget
        return budget.model_copy(update={"tokens": min(self.left, budget.tokens or self.left)})

    def policy(self, usual: RoutingPolicy) -> RoutingPolicy:
        """Returns the usual policy, or `BudgetExhausted` once the budget is spent."""
        return BudgetExhausted(total=self.total or 0) if self.is_used_up else usual

    def __str__(self) -> str:
        if self.total is None or self.left is None:
            return "There is no budget: searches are not limited."
        if self.is_used_up:
            return f"The budget of {self.total} tokens is spent: all replies are plain now."
        return f"{self.left} of {self.total} tokens are left for searches."


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetExhausted:
    """The policy of a run whose budget is spent: plain decoding, with the reason.

    Attributes:
        total: The budget of the run in tokens.
    """

    total: int

    def decide(self, context: RoutingContext) -> Decision:
        """Decides for plain decoding."""
        reason = f"the run's budget of {self.total} tokens is spent"
        return decided(context, "plain", self, reason, budget_tokens=self.total)


_current: ContextVar[RunBudget | None] = ContextVar("fasttts_run_budget", default=None)


@contextmanager
def granted(allowance: RunBudget) -> Iterator[RunBudget]:
    """Sets the budget of tools that run in the body, in this thread or task and its descendants."""
    token = _current.set(allowance)
    try:
        yield allowance
    finally:
        _current.reset(token)


def current_run_budget() -> RunBudget:
    """Returns the budget of the present tool call; unlimited outside a run with a budget."""
    return _current.get() or RunBudget()
