"""The common prefix of all possible answers of a search, as it grows token by token.

The winning answer begins with it, so it never shrinks. While the living paths differ behind it,
their tokens are not read until a decision leaves fewer paths.
"""

import os.path
from collections.abc import Sequence

from fasttts.decoding.tokenizer import Tokenizer
from fasttts.scheduling.run import SearchRun
from fasttts.streaming.text_stream import TextStream
from fasttts.tree import Node
from fasttts.types import StopReason


class CommonPrefix:
    """The common prefix of one search.

    Args:
        tokenizer: The generator's.
        stop: Strings that end an answer, and are no part of it.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._stop = stop
        self._num_published = 0
        self._paths: dict[Node, _Path] = {}
        self._is_divided = False
        self._seen: StopReason = "complete"

    def look(self, run: SearchRun) -> str:
        """Returns the new text of the common prefix after the living paths may have changed."""
        self._seen = run.budget.stop_reason
        known, self._paths = self._paths, {}
        for node in run.budget.possible_nodes():
            self._paths[node] = known.get(node) or self._path(node)
            self._paths[node].read()
        return self._grow()

    def gained(self, run: SearchRun, node: Node) -> str:
        """Returns the new text of the common prefix after a node has grown.

        Args:
            run: The run.
            node: The node with new tokens.
        """
        if run.budget.stop_reason != self._seen:
            return self.look(run)  # a budget has ended, and left one path
        if self._is_divided or node not in self._paths:
            return ""
        self._paths[node].read()
        return self._grow()

    def rest(self, text: str) -> str:
        """Returns the text of the chosen answer behind the common prefix."""
        told, self._num_published = self._num_published, len(text)
        return text[told:]

    def _path(self, node: Node) -> "_Path":
        held = node.text_before()[self._num_published :]
        return _Path(node, TextStream(self._tokenizer, self._stop, held), self._num_published)

    def _grow(self) -> str:
        paths = self._paths.values()
        self._is_divided = False
        if not paths or not all(path.ahead for path in paths):
            return ""
        texts = [path.ahead for path in paths]
        shared: str = os.path.commonprefix(texts)  # noqa: RUF071, compares characters, not path components
        self._is_divided = not shared
        for path in paths:
            path.ahead = path.ahead[len(shared) :]
        self._num_published += len(shared)
        return shared


class _Path:
    """A path that the answer may be on, and its certain text behind the common prefix.

    Args:
        node: The newest node of the path.
        stream: Reads the path from `start` on.
        start: Characters of the path before that.
    """

    def __init__(self, node: Node, stream: TextStream, start: int) -> None:
        self.ahead = stream.push(())
        self._node = node
        self._stream = stream
        self._start = start
        self._num_read = 0
        self._is_whole = False

    def read(self) -> None:
        """Reads the node's new tokens, as far as no further token can change their text."""
        if self._is_whole:
            return
        node = self._node
        if node.is_ended:
            self._is_whole = True
            text = node.path_text()[self._start :]
            if not node.is_answer_ended:
                text = text[: self._stream.num_certain(text)]
            self.ahead += self._stream.finish(text)
        elif new := node.token_ids[self._num_read :]:
            self._num_read += len(new)
            self.ahead += self._stream.push(new)
