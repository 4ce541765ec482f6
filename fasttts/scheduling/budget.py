"""Budgets counted on the tree, so that no schedule changes where a search ends.

The measure of time is the plain loop with a slot for every beam: a node's tokens come one in each
iteration from `Node.begins_at` on, and a group decides when the last node of its frontier ends. The
horizon is the last iteration that the budget pays for. It follows from the tree alone, and the
horizon of a growing tree bounds it from above.
"""

import collections
from collections.abc import Iterable, Sequence

from fasttts.config.budget import Budget
from fasttts.search.policy import SearchPolicy
from fasttts.tree import Node
from fasttts.types import Path, StopReason

Horizon = tuple[int, StopReason]
"""The last iteration that is paid for, and the limit that ends it."""


def horizon(nodes: Sequence[Node], budget: Budget, *, is_scored: bool) -> Horizon | None:
    """Computes where a search on these nodes ends; None where the budget pays for all of them.

    Args:
        nodes: The tree so far.
        budget: The limits.
        is_scored: Whether ended nodes are scored.
    """
    found: list[Horizon] = []
    if budget.tokens is not None and (at := _last_paid(nodes, budget.tokens)) is not None:
        found.append((at, "tokens"))
    if budget.verifier_calls is not None and is_scored:
        ends = sorted(node.ends_at for node in nodes if node.is_ended)
        if len(ends) > budget.verifier_calls:
            found.append((ends[budget.verifier_calls] - 1, "verifier_calls"))
    return min(found, default=None)


def _last_paid(nodes: Sequence[Node], num_tokens: int) -> int | None:
    """The last iteration up to which the nodes have at most `num_tokens`; None for any."""
    if sum(len(node.token_ids) for node in nodes) <= num_tokens:
        return None
    changes: collections.Counter[int] = collections.Counter()
    for node in nodes:
        changes[node.begins_at] += 1
        changes[node.ends_at] -= 1
    total = num_running = now = 0
    for time in sorted(changes):
        gained = num_running * (time - now)
        if total + gained > num_tokens:
            return now + (num_tokens - total) // num_running
        total, now = total + gained, time
        num_running += changes[time]
    raise AssertionError("the nodes have more tokens than that")


def best_partial(tree: Iterable[Node], policy: SearchPolicy) -> Node | None:
    """Chooses the living path to finish: by its last known score, then length, then path.

    Args:
        tree: All nodes.
        policy: Groups the nodes.

    Returns:
        None where no path is alive.
    """

    def key(node: Node) -> tuple[float, int, Path]:
        scored = [one.beam.score for one in node.lineage() if one.beam and one.scores_S is not None]
        num_tokens = node.num_prefix_tokens + len(node.token_ids)
        return (-(scored[-1] if scored else -1.0), -num_tokens, node.path)

    return min(living(tree, policy), key=key, default=None)


def living(tree: Iterable[Node], policy: SearchPolicy) -> list[Node]:
    """Lists the newest nodes of every group, where their answers may go on.

    Args:
        tree: All nodes.
        policy: Groups the nodes.
    """
    nodes = list(tree)
    rounds: dict[Path, int] = {}
    for node in nodes:
        name = policy.group(node.path)
        rounds[name] = max(rounds.get(name, 0), node.round)
    return [
        node
        for node in nodes
        if node.round == rounds[policy.group(node.path)]
        and not node.is_answer_ended
        and not node.children
        and not node.is_dominated
    ]
