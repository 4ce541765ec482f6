"""Mixed calls from threads and tasks at once: plain, searched, streamed, dropped, late, counted.

Each call has one outcome, that of the same call alone, and leaves nothing behind. The tests soak
both backends with it, the benchmark of the service counts what was lost and leaked.
"""

import asyncio
import gc
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from fasttts import (
    BackendError,
    Budget,
    FastTTS,
    Finished,
    OverloadedError,
    SearchError,
    SearchResult,
)
from fasttts.tree import Node

KINDS: tuple[str, ...] = ("plain", "search", "stream", "dropped", "late", "counted")
NUM_SEEDS = 5
_UNCERTAIN = ("dropped", "late")
_RETRY_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    """What came of it.

    Attributes:
        calls: Calls made.
        lost: Those without an outcome, or with another one than alone.
        leaked: What they left: sequences, nodes, threads, files, and 1 where the KV cache is
            fuller than before.
    """

    calls: int
    lost: int
    leaked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedCalls:
    """The calls of one soak, by number.

    Attributes:
        engine: Answers them.
        problem: What all of them ask.
        max_tokens: Longest answer of a search.
        kinds: Of the calls, which take turns.
        refused: The numbers of calls that were refused since the queue was full, each as often as
            it was; such a call is made again.
    """

    engine: FastTTS
    problem: str
    max_tokens: int
    kinds: tuple[str, ...] = KINDS
    refused: list[int] = field(default_factory=list)

    def soak(self, num_calls: int, num_workers: int) -> Soak:
        """Makes half of the calls from threads, half from tasks of one event loop."""
        numbers = range(num_calls // 2)
        alone = {number: self.call(number) for number in numbers[: NUM_SEEDS * len(self.kinds)]}
        before = self._held()
        with ThreadPoolExecutor(num_workers + 1) as pool:
            tasks = pool.submit(lambda: asyncio.run(self._acalls(numbers, num_workers)))
            outcomes = [*pool.map(self.call, numbers), *tasks.result()]
        self.call(0)  # runs after the last cancellation
        after = self._held()
        expected = [alone[number % len(alone)] for number in numbers] * 2
        kinds = [self.kind(number) for number in numbers] * 2
        lost = sum(
            found is None or (kind not in _UNCERTAIN and found != right)
            for kind, found, right in zip(kinds, outcomes, expected, strict=True)
        )
        leaked = sum(max(0, now - then) for now, then in zip(after, before, strict=True))
        return Soak(calls=len(outcomes), lost=lost, leaked=leaked)

    def call(self, number: int) -> object:
        """The outcome of one call; None where it is none that is documented."""
        while True:
            try:
                if self.kind(number) in ("stream", "dropped"):
                    return self._stream(number)
                return _found(self.engine.search(self.problem_of(number), **self.options(number)))
            except OverloadedError:
                self.refused.append(number)
                time.sleep(_RETRY_S)
            except (SearchError, BackendError) as error:
                return _outcome(error)

    def _stream(self, number: int) -> object:
        events = self.engine.stream(self.problem_of(number), **self.options(number))
        first = next(events)
        if self.kind(number) == "dropped":
            events.close()
            return "dropped"
        *_, last = [first, *events]
        return _found(last.result) if isinstance(last, Finished) else None

    async def acall(self, number: int) -> object:
        """`call` in an event loop; what is dropped is cancelled after a while."""
        while True:
            search = self.engine.asearch(self.problem_of(number), **self.options(number))
            task = asyncio.create_task(search)
            if self.kind(number) == "dropped":
                await asyncio.sleep(0.001 * (number % 7))
                task.cancel()
            try:
                return _found(await task)
            except OverloadedError:
                self.refused.append(number)
                await asyncio.sleep(_RETRY_S)
            except (SearchError, BackendError) as error:
                return _outcome(error)
            except asyncio.CancelledError:
                return "dropped"

    async def _acalls(self, numbers: Sequence[int], num_workers: int) -> list[object]:
        places = asyncio.Semaphore(num_workers)

        async def one(number: int) -> object:
            async with places:
                return await self.acall(number)

        return await asyncio.gather(*(one(number) for number in numbers))

    def kind(self, number: int) -> str:
        """What sort of call it is."""
        return self.kinds[number % len(self.kinds)]

    def problem_of(self, number: int) -> Any:
        """The problem of a call."""
        return self.problem

    def options(self, number: int) -> dict[str, Any]:
        """The options of a call."""
        kind, seed = self.kind(number), number % NUM_SEEDS
        if kind == "plain":
            return {"search": "none", "max_tokens": 30, "seed": seed, "temperature": 1.0}
        budgets = {"late": Budget(seconds=0.001), "counted": Budget(tokens=60)}
        budget = budgets.get(kind, Budget())
        return {"n": 4, "max_tokens": self.max_tokens, "seed": seed, "budget": budget}

    def _held(self) -> tuple[int, ...]:
        """What is held while nothing runs; the last is the KV cache, in millionths."""
        gc.collect()
        generator = self.engine.generator
        num_nodes = sum(isinstance(one, Node) for one in gc.get_objects())
        num_files = len(os.listdir("/proc/self/fd"))
        usage = round(1e6 * generator.pressure().kv_cache_usage)
        held = (generator.num_unfinished(), num_nodes, threading.active_count(), num_files)
        return (*held, min(1, usage))


def _outcome(error: SearchError | BackendError) -> str:
    return error.stop_reason if isinstance(error, SearchError) else type(error).__name__


def _found(result: SearchResult) -> object:
    return result.candidates, result.stop_reason
