"""Speculative steps for free slots: the predicted next frontier, and deeper ones behind it.

The policy is called with the scores known so far. Its branches from scored beams are the predicted
next steps; where some of those have ended and been scored, the policy is called one level deeper
(deep speculation). After the children of scored beams come those of beams that ended and still wait
for their score, ranked by their parent's score in bins. While no score comes, what the policy would
do is known, and kept.

The rule determines the assumed scores of beams without one. "score": as if nothing better came,
which finds work for every slot. "likely": each as the better of two known ones, so that a step is
speculated only if it would survive good scores; at 64 beams that wastes a fifth as many tokens, for
8 % more iterations.

Source: FastTTS, arXiv 2509.00195, section 4.1, which ranks by the parent's score alone, one step
    deep ("paper"). Calling the policy, and going deeper, is ours.
"""

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, TypeVar

from fasttts.config import SchedulingConfig
from fasttts.scheduling.groups import Group, unscored_beam
from fasttts.search.aggregation import count_votes
from fasttts.search.policy import Branch, SearchPolicy
from fasttts.tree import Beam, Node, SearchTree
from fasttts.types import Path

_Item = TypeVar("_Item")

Rule = Literal["score", "likely", "paper"]
Place = tuple[Beam, Node | None]
"""A beam of a predicted frontier as if it got the worst score; None where it was not started."""

Child = tuple[Node | None, Path]
"""A predicted child: its parent, None for the prompt, and its path."""

_Children = tuple[tuple[Path, ...], tuple[Beam, ...]]
"""Paths of children, and the children as if they got the worst score."""


class Guess(NamedTuple):
    """A predicted child.

    Attributes:
        parent: Its parent; None for the prompt.
        number: Its index among its siblings.
        node: The node if it was started before; else None.
    """

    parent: Node | None
    number: int
    node: Node | None


def one_of_each_in_turn(streams: Sequence[Iterator[_Item]]) -> Iterator[_Item]:
    """Returns what several streams yield, one of each in turn until the last has ended.

    Args:
        streams: None of them yields None.
    """
    if len(streams) == 1:
        return streams[0]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*streams))
    return (item for item in turns if item is not None)


def predict(
    group: Group, policy: SearchPolicy, tree: SearchTree, config: SchedulingConfig, rule: Rule
) -> Iterator[Guess]:
    """Returns unfinished steps behind the group's frontier, most useful first; lazily computed.

    Args:
        group: The group; keeps the prediction until there is news.
        policy: Predicts the branches.
        tree: The search's tree.
        config: Depth and bins of the speculation.
        rule: The assumed scores, or the paper's order.
    """
    if rule == "paper":
        return _by_parents_score(group.frontier, group.speculative, config.num_bins, policy)
    if group.prediction is None or group.prediction.rule != rule:
        group.prediction = Prediction(group, policy, tree, config, rule)
    return group.prediction.guesses()


class Prediction:
    """The steps that a group's policy would take next, level by level as they are asked for.

    They follow from the scores that are known. While none comes a prediction stays as it is,
    whatever starts or ends, so that a step that ends costs no call of the policy.

    Args:
        group: The group.
        policy: Predicts the branches.
        tree: The search's tree.
        config: Depth and bins of the speculation.
        rule: The assumed scores.

    Attributes:
        rule: The same.
    """

    def __init__(
        self,
        group: Group,
        policy: SearchPolicy,
        tree: SearchTree,
        config: SchedulingConfig,
        rule: Rule,
    ) -> None:
        self.rule = rule
        self._group = group
        self._policy = policy
        self._config = config
        self._family = _Family(tree, group)
        self._levels: list[list[Child]] = []
        self._last: list[Place] | None = [
            (unscored_beam(node.path), node) for node in group.frontier
        ]
        """The beams that the next level is behind; None where there is none."""
        self._ended = group.ended

    def guesses(self) -> Iterator[Guess]:
        """Yields the steps that are still to be decoded, most useful first."""
        speculative = self._group.speculative
        for depth in itertools.count():
            if depth == len(self._levels) and not self._deepen():
                return
            found = [(child, speculative.get(child[1])) for child in self._levels[depth]]
            found = [each for each in found if each[1] is None or each[1].finish_reason is None]
            self._levels[depth] = [child for child, _ in found]  # what has ended stays so
            for (parent, path), node in found:
                yield Guess(parent, path[-1], node)
            if depth == 0:
                waiting = [node for node in self._group.frontier if node.beam is None]
                num_bins = self._config.num_bins
                yield from _by_parents_score(waiting, speculative, num_bins, self._policy)

    def _deepen(self) -> bool:
        """Adds a level; returns whether there is one."""
        level = self._last
        if level is None or len(self._levels) == self._config.speculation_depth:
            return False
        is_likely = self.rule == "likely"
        beams = (
            _guessed(level, self._ended, self._policy) if is_likely else _unscored_as_worst(level)
        )
        branches = self._policy.expand(beams, self._ended)
        places, children = self._family.grow(branches)
        self._levels.append(children)
        self._ended = self._ended + [
            node.beam for _, node in level if node and node.beam and node.beam.is_answer_ended
        ]
        is_known = any(node is not None and node.beam is not None for _, node in places)
        goes_on = is_known or any(branch.path == () for branch in branches)
        self._last = places if goes_on else None
        return True


