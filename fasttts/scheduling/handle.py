"""A caller's end of a search: a future for its outcome and, if wanted, a sink for its events."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from fasttts.backends.base import Tokenizer
from fasttts.scheduling.run import SearchRun
from fasttts.steps import TextStream
from fasttts.tree import Node
from fasttts.types import Progress, TextDelta

Sink = Callable[[TextDelta | Progress | None], None]
"""Receives events in the loop's thread; None says that the search is over."""


class SearchHandle:
    """Listens to one run.

    Args:
        run: The run it will be submitted with.
        tokenizer: The generator's, for text deltas.
        sink: Where events go; None where nobody watches.
    """

    def __init__(self, run: SearchRun, tokenizer: Tokenizer, sink: Sink | None = None) -> None:
        self.run = run
        self.future: Future[SearchRun] = Future()
        self.future.set_running_or_notify_cancel()
        self.total_s = 0.0
        self._sink = sink
        self._started = time.perf_counter()
        self._is_plain = run.request.config.search == "none"
        self._text = TextStream(tokenizer, run.request.config.stop)

    def on_tokens(self, run: SearchRun, node: Node, token_ids: Sequence[int]) -> None:
        """Streams the text of a plain decoding."""
        if self._sink is None or not self._is_plain:
            return
        text = self._text.finish(node.text) if node.is_ended else self._text.push(token_ids)
        if text:
            self._sink(TextDelta(text=text))

    def on_commit(self, run: SearchRun) -> None:
        """Reports where the search stands."""
        if self._sink is not None and not self._is_plain:
            self._sink(self._progress(run))

    def on_done(self, run: SearchRun, error: BaseException | None) -> None:
        """Resolves the future."""
        self.total_s = time.perf_counter() - self._started
        if error is None:
            self.future.set_result(run)
        else:
            self.future.set_exception(error)
        if self._sink is not None:
            self._sink(None)

    def _progress(self, run: SearchRun) -> Progress:
        ended = run.ended_nodes()
        parents = [node.parent for node in run.frontier() if node.parent is not None]
        scored = [(run.score(node) or 0.0, node) for node in (*parents, *ended)]
        best_score, best = max(scored, key=lambda pair: pair[0], default=(None, None))
        return Progress(
            depth=run.depth,
            num_beams=len(run.frontier()),
            num_finished=len(ended),
            best_text=best.path_text() if best else "",
            best_score=best_score,
            generated_tokens=run.counts.generated_tokens,
            elapsed_s=time.perf_counter() - self._started,
        )
