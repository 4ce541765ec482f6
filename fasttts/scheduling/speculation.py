"""Which steps free slots run ahead: the predicted next frontier, and the ones behind it.

A policy is asked what it would do if nothing better came: beams without a score take part with
score 0. Its branches from scored beams are the predicted next steps; where some of those have
ended and been scored, the same question is asked one level deeper (deep speculation). After the
children of scored beams come those of beams that ended and still wait for their score, ranked by
their parent's score in bins.

Source: FastTTS, arXiv 2509.00195, section 4.1, which ranks by the parent's score alone, one step
ahead (`speculation_rule="paper"`). Asking the policy, and going deeper, is ours.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from fasttts.config import SchedulingConfig
from fasttts.search.policy import SearchPolicy
from fasttts.tree import Beam, Node
from fasttts.types import Path


@dataclass(slots=True)
class Group:
    """Beams that decide together.

    Attributes:
        frontier: The nodes whose scores the next decision waits for, in path order.
        ended: Beams whose answers ended at earlier depths.
        ahead: Speculative nodes below the frontier.
    """

    frontier: list[Node] = field(default_factory=list)
    ended: list[Beam] = field(default_factory=list)
    ahead: dict[Path, Node] = field(default_factory=dict)


class Guess(NamedTuple):
    """Child `number` of `parent`; `node` where it was started before."""

    parent: Node
    number: int
    node: Node | None


def predict(group: Group, policy: SearchPolicy, config: SchedulingConfig) -> Iterator[Guess]:
    """Unfinished steps behind the group's frontier, most useful first; lazily computed."""
    if config.speculation_rule == "paper":
        yield from _by_parents_score(group.frontier, group.ahead, config.num_bins, policy)
        return
    level: list[tuple[Path, Node | None]] = [(node.path, node) for node in group.frontier]
    ended = group.ended
    for depth in itertools.count():
        if depth == config.speculation_depth:
            return
        children = []
        for guess in _children(level, ended, policy, group.ahead):
            children.append(((*guess.parent.path, guess.number), guess.node))
            if guess.node is None or guess.node.finish_reason is None:
                yield guess
        if depth == 0:
            waiting = [node for node in group.frontier if node.beam is None]
            yield from _by_parents_score(waiting, group.ahead, config.num_bins, policy)
        if not any(node is not None and node.beam is not None for _, node in children):
            return
        ended = ended + [n.beam for _, n in level if n and n.beam and n.beam.is_answer_ended]
        level = children


def _children(
    level: Sequence[tuple[Path, Node | None]],
    ended: Sequence[Beam],
    policy: SearchPolicy,
    ahead: Mapping[Path, Node],
) -> Iterator[Guess]:
    """What the policy would start now, from beams whose score is known."""
    beams = [_beam(path, node) for path, node in level]
    nodes = {path: node for path, node in level if node is not None and _is_promising(node)}
    for branch in policy.expand(beams, ended):
        parent = nodes.get(branch.path)
        if parent is not None:
            yield from _branch(parent, branch.num_children, ahead)


def _is_promising(node: Node) -> bool:
    return node.beam is not None and not node.is_hopeless


def _beam(path: Path, node: Node | None) -> Beam:
    if node is None or node.beam is None:
        return Beam(path=path, score=0.0, is_answer_ended=False)
    return node.beam


def _branch(parent: Node, num_children: int, ahead: Mapping[Path, Node]) -> Iterator[Guess]:
    return (Guess(parent, j, ahead.get((*parent.path, j))) for j in range(num_children))


def _by_parents_score(
    frontier: Sequence[Node], ahead: Mapping[Path, Node], num_bins: int, policy: SearchPolicy
) -> Iterator[Guess]:
    """Children of ended nodes, ranked by their parent's score in `num_bins` equal bins of [0, 1].

    A root has no parent and falls into the last bin.
    """
    if not policy.needs_scores:
        return
    ended = [n for n in frontier if n.finish_reason == "step" and not n.is_hopeless]
    ranked = sorted(ended, key=lambda node: (_bin(node, num_bins), node.path))
    for node in ranked:
        num_children = num_bins - _bin(node, num_bins) + 1
        for guess in _branch(node, num_children, ahead):
            if guess.node is None or not guess.node.is_ended:
                yield guess


def _bin(node: Node, num_bins: int) -> int:
    """1 for the best scores."""
    parent = node.parent
    score = parent.beam.score if parent and parent.beam else 0.0
    return num_bins - min(int(score * num_bins), num_bins - 1)
