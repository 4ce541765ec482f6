"""Scores of tasks on a terminal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.table import Table

from fasttts.cli.evaluate_view import make_table


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScore:
    """One metric of one task under one method.

    Attributes:
        task: The task, or a group of tasks.
        method: The method.
        metric: The metric.
        filter: What the harness read from the answers.
        value: The metric's value.
        stderr: Its standard error; None where the harness knows none.
        num_problems: Problems behind it; None where the harness does not say.
    """

    task: str
    method: str
    metric: str
    filter: str
    value: float
    stderr: float | None
    num_problems: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCost:
    """The cost of one method on all tasks.

    Attributes:
        method: The method.
        requests: Answers that were asked for.
        errors: Those that have no text, and count as empty answers.
        tokens: Sampled tokens of all searches.
        verifier_tokens: Tokens that went through the verifier's model.
        seconds: Wall-clock seconds, grading included.
    """

    COUNTS: ClassVar = ("requests", "errors", "tokens", "verifier_tokens")
    method: str
    requests: int
    errors: int
    tokens: int
    verifier_tokens: int
    seconds: float


def tasks_view(scores: Sequence[TaskScore], costs: Sequence[TaskCost]) -> RenderableType:
    """Shows the scores and costs of all methods.

    Args:
        scores: The scores.
        costs: The costs, in the order of the methods.
    """
    parts: list[RenderableType] = [
        score_table(task, scores, [cost.method for cost in costs])
        for task in dict.fromkeys(score.task for score in scores)
    ]
    return Group(*parts, cost_table(costs))


def score_table(task: str, scores: Sequence[TaskScore], methods: Sequence[str]) -> Table:
    """Tabulates the metrics of a task with their standard errors, a line for each method.

    Args:
        task: The task.
        scores: The scores of all tasks.
        methods: The methods, in order.
    """
    own = [score for score in scores if score.task == task]
    columns = list(dict.fromkeys((score.metric, score.filter) for score in own))
    counts = {score.num_problems for score in own} - {None}
    of_problems = f", {max(filter(None, counts)):,} problems" if counts else ""
    table = make_table(f"{task}{of_problems}")
    table.add_column("method")
    for metric, picked in columns:
        table.add_column(metric if picked in {"", "none"} else f"{metric}, {picked}")
    for method in methods:
        found = {(one.metric, one.filter): one for one in own if one.method == method}
        table.add_row(method, *(_cell(found.get(column)) for column in columns))
    return table


def cost_table(costs: Sequence[TaskCost]) -> Table:
    """Tabulates what each method costs; tokens are those of one answer, seconds those of all.

    Args:
        costs: The costs.
    """
    table = make_table("costs")
    table.add_column("method")
    for name in ("tokens/answer", "verifier tokens", "seconds", "errors"):
        table.add_column(name, justify="right")
    for cost in costs:
        num = max(1, cost.requests)
        table.add_row(
            cost.method,
            f"{cost.tokens / num:,.0f}",
            f"{cost.verifier_tokens / num:,.0f}",
            f"{cost.seconds:.1f}",
            str(cost.errors),
        )
    return table


def _cell(score: TaskScore | None) -> str:
    if score is None:
        return ""
    error = "" if score.stderr is None else f" ± {score.stderr:.4f}"
    return f"{score.value:.4f}{error}"
