"""Mixed calls from threads and tasks at once: one outcome each, the right one, and no leak.

A longer one is run by hand, with NUM_CALLS raised.
"""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fasttts import Budget, FastTTS, Finished, SearchError, SearchResult
from fasttts.backends.fake import FakeGenerator, FakeVerifier

NUM_CALLS = 2500
NUM_WORKERS = 32
KINDS = ("plain", "search", "stream", "dropped", "late", "counted")


def options(number: int) -> dict[str, Any]:
    kind, seed = KINDS[number % len(KINDS)], number % 5
    if kind == "plain":
        return {"search": "none", "max_tokens": 30, "seed": seed, "temperature": 1.0}
    budget = Budget()
    if kind == "late":
        budget = Budget(seconds=0.001)
    if kind == "counted":
        budget = Budget(tokens=60)
    return {"n": 4, "max_tokens": 50, "seed": seed, "budget": budget}


def found(result: SearchResult) -> object:
    return result.candidates, result.stop_reason


def call(engine: FastTTS, number: int) -> object:
    kind = KINDS[number % len(KINDS)]
    try:
        if kind in ("stream", "dropped"):
            events = engine.stream("a", **options(number))
            first = next(events)
            if kind == "dropped":
                events.close()
                return "dropped"
            *_, last = [first, *events]
            assert isinstance(last, Finished)
            return found(last.result)
        return found(engine.search("a", **options(number)))
    except SearchError as error:
        return error.stop_reason


async def acall(engine: FastTTS, number: int) -> object:
    kind = KINDS[number % len(KINDS)]
    task = asyncio.create_task(engine.asearch("a", **options(number)))
    if kind == "dropped":
        await asyncio.sleep(0.001 * (number % 7))
        task.cancel()
    try:
        return found(await task)
    except SearchError as error:
        return error.stop_reason
    except asyncio.CancelledError:
        return "dropped"


async def acalls(engine: FastTTS, numbers: range) -> list[object]:
    places = asyncio.Semaphore(NUM_WORKERS)

    async def one(number: int) -> object:
        async with places:
            return await acall(engine, number)

    return await asyncio.gather(*(one(number) for number in numbers))


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.timeout(170)
def test_every_call_has_its_own_outcome_and_nothing_leaks() -> None:
    num_threads = threading.active_count()
    generator = FakeGenerator(max_num_seqs=24)
    with FastTTS(generator, FakeVerifier()) as engine:
        alone = {
            number: call(engine, number)
            for number in range(5 * len(KINDS))
            if KINDS[number % len(KINDS)] not in ("dropped", "late")
        }
        with ThreadPoolExecutor(NUM_WORKERS + 1) as pool:
            tasks = pool.submit(lambda: asyncio.run(acalls(engine, range(NUM_CALLS))))
            outcomes = list(pool.map(lambda number: call(engine, number), range(NUM_CALLS)))
            for kept in (outcomes, tasks.result()):
                assert len(kept) == NUM_CALLS
                for number, outcome in enumerate(kept):
                    expected = alone.get(number % (5 * len(KINDS)))
                    assert expected is None or outcome == expected
        call(engine, 0)  # runs after the last cancellation
        assert not engine._core._thread._loop.has_work
        assert generator.num_unfinished() == 0
        assert generator.pressure().kv_cache_usage == 0.0
        engine._core._thread._loop.check_integrity()
    assert threading.active_count() <= num_threads
