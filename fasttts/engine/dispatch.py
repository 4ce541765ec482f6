"""Runs prepared searches: submits them to the loop and waits for their results.

A caller that stops waiting for a search, by an interrupt, a cancelled task or a closed stream,
stops its work.
"""

import asyncio
import contextlib
import functools
import queue
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import aclosing, closing
from typing import Protocol

from fasttts.answers.extraction import Extractor
from fasttts.decoding.tokenizer import Tokenizer
from fasttts.engine.handle import SearchHandle
from fasttts.engine.result_cache import EngineCache
from fasttts.errors import BackendError, SearchError
from fasttts.observability.requests import TrackedRequest
from fasttts.scheduling.loop_thread import LoopThread
from fasttts.scheduling.run import SearchRequest, SearchRun
from fasttts.streaming.event_log import EventLog
from fasttts.streaming.listener import SearchListener
from fasttts.types import Event, SearchResult


class MakeResult(Protocol):
    """Converts a finished run to its result; called in the thread that waits for it."""

    def __call__(
        self, run: SearchRun, extract: Extractor | None, *, total_s: float
    ) -> SearchResult:
        """Raises SearchError where there is no result."""
        ...


class Dispatch:
    """Submits searches to the loop and returns their results.

    Args:
        thread: The thread of the loop.
        tokenizer: The generator's, for streamed text.
        make_result: Converts a finished run to its result.
        begin: Registers a request.
        cache: Stored results; None computes all.
    """

    def __init__(
        self,
        thread: LoopThread,
        tokenizer: Tokenizer,
        make_result: MakeResult,
        begin: Callable[[SearchRequest], TrackedRequest],
        cache: EngineCache | None = None,
    ) -> None:
        self._thread = thread
        self._tokenizer = tokenizer
        self._make_result = make_result
        self._begin = begin
        self._cache = cache

    def start(self, run: SearchRun, extract: Extractor | None, *, is_watched: bool) -> SearchHandle:
        """Submits a search.

        Args:
            run: The search.
            extract: Finds the answer in a candidate's text; None goes by the options.
            is_watched: Whether its events are kept for readers.
        """
        return self._start(run, extract, self._find(run), is_watched=is_watched)

    async def _astart(
        self, run: SearchRun, extract: Extractor | None, *, is_watched: bool
    ) -> SearchHandle:
        """Starts as `start` does, without reading a disk in the event loop."""
        found = None if self._cache is None else await asyncio.to_thread(self._find, run)
        return self._start(run, extract, found, is_watched=is_watched)

    def _find(self, run: SearchRun) -> SearchResult | None:
        return None if self._cache is None else self._cache.find(run.request)

    def _start(
        self,
        run: SearchRun,
        extract: Extractor | None,
        found: SearchResult | None,
        *,
        is_watched: bool,
    ) -> SearchHandle:
        """Submits a search, unless its result was found."""
        log = EventLog() if is_watched else None
        call = self._begin(run.request)
        try:
            if found is not None:
                self._thread.check_accepting()
                listener = SearchListener(run, self._tokenizer, log)
                call.found(found)
                listener.on_done(run, None)
                return SearchHandle(run, self._thread, listener, log, lambda _: found)
            listener = SearchListener(run, self._tokenizer, log, call.ended)
            self._thread.submit(run, listener)
        except BackendError as error:
            call.refused(error)
            raise
        return SearchHandle(
            run, self._thread, listener, log, functools.partial(self._read, extract)
        )

    def _read(self, extract: Extractor | None, ended: SearchListener) -> SearchResult:
        """Returns the result of a search that ended, and stores it in the cache."""
        result = self._make_result(ended.future.result(), extract, total_s=ended.total_s)
        if self._cache is not None:
            self._cache.keep(ended.run.request, result)
        return result

    def run(self, run: SearchRun, extract: Extractor | None) -> SearchResult:
        """Runs one search and waits for it.

        Args:
            run: The search.
            extract: Finds the answer in a candidate's text; None goes by the options.
        """
        with self.start(run, extract, is_watched=False) as handle:
            return handle.result()

    async def arun(self, run: SearchRun, extract: Extractor | None) -> SearchResult:
        """Runs one search without blocking the event loop.

        Args:
            run: The search.
            extract: Finds the answer in a candidate's text; None goes by the options.
        """
        with await self._astart(run, extract, is_watched=False) as handle:
            return await handle.aresult()

    def stream(self, run: SearchRun, extract: Extractor | None) -> Generator[Event, None, None]:
        """Runs one search and yields its events; the work starts with the first event.

        Args:
            run: The search.
            extract: Finds the answer in a candidate's text; None goes by the options.
        """
        with (
            self.start(run, extract, is_watched=True) as handle,
            closing(handle.events()) as events,
        ):
            yield from events

    async def astream(
        self, run: SearchRun, extract: Extractor | None
    ) -> AsyncGenerator[Event, None]:
        """Streams as `stream` does, for event loops.

        Args:
            run: The search.
            extract: Finds the answer in a candidate's text; None goes by the options.
        """
        with await self._astart(run, extract, is_watched=True) as handle:
            async with aclosing(handle.aevents()) as events:
                async for event in events:
                    yield event

    def run_many(
        self,
        runs: Sequence[SearchRun],
        extract: Extractor | None,
        on_result: Callable[[int, SearchResult], None] | None,
    ) -> list[SearchResult | SearchError]:
        """Runs searches together and waits for all of them; see `FastTTS.search_many`.

        Args:
            runs: The searches.
            extract: Finds the answer in a candidate's text; None goes by the options.
            on_result: Called with index and result of each search that has one; None for no calls.
        """
        results: dict[int, SearchResult | SearchError] = {}
        ended: queue.SimpleQueue[int] = queue.SimpleQueue()
        with contextlib.ExitStack() as stack:
            handles = []
            for index, run in enumerate(runs):
                handle = stack.enter_context(self.start(run, extract, is_watched=False))
                handle.when_done(functools.partial(ended.put, index))
                handles.append(handle)
            for _ in runs:
                index = ended.get()
                try:
                    result = handles[index].result()
                except SearchError as error:
                    results[index] = error
                    continue
                results[index] = result
                if on_result is not None:
                    on_result(index, result)
        return [results[index] for index in range(len(runs))]
