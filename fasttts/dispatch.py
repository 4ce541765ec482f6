"""Prepared searches on their way to results: waited for, awaited, told as they happen.

Whoever stops waiting for a search, by an interrupt, a cancelled task or a closed stream, stops its
work.
"""

import asyncio
import contextlib
import functools
import queue
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from fasttts.backends.base import Tokenizer
from fasttts.errors import SearchError
from fasttts.scheduling.driver import LoopThread
from fasttts.scheduling.handle import SearchHandle, Sink
from fasttts.scheduling.run import SearchRun
from fasttts.search.extraction import Extractor
from fasttts.types import Event, SearchResult


class MakeResult(Protocol):
    """A finished run to its result; called in the thread that waits for it."""

    def __call__(
        self, run: SearchRun, extract: Extractor | None, *, total_s: float
    ) -> SearchResult:
        """Raises SearchError where there is no result."""
        ...


class Dispatch:
    """Hands searches to the loop and brings their results back.

    Args:
        thread: Where the searches run.
        tokenizer: The generator's, for streamed text.
        make_result: What a finished run becomes.
    """

    def __init__(self, thread: LoopThread, tokenizer: Tokenizer, make_result: MakeResult) -> None:
        self._thread = thread
        self._tokenizer = tokenizer
        self._make_result = make_result

    def run(self, run: SearchRun, extract: Extractor | None) -> SearchResult:
        """Waits for one search."""
        with self._in_flight(run) as handle:
            return self._result(handle, extract)

    async def arun(self, run: SearchRun, extract: Extractor | None) -> SearchResult:
        """Waits for one search without holding up the event loop."""
        with self._in_flight(run) as handle:
            await asyncio.wrap_future(handle.future)
            return await asyncio.to_thread(self._result, handle, extract)

    def run_many(
        self,
        runs: Sequence[SearchRun],
        extract: Extractor | None,
        on_result: Callable[[int, SearchResult], None] | None,
    ) -> list[SearchResult | SearchError]:
        """Waits for all of them; see `FastTTS.search_many`."""
        results: dict[int, SearchResult | SearchError] = {}
        with self._all_in_flight(runs) as ended:
            for index, handle in ended:
                try:
                    result = self._result(handle, extract)
                except SearchError as error:
                    results[index] = error
                    continue
                results[index] = result
                if on_result is not None:
                    on_result(index, result)
        return [results[index] for index in range(len(runs))]

    def stream(self, run: SearchRun, extract: Extractor | None) -> Generator[Event, None, None]:
        """Tells one search as it happens; the work starts with the first event."""
        events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        with self._in_flight(run, events.put) as handle:
            yield from handle.opening()
            while (event := events.get()) is not None:
                yield event
            yield from handle.closing(self._result(handle, extract))

    async def astream(
        self, run: SearchRun, extract: Extractor | None
    ) -> AsyncGenerator[Event, None]:
        """`stream` for event loops."""
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        put = functools.partial(_call_soon, asyncio.get_running_loop(), events.put_nowait)
        with self._in_flight(run, put) as handle:
            for opened in handle.opening():
                yield opened
            while (event := await events.get()) is not None:
                yield event
            result = await asyncio.to_thread(self._result, handle, extract)
            for closed in handle.closing(result):
                yield closed

    @contextlib.contextmanager
    def _in_flight(self, run: SearchRun, sink: Sink | None = None) -> Iterator[SearchHandle]:
        """A submitted search; one that has not ended when the caller leaves is cancelled."""
        handle = SearchHandle(run, self._tokenizer, sink)
        self._thread.submit(run, handle)
        try:
            yield handle
        finally:
            if not handle.future.done():
                self._thread.cancel(run)

    @contextlib.contextmanager
    def _all_in_flight(
        self, runs: Sequence[SearchRun]
    ) -> Iterator[Iterator[tuple[int, SearchHandle]]]:
        """Submitted searches with their indices, in the order in which they end."""
        done: queue.SimpleQueue[tuple[int, SearchHandle]] = queue.SimpleQueue()
        with contextlib.ExitStack() as stack:
            for index, run in enumerate(runs):
                handle = stack.enter_context(self._in_flight(run))
                handle.future.add_done_callback(functools.partial(_put, done, (index, handle)))
            yield (done.get() for _ in runs)

    def _result(self, handle: SearchHandle, extract: Extractor | None) -> SearchResult:
        return self._make_result(handle.future.result(), extract, total_s=handle.total_s)


def _put(
    done: "queue.SimpleQueue[tuple[int, SearchHandle]]",
    ended: tuple[int, SearchHandle],
    _: "Future[SearchRun]",
) -> None:
    done.put(ended)


def _call_soon(
    loop: asyncio.AbstractEventLoop, put: Callable[[Any], None], event: Event | None
) -> None:
    """Hands an event to an event loop that may be gone: then nobody waits for it."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(put, event)