class _Family:
    """The predicted children, behind the existing ones.

    Args:
        tree: The search's tree.
        group: The group whose branches are predicted.
    """

    def __init__(self, tree: SearchTree, group: Group) -> None:
        self._tree = tree
        self._speculative = group.speculative
        self._nodes: dict[Path, Node | None] = {node.path: node for node in group.frontier}
        self._num_children: dict[Path, int] = {}

    def grow(self, branches: Sequence[Branch]) -> tuple[list[Place], list[Child]]:
        """All children of a prediction, and those that can be decoded already."""
        paths: list[Path] = []
        beams: list[Beam] = []
        children: list[Child] = []
        for branch in branches:
            parent = self._node(branch.path)
            own_paths, own_beams = self._next_children(branch, parent)
            paths += own_paths
            beams += own_beams
            if _is_promising(parent) if parent else not branch.path:
                children += [(parent, path) for path in own_paths]
        nodes = [*map(self._speculative.get, paths)]
        self._nodes.update(zip(paths, nodes, strict=True))
        return list(zip(beams, nodes, strict=True)), children

    def _next_children(self, branch: Branch, parent: Node | None) -> _Children:
        path = branch.path
        first = self._num_children.get(path)
        if first is None:
            is_started = parent is not None or not path
            first = len(self._tree.children(parent)) if is_started else 0
        self._num_children[path] = last = first + branch.num_children
        return _children(path, first, last)

    def _node(self, path: Path) -> Node | None:
        """The beam at a path; None where it was not started and for the prompt."""
        return self._nodes[path] if path in self._nodes else self._tree.at(path)


@functools.lru_cache(maxsize=1 << 13)
def _children(path: Path, first: int, last: int) -> _Children:
    paths = tuple((*path, number) for number in range(first, last))
    return paths, tuple(map(unscored_beam, paths))


def _is_promising(node: Node) -> bool:
    return node.beam is not None and not node.is_dominated


def _unscored_as_worst(level: Sequence[Place]) -> list[Beam]:
    """Every beam, those without a score as if nothing better came."""
    return [worst if node is None or node.beam is None else node.beam for worst, node in level]


def _guessed(level: Sequence[Place], ended: Sequence[Beam], policy: SearchPolicy) -> list[Beam]:
    """Every beam, those without a score as if each were the better of two known ones."""
    beams = [None if node is None else node.beam for _, node in level]
    scored = [beam for beam in beams if beam is not None]
    known = sorted(beam.score for beam in scored)
    guesses = iter(_better_of_two(known, len(level) - len(known)))
    answer, is_announced = None, True
    if policy.needs_answers:
        votes, is_announced = count_votes([*ended, *scored])
        # The most frequent answer, which good news would confirm.
        answer = max(votes, key=lambda answer: (votes[answer], answer), default=None)
    return [
        _guess(worst.path, next(guesses), answer, is_announced) if beam is None else beam
        for beam, (worst, _) in zip(beams, level, strict=True)
    ]


def _better_of_two(known: Sequence[float], count: int) -> list[float]:
    """`count` evenly spaced quantiles of the larger of two draws from `known`, sorted upwards."""
    if not known:
        return [0.0] * count
    shares = (math.sqrt((i + 0.5) / count) for i in range(count))
    return [known[int(share * len(known))] for share in shares]


def _guess(path: Path, score: float, answer: str | None, is_announced: bool) -> Beam:
    return Beam(
        path=path,
        score=score,
        is_answer_ended=False,
        answer=answer,
        is_announced=is_announced,
    )


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
    ended = [n for n in frontier if n.finish_reason == "step" and not n.is_dominated]
    ended = [n for n in ended if not n.is_greedy]
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
