"""Finds finished steps that can no longer survive, whatever their score.

A step is dominated if the policy would not continue it even with the best score it can still get,
while every other step without a score got the worst. That conclusion holds for monotone policies
only (`SearchPolicy.is_monotone`). A step that still decodes is never dominated: its answer may end,
and then it is a candidate.
"""

from collections.abc import Callable, Sequence

from fasttts.scheduling.groups import decide
from fasttts.search.policy import Branch, SearchPolicy
from fasttts.tree import Beam, Node


def dominated(
    frontier: Sequence[Node],
    ended: Sequence[Beam],
    policy: SearchPolicy,
    best_score: Callable[[Node], float],
) -> list[Node]:
    """The finished steps of a frontier that need no score.

    Args:
        frontier: A group's nodes at the present depth.
        ended: The group's beams that ended at earlier depths.
        policy: Decides for the group.
        best_score: The highest aggregated score a node without one can still get.
    """
    if not policy.is_monotone:
        return []
    places = [i for i, n in enumerate(frontier) if n.beam is None and n.finish_reason == "step"]
    if not places:
        return []
    worst = [node.beam or _guess(node, 0.0) for node in frontier]
    if not _is_full(frontier, decide(policy, worst, ended)):
        return []
    found = []
    for place in places:
        node = frontier[place]
        beams = worst.copy()
        beams[place] = _guess(node, best_score(node))
        if all(branch.path != node.path for branch in decide(policy, beams, ended)):
            found.append(node)
    return found


def _is_full(frontier: Sequence[Node], branches: Sequence[Branch]) -> bool:
    """Whether scored beams alone take every place, the cheap necessary condition."""
    scored = {node.path for node in frontier if node.beam is not None}
    return all(branch.path in scored for branch in branches)


def _guess(node: Node, score: float) -> Beam:
    return Beam(path=node.path, score=score, is_answer_ended=node.is_answer_ended)
