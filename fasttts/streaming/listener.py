"""Listens to one search and publishes its events beside its result."""

import time
from collections.abc import Callable, Iterator, Sequence

from fasttts.decoding.tokenizer import Tokenizer
from fasttts.scheduling.loop_thread import ResultListener
from fasttts.scheduling.run import SearchRun
from fasttts.streaming.event_log import EventLog
from fasttts.streaming.search_events import SearchEvents
from fasttts.streaming.text_stream import TextStream
from fasttts.streaming.token_stream import TokenStream
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


class SearchListener(ResultListener):
    """Publishes the events of one search, in the loop's thread.

    Args:
        run: As for `ResultListener`.
        tokenizer: The generator's, for text deltas.
        end: As for `ResultListener`.

    Attributes:
        log: The events, for any number of readers.
    """

    reads_tokens = True

    def __init__(
        self,
        run: SearchRun,
        tokenizer: Tokenizer,
        end: Callable[[SearchRun, BaseException | None], None] = lambda run, error: None,
    ) -> None:
        super().__init__(run, end)
        self.log = EventLog()
        self._is_plain = run.request.config.search == "none"
        self._search_events = SearchEvents(tokenizer, run.request.config.stop)
        self._num_published = 0
        self._num_published_tokens = 0
        self._text = TextStream(tokenizer, run.request.config.stop)
        num_likeliest = run.request.config.num_logprobs
        self._tokens = (
            TokenStream(tokenizer, run.request.config.stop, num_likeliest)
            if num_likeliest is not None
            else None
        )
        self._num_published_logprobs = 0
        if not self._is_plain:
            self.log.publish(SearchStarted(num_beams=run.num_roots))
            self._publish(self._search_events.look(run))

    def on_tokens(self, run: SearchRun, node: Node, token_ids: Sequence[int]) -> None:
        """Publishes plain text, or the ended steps of a search and its common prefix."""
        if not self._is_plain:
            self._publish(self._search_events.gained(run, node))
            if run.counts.generated_tokens - self._num_published_tokens >= _PROGRESS_TOKENS:
                self._publish_progress(run)
            return
        if self._tokens is not None:
            self._publish_tokens(self._tokens, node, token_ids)
            return
        text = self._text.finish(node.text) if node.is_ended else self._text.push(token_ids)
        if text:
            self._num_published += len(text)
            self.log.publish(TextDelta(text=text))

    def _publish_tokens(self, tokens: TokenStream, node: Node, token_ids: Sequence[int]) -> None:
        """Publishes plain text with its log-probabilities; `closing` does it for the end."""
        if node.is_ended:
            return
        delta = tokens.push(token_ids, node.logprobs[-len(token_ids) :])
        if delta is not None:
            self._num_published += len(delta.text)
            self._num_published_logprobs += len(delta.logprobs)
            self.log.publish(delta)

    def on_commit(self, run: SearchRun) -> None:
        """Publishes the progress of the search."""
        if not self._is_plain:
            self._publish(self._search_events.look(run))
            self._publish_progress(run)

    def on_done(self, run: SearchRun, error: BaseException | None) -> None:
        """Resolves the future and ends the log."""
        super().on_done(run, error)
        self.log.end()

    def closing(self, result: SearchResult) -> Iterator[Event]:
        """Yields the last events of a result; may be called once."""
        if self._is_plain:
            logprobs = result.logprobs[self._num_published_logprobs :]
            rest = result.text[self._num_published :]
            if rest or logprobs:
                yield TextDelta(text=rest, logprobs=logprobs)
        else:
            yield from self._search_events.rest(result.text)
            yield AnswerChosen(text=result.text, answer=result.answer, score=result.score)
            yield UsageReported(usage=result.usage)
        yield Finished(result=result)

    def _publish(self, events: Iterator[Event]) -> None:
        for event in events:
            self.log.publish(event)

    def _publish_progress(self, run: SearchRun) -> None:
        self._num_published_tokens = run.counts.generated_tokens
        self._publish(iter((self._progress(run),)))

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
