"""Groups of beams that decide together, and the steps that each decision still needs."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fasttts.search.policy import Branch, SearchPolicy
from fasttts.tree import Beam, Node
from fasttts.types import Path

if TYPE_CHECKING:
    from fasttts.scheduling.speculation import Prediction


@dataclass(slots=True)
class Group:
    """Beams that decide together.

    Attributes:
        frontier: The nodes whose scores the next decision waits for, in path order.
        ended: Beams whose answers ended at earlier depths.
        speculative: Speculative nodes below the frontier, by path.
        num_unended: Nodes of the frontier that still decode.
        prediction: What the policy would do with the scores that are known.
    """

    frontier: list[Node] = field(default_factory=list)
    ended: list[Beam] = field(default_factory=list)
    speculative: dict[Path, Node] = field(default_factory=dict)
    num_unended: int = 0
    prediction: "Prediction | None" = None
    _known: tuple[int, int] = (0, 0)

    def has_news(self) -> bool:
        """Whether a beam of the frontier was scored or ended since the last call."""
        num_scored = sum(node.beam is not None for node in self.frontier)
        num_finished = sum(node.finish_reason is not None for node in self.frontier)
        before, self._known = self._known, (num_scored, num_finished)
        return before != self._known

    def is_known_until(self, at: int) -> bool:
        """Whether nothing up to iteration `at` remains to decode or decide.

        The iterations are those of a plain loop with room for every beam; see
        `scheduling/budget.py`.
        """
        if self.num_unended == 0:
            return max(node.ends_at for node in self.frontier) >= at
        return all(node.is_ended or node.ends_at >= at for node in self.frontier)

    def drop_behind(self, node: Node) -> list[Node]:
        """Removes the speculative nodes below one of the frontier and returns them."""
        behind = [path for path in self.speculative if path[: node.depth] == node.path]
        return [self.speculative.pop(path) for path in behind]


class Groups:
    """The undecided groups of one search; empty once everything is decided.

    Args:
        policy: Groups the beams, and determines whether they need scores.
    """

    def __init__(self, policy: SearchPolicy) -> None:
        self._policy = policy
        self._by_name: dict[Path, Group] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[Group]:
        return iter(self._by_name.values())

    def of(self, node: Node) -> Group:
        """Returns the group of a node or of its attached ancestor."""
        return self._by_name[self._policy.group(node.path)]

    def frontier(self) -> list[Node]:
        """The beams under consideration."""
        return [node for group in self for node in group.frontier]

    def enter(self, node: Node, ended: list[Beam]) -> None:
        """Adds a node to its group's frontier.

        Args:
            node: The node.
            ended: Ended beams that a new group begins with.
        """
        name = self._policy.group(node.path)
        group = self._by_name.setdefault(name, Group(ended=ended))
        group.frontier.append(node)
        group.num_unended += not node.is_ended

    def heard_of(self, node: Node) -> None:
        """Forgets the prediction of a node's group, since the node's beam is known.

        Args:
            node: The node, or a speculative one below.
        """
        group = self._by_name.get(self._policy.group(node.path))
        if group is not None:  # not decided without it
            group.prediction = None

    def inherit(self, ahead: Iterable[Node], frontier: Iterable[Node]) -> list[Node]:
        """Passes the speculative nodes of a decided group to the new frontier.

        Args:
            ahead: Speculative nodes below the decided frontier.
            frontier: The nodes of the decision's branches.

        Returns:
            Nodes that no branch can start any more.
        """
        growing = {node.path for node in frontier}
        if self._policy.is_revisiting:
            growing |= {path[:end] for path in growing for end in range(len(path))}
        dropped = []
        for node in ahead:
            if _attached_ancestor(node) in growing:
                self.of(node).speculative[node.path] = node
            else:
                dropped.append(node)
        return dropped

    def take_ready(self) -> list[Group]:
        """Removes and returns the groups that can be decided."""
        ready = [name for name, group in self._by_name.items() if self._is_ready(group)]
        return [self._by_name.pop(name) for name in ready]

    def is_awaiting_scores(self) -> bool:
        """Whether a decision waits for nothing but scores."""
        return any(group.num_unended == 0 and not self._is_ready(group) for group in self)

    def clear(self) -> None:
        """Removes all groups undecided."""
        self._by_name.clear()

    def check_integrity(self) -> None:
        """Recounts the frontiers and the speculative nodes below them.

        Raises:
            AssertionError: The state is inconsistent.
        """
        for group in self:
            assert group.num_unended == sum(not node.is_ended for node in group.frontier)
            for path, node in group.speculative.items():
                assert node.path == path
                assert node.parent is None or node.parent.finish_reason == "step"

    def _is_ready(self, group: Group) -> bool:
        """Whether every beam of the frontier ended, and is scored and answered as far as needed."""
        return not group.num_unended and all(node.beam for node in group.frontier)


def dominated(
    frontier: Sequence[Node],
    ended: Sequence[Beam],
    policy: SearchPolicy,
    best_score: Callable[[Node], float],
) -> list[Node]:
    """Finds finished steps that can no longer survive, whatever their score (early stop).

    The policy would not continue such a step even with the best score it can still get, while every
    other step without a score got the worst. That conclusion holds for monotone policies only
    (`SearchPolicy.is_monotone`). A step that still decodes is never dominated: its answer may end,
    and then it is a candidate.

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
    worst = [node.beam or unscored_beam(node.path, node.is_answer_ended) for node in frontier]
    if not _is_full(frontier, policy.expand(worst, ended)):
        return []
    found = []
    for place in places:
        node = frontier[place]
        beams = worst.copy()
        beams[place] = replace(worst[place], score=best_score(node))
        if all(branch.path != node.path for branch in policy.expand(beams, ended)):
            found.append(node)
    return found


def _is_full(frontier: Sequence[Node], branches: Sequence[Branch]) -> bool:
    """Whether scored beams alone take every place, the cheap necessary condition."""
    scored = {node.path for node in frontier if node.beam is not None}
    return all(branch.path in scored for branch in branches)


@functools.lru_cache(maxsize=1 << 14)
def unscored_beam(path: Path, is_answer_ended: bool = False) -> Beam:
    """A beam without a score, as if it got the worst; kept, since predictions ask for it often.

    Args:
        path: Its position.
        is_answer_ended: Whether nothing can follow it.
    """
    return Beam(path=path, score=0.0, is_answer_ended=is_answer_ended)


def _attached_ancestor(node: Node) -> Path:
    """The path of the nearest ancestor in the tree; the prompt's where there is none."""
    parent = node.parent
    while parent is not None and not parent.is_attached:
        parent = parent.parent
    return () if parent is None else parent.path
