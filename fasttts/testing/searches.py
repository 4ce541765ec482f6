"""Searches that run synchronously, with a check after every iteration, and comparable trees."""

from collections.abc import Callable, Sequence

from fasttts.scheduling.loop import Loop
from fasttts.scheduling.run import SearchRun
from fasttts.tree import Node

Snapshot = list[tuple[object, ...]]
"""All results of a search's decisions: a row for each node, in depth-first order."""

MAX_ITERATIONS = 20_000


class Recorder:
    """A listener that records the outcome."""

    reads_tokens = True

    def __init__(self) -> None:
        self.outcomes: list[BaseException | None] = []
        self.num_commits = 0

    def on_tokens(self, run: SearchRun, node: Node, token_ids: Sequence[int]) -> None:
        """Checks that the node has the tokens."""
        assert node.token_ids[len(node.token_ids) - len(token_ids) :] == list(token_ids)

    def on_commit(self, run: SearchRun) -> None:
        """Counts the decisions."""
        self.num_commits += 1

    def on_done(self, run: SearchRun, error: BaseException | None) -> None:
        """Records how the search ended; None is success."""
        self.outcomes.append(error)


def drive(loop: Loop, after_step: Callable[[int], None] = lambda _: None) -> int:
    """Runs all searches to their end and returns the number of iterations.

    Args:
        loop: The loop that holds the searches.
        after_step: Called after each iteration with its number, from 0.

    Raises:
        AssertionError: The state of the loop is inconsistent, or it does not end.
    """
    for iteration in range(MAX_ITERATIONS):
        if not loop.has_work:
            return iteration
        loop.step()
        loop.check_integrity()
        after_step(iteration)
    raise AssertionError("the loop does not end")


def snapshot(run: SearchRun) -> Snapshot:
    """Lists the nodes of a run's tree."""
    return [
        (n.path, n.seed, tuple(n.token_ids), n.text, n.scores_S, n.finish_reason, n.num_cut_chars)
        for n in run.tree
    ]


def same_tree(run: SearchRun, expected: Snapshot) -> bool:
    """Whether a run's tree is the expected one; a dominated step may lack its score.

    Args:
        run: The run to check.
        expected: A snapshot of the plain loop's run.
    """
    found = snapshot(run)
    given_up = {node.path for node in run.tree if node.is_dominated}
    assert all(not node.children for node in run.tree if node.is_dominated)
    return len(found) == len(expected) and all(
        (one[:4] == other[:4] and one[5:] == other[5:]) if one[0] in given_up else one == other
        for one, other in zip(found, expected, strict=True)
    )
