"""What a search has done since one last looked, as events."""

from collections.abc import Iterator

from fasttts.scheduling.run import SearchRun
from fasttts.tree import Node
from fasttts.types import Event, Path, Pruned, StepFinished, StepScored, TrunkDelta


class Narrator:
    """Tells each step of one search once.

    The trunk is the text that every beam and every ended answer shares, in whole steps: whatever
    wins begins with it, so nothing of it is ever taken back. Where branches may still start
    before it, or a counted budget may end the search behind it, nothing is shared for certain
    before the end.
    """

    def __init__(self) -> None:
        self._finished: set[Path] = set()
        self._scored: set[Path] = set()
        self._pruned: set[Path] = set()
        self._num_trunk = 0

    def ended(self, node: Node) -> Iterator[Event]:
        """A step that ended, if some decision waits for it."""
        if node.is_attached and node.path not in self._finished:
            self._finished.add(node.path)
            yield StepFinished(path=node.path, text=node.text)

    def look(self, run: SearchRun) -> Iterator[Event]:
        """What is new in the whole tree."""
        frontier = {node.path for node in run.frontier()}
        pruned = []
        for node in run.tree:
            if not node.is_ended:
                continue
            yield from self.ended(node)
            score = run.score(node)
            if score is not None and node.path not in self._scored:
                self._scored.add(node.path)
                yield StepScored(path=node.path, score=score)
            is_leaf = not node.children and not node.is_answer_ended
            if is_leaf and node.path not in frontier | self._pruned:
                pruned.append(node.path)
        if pruned:
            self._pruned.update(pruned)
            yield Pruned(paths=tuple(pruned))
        yield from self._grown(_trunk(run))

    def rest(self, text: str) -> Iterator[Event]:
        """What the trunk lacks of the chosen answer."""
        yield from self._grown(text)

    def _grown(self, trunk: str) -> Iterator[Event]:
        if len(trunk) > self._num_trunk:
            delta, self._num_trunk = trunk[self._num_trunk :], len(trunk)
            yield TrunkDelta(text=delta)


def _trunk(run: SearchRun) -> str:
    """The text of the ended steps that every possible answer begins with."""
    if not run.is_trunk_certain:
        return ""
    paths = [node.path for node in (*run.frontier(), *run.ended_nodes())]
    first, last = min(paths, default=()), max(paths, default=())
    ends = range(min(len(first), len(last)), 0, -1)
    shared = next((first[:end] for end in ends if first[:end] == last[:end]), ())
    node = run.tree.at(shared)
    if node is not None and not node.is_ended:
        node = node.parent
    return "" if node is None else node.path_text()
