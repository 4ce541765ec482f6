"""Listens to one search and publishes its events and its result."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

from fasttts.decoding.steps import TextStream
from fasttts.decoding.tokenizer import Tokenizer
from fasttts.scheduling.run import SearchRun
from fasttts.streaming.event_log import EventLog
from fasttts.streaming.search_events import SearchEvents
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

_PROGRESS_TOKENS = 256
"""Sampled tokens after which a search without new decisions reports its progress."""


class SearchListener:
    """Listens to one run, in the loop's thread.

    Args:
        run: The run to listen to.
        tokenizer: The generator's, for text deltas.
        log: Receives the events; None where nobody reads them.
        end: Called with run and error before the future is resolved; must not raise.
    """

    def __init__(
        self,
        run: SearchRun,
        tokenizer: Tokenizer,
        log: EventLog | None = None,
        end: Callable[[SearchRun, BaseException | None], None] = lambda run, error: None,
    ) -> None:
        self.run = run
        self._end = end
        self.future: Future[SearchRun] = Future()
        self.future.set_running_or_notify_cancel()
        self.total_s = 0.0
        self._log = log
        self._started = time.perf_counter()
        self._is_plain = run.request.config.search == "none"
        self._search_events = SearchEvents(tokenizer, run.request.config.stop)
        self._num_told = 0
        self._num_told_tokens = 0
        self._text = TextStream(tokenizer, run.request.config.stop)
        if log is not None and not self._is_plain:
            log.tell(SearchStarted(num_beams=run.num_roots))
            self._tell(self._search_events.look(run))

    def on_tokens(self, run: SearchRun, node: Node, token_ids: Sequence[int]) -> None:
        """Publishes the text of a plain decoding; of a search ended steps and the common prefix."""
        if self._log is None:
            return
        if not self._is_plain:
            self._tell(self._search_events.gained(run, node))
            if run.counts.generated_tokens - self._num_told_tokens >= _PROGRESS_TOKENS:
                self._tell_progress(run)
            return
        text = self._text.finish(node.text) if node.is_ended else self._text.push(token_ids)
        if text:
            self._num_told += len(text)
            self._log.tell(TextDelta(text=text))

    def on_commit(self, run: SearchRun) -> None:
        """Publishes the progress of the search."""
        if self._log is not None and not self._is_plain:
            self._tell(self._search_events.look(run))
            self._tell_progress(run)

    def on_done(self, run: SearchRun, error: BaseException | None) -> None:
        """Resolves the future."""
        self.total_s = time.perf_counter() - self._started
        self._end(run, error)
        if error is None:
            self.future.set_result(run)
        else:
            self.future.set_exception(error)
        if self._log is not None:
            self._log.end()

    def closing(self, result: SearchResult) -> Iterator[Event]:
        """Yields the last events of a result; may be called once."""
        if self._is_plain:
            if rest := result.text[self._num_told :]:
                yield TextDelta(text=rest)
        else:
            yield from self._search_events.rest(result.text)
            yield AnswerChosen(text=result.text, answer=result.answer, score=result.score)
            yield UsageReported(usage=result.usage)
        yield Finished(result=result)

    def _tell(self, events: Iterator[Event]) -> None:
        assert self._log is not None
        for event in events:
            self._log.tell(event)

    def _tell_progress(self, run: SearchRun) -> None:
        self._num_told_tokens = run.counts.generated_tokens
        self._tell(iter((self._progress(run),)))

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
