"""A caller's end of a search: a future for its outcome and, if wanted, a sink for its events."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

from fasttts.backends.base import Tokenizer
from fasttts.scheduling.narration import Narrator
from fasttts.scheduling.run import SearchRun
from fasttts.steps import TextStream
from fasttts.tree import Node
from fasttts.types import (
    AnswerChosen,
    Event,
    Finished,
    Progress,
    SearchResult,
    SearchStarted,
    TextDelta,
    UsageReported,
)

Sink = Callable[[Event | None], None]
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
        self._narrator = Narrator()
        self._num_told = 0
        self._text = TextStream(tokenizer, run.request.config.stop)

    def on_tokens(self, run: SearchRun, node: Node, token_ids: Sequence[int]) -> None:
        """Streams the text of a plain decoding; tells of steps that ended."""
        if self._sink is None:
            return
        if not self._is_plain:
            self._tell(self._narrator.ended(node) if node.is_ended else iter(()))
            return
        text = self._text.finish(node.text) if node.is_ended else self._text.push(token_ids)
        if text:
            self._num_told += len(text)
            self._sink(TextDelta(text=text))

    def on_commit(self, run: SearchRun) -> None:
        """Reports where the search stands."""
        if self._sink is not None and not self._is_plain:
            self._tell(self._narrator.look(run))
            self._sink(self._progress(run))

    def opening(self) -> Iterator[Event]:
        """What is told before everything else."""
        if not self._is_plain:
            yield SearchStarted(num_beams=self.run.num_roots)

    def closing(self, result: SearchResult) -> Iterator[Event]:
        """What is told once the result is there."""
        if self._is_plain:
            if rest := result.text[self._num_told :]:
                yield TextDelta(text=rest)
        else:
            yield from self._narrator.rest(result.text)
            yield AnswerChosen(text=result.text, answer=result.answer, score=result.score)
            yield UsageReported(usage=result.usage)
        yield Finished(result=result)

    def _tell(self, events: Iterator[Event]) -> None:
        assert self._sink is not None
        for event in events:
            self._sink(event)

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
