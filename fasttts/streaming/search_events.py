"""Derives the events of a search from the changes of its tree."""

from collections.abc import Iterator, Sequence

from fasttts.decoding.tokenizer import Tokenizer
from fasttts.scheduling.run import SearchRun
from fasttts.streaming.common_prefix import CommonPrefix
from fasttts.tree import Node
from fasttts.types import Event, Path, PrefixDelta, Pruned, StepFinished, StepScored


class SearchEvents:
    """Reports each step of one search once, and the common prefix as it grows.

    Args:
        tokenizer: The generator's.
        stop: Strings that end an answer.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str]) -> None:
        self._finished: set[Path] = set()
        self._scored: set[Path] = set()
        self._pruned: set[Path] = set()
        self._common_prefix = CommonPrefix(tokenizer, stop)

    def gained(self, run: SearchRun, node: Node) -> Iterator[Event]:
        """Yields the events of a node's newest tokens.

        Args:
            run: The run.
            node: The node with new tokens.
        """
        yield from self._ended(node)
        yield from _delta(self._common_prefix.gained(run, node))

    def _ended(self, node: Node) -> Iterator[Event]:
        """Yields the end of a step, if a decision waits for it."""
        if node.is_ended and node.is_attached and node.path not in self._finished:
            self._finished.add(node.path)
            yield StepFinished(path=node.path, text=node.text)

    def look(self, run: SearchRun) -> Iterator[Event]:
        """Yields the events of all changes in the tree."""
        frontier = {node.path for node in run.frontier()}
        pruned = []
        for node in run.tree:
            if not node.is_ended:
                continue
            yield from self._ended(node)
            score = run.score(node)
            if score is not None and node.path not in self._scored:
                self._scored.add(node.path)
                yield StepScored(path=node.path, score=score)
            is_leaf = not node.children and not node.is_answer_ended
            if is_leaf and node.path not in frontier and node.path not in self._pruned:
                pruned.append(node.path)
        if pruned:
            self._pruned.update(pruned)
            yield Pruned(paths=tuple(pruned))
        yield from _delta(self._common_prefix.look(run))

    def rest(self, text: str) -> Iterator[Event]:
        """Yields the text of the chosen answer behind the common prefix."""
        yield from _delta(self._common_prefix.rest(text))


def _delta(text: str) -> Iterator[PrefixDelta]:
    if text:
        yield PrefixDelta(text=text)
