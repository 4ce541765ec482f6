"""Budgets counted on the tree, so that no schedule changes where a search ends.

The measure of time is the plain loop with a slot for every beam: a node's tokens come one in each
iteration from `Node.begins_at` on, and a group decides when the last node of its frontier ends. The
horizon is the last iteration that the budget pays for. It follows from the tree alone, and the
horizon of a growing tree bounds it from above.
"""

import collections
import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fasttts.scheduling.groups import Groups
from fasttts.scheduling.node_lifecycle import NodeLifecycle
from fasttts.search.policy import SearchPolicy
from fasttts.tree import Node
from fasttts.types import Path, StopReason

if TYPE_CHECKING:
    from fasttts.scheduling.run import SearchRun

Horizon = tuple[int, StopReason]
"""The last iteration that is paid for, and the limit that ends it."""


class SearchBudget:
    """The budget of one search, and the way it ends once the budget is spent.

    Args:
        run: The search; its tree and its queues are changed when the budget ends it.
        policy: The search's.
        nodes: Starts and ends its nodes.
        groups: Its groups of beams.

    Attributes:
        stop_reason: Why the search ended, or will if nothing of the budget runs out.
        held: Beams that stand where the budget ends.
        last: The path that is finished after the end of the budget; None for none.
    """

    def __init__(
        self, run: "SearchRun", policy: SearchPolicy, nodes: NodeLifecycle, groups: Groups
    ) -> None:
        self.stop_reason: StopReason = "complete"
        self.held: set[Path] = set()
        self.last: Node | None = None
        self._run = run
        self._budget = run.request.config.budget
        self._is_counted = run.request.config.has_counted_budget
        self._policy = policy
        self._nodes = nodes
        self._groups = groups
        self._began: float | None = None
        counted = (self._budget.tokens, self._budget.verifier_calls)
        self._num_further = int(None not in counted and run.request.uses_verifier)
        """Iterations behind the horizon that have to be known: with two limits, which of them ends
        the search is only known from the iteration that neither pays for."""

    def begin(self, now: float) -> None:
        """Starts the clock; a second call has no effect."""
        if self._began is None:
            self._began = now

    def seconds_until(self, now: float) -> float:
        """Seconds from the search's submission, 0 before that."""
        return 0.0 if self._began is None else now - self._began

    def seconds_left(self, now: float) -> float | None:
        """Seconds until the deadline; None without one."""
        if self._budget.seconds is None:
            return None
        return self._budget.seconds - self.seconds_until(now)

    def keep(self, now: float) -> list[Node] | None:
        """Ends the search where a limit is reached, and the path that it then finishes.

        Speculation may complete a tree beyond its budget, so a search that is done is cut like any
        other.

        Args:
            now: The clock's seconds.

        Returns:
            The nodes that no longer run; None where the budget pays for all that is known.
        """
        spent, is_late = self._horizon(), self._is_late(now)
        if spent is None and not is_late:
            return None
        stopped: list[Node] = []
        if spent is not None:
            at, reason = spent
            stopped += self._hold(at)
            if self._is_known_until(at):
                stopped += self._cut(reason, now, at)
        if self.stop_reason == "complete" and is_late and not self._run.is_done:
            stopped += self._cut("seconds", now)
        if self._is_late(now):  # a cut gives further seconds
            stopped += self._give_up()
        return stopped

    def _is_late(self, now: float) -> bool:
        """Whether the seconds of the budget, or those to finish a path after it, are over."""
        if self._budget.seconds is None:
            return False
        grace = 0.0 if self.stop_reason == "complete" else self._budget.grace_seconds
        return self.seconds_until(now) >= self._budget.seconds + grace

    def _horizon(self) -> Horizon | None:
        """Where the budget ends, as far as the tree is known; None while it pays for all of it."""
        budget = self._budget
        if not self._is_counted or self.stop_reason != "complete":
            return None
        nodes = list(self._run.tree)
        found: list[Horizon] = []
        if budget.tokens is not None and (at := _last_paid(nodes, budget.tokens)) is not None:
            found.append((at, "tokens"))
        if budget.verifier_calls is not None and self._run.request.uses_verifier:
            ends = sorted(node.ends_at for node in nodes if node.is_ended)
            if len(ends) > budget.verifier_calls:
                found.append((ends[budget.verifier_calls] - 1, "verifier_calls"))
        return min(found, default=None)

    def _hold(self, at: int) -> list[Node]:
        """Stops beams at iteration `at` of the loop that budgets are counted by.

        Returns:
            The stopped nodes that run.
        """
        at += self._num_further
        held = [n for n in self._groups.frontier() if not n.is_ended and n.ends_at >= at]
        self.held.update(node.path for node in held)
        for node in held:
            self._run.waiting.pop(node.path, None)
        return [node for node in held if node.request_id is not None]

    def _is_known_until(self, at: int) -> bool:
        """Whether nothing up to iteration `at` remains to decode, score or decide."""
        at += self._num_further
        if not all(group.is_known_until(at) for group in self._groups):
            return False
        return not any(n.is_attached and n.ends_at <= at for n in self._run.unscored.values())

    def _cut(self, reason: StopReason, now: float, at: int | None = None) -> list[Node]:
        """Ends the search because a limit is reached, and begins to finish a path if necessary.

        Args:
            reason: Why the search ends.
            now: The clock's seconds; a path begins only if some are left for it.
            at: The last iteration that counts; None takes the tree as it is.

        Returns:
            The nodes that no longer run.
        """
        run = self._run
        running = [node for node in run.nodes() if node.request_id is not None]
        self.stop_reason = reason
        run.tree.waste(node for node in run.nodes() if not node.is_attached)
        for books in (self._groups, run.waiting, run.unscored):
            books.clear()
        if at is not None:
            run.tree.cut(at)
        for node in run.tree:
            if not node.is_ended:
                self._nodes.show(node)
        if not any(node.finish_reason == "stop" for node in run.tree):
            self._finish_best(now)
        return running

    def _give_up(self) -> list[Node]:
        """Ends the path that runs on after the end of the budget; returns its node if it runs.

        Its text may have been told by then, so it stays the result, as if its tokens had run out.
        """
        node, self.last = self.last, None
        self._run.waiting.clear()
        if node is None or node.is_ended:
            return []
        self._nodes.end(node, "length")
        return [node] if node.request_id is not None else []

    def possible_nodes(self) -> list[Node]:
        """Lists nodes of which one is on the path of the answer, if there will be one.

        Empty where branches may start before them, or a counted budget may end the search behind
        them.
        """
        if self.last is not None:
            return [self.last, *self._run.ended_nodes()]
        config = self._run.request.config
        if self._policy.is_revisiting or config.has_counted_budget:
            return []
        ended = self._run.ended_nodes()
        may_be_cut_off = not ended or config.budget.seconds is not None
        late = self.unfinished_nodes() if may_be_cut_off else []
        return [*self._groups.frontier(), *ended, *late]

    def unfinished_nodes(self) -> list[Node]:
        """Lists nodes of which one ends the answer of a search that ends without any complete one.

        A path that lost a decision is none of them: its text may contradict what was told of the
        search since. Where nothing is told before the end, as branches may start at any node, it is
        one.
        """
        if self._policy.is_revisiting:
            return [n for n in self._run.tree if not n.children and not n.limits.is_probe]
        return living(self._run.tree, self._policy)

    def _finish_best(self, now: float) -> None:
        """Lets the best living path run on; plain decoding ends where its budget does."""
        run = self._run
        node = best_partial(run.tree, self._policy)
        if node is None or run.request.config.search == "none":
            if node is not None and node.token_ids:
                self._nodes.end(node, "length")
            return
        num_left = min(self._budget.grace_tokens, self._nodes.num_left(node))
        if num_left <= 0 or self._is_late(now):
            return
        if node.is_ended:
            node = self._nodes.new(node, 0)
            run.tree.attach(node)
            node.decided_at = run.counts.num_iterations
        self._nodes.extend(node, num_left)
        self.last = node
        run.force(node)
        if not node.is_ended:
            run.waiting[node.path] = node


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
    newest: dict[Path, list[Node]] = {}
    for node in tree:
        found = newest.setdefault(policy.group(node.path), [])
        if found and node.round > found[0].round:
            found.clear()
        if not found or node.round == found[0].round:
            found.append(node)
    return [
        node
        for node in itertools.chain.from_iterable(newest.values())
        if not node.is_answer_ended
        and not node.children
        and not node.is_dominated
        and not node.limits.is_probe
    ]
