"""Handles: a search watched, waited for and stopped from any thread."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttts import (
    BackendError,
    ConfigurationError,
    Event,
    FastTTS,
    Finished,
    SchedulingConfig,
    SearchError,
)
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.interfaces import GenerationOutput

NOTHING_AHEAD = SchedulingConfig(speculation=False)
OPTIONS = {"n": 4, "max_tokens": 60}
ENDLESS = {"n": 8, "max_tokens": 90_000}


class GatedGenerator(FakeGenerator):
    """Takes a step when the test says so, and notes what it holds at the beginning of each."""

    def __init__(self) -> None:
        super().__init__(lambda p: "word " * 20_000 if "endless" in p else None)
        self.max_model_len = 100_000
        self.held: list[tuple[int, float]] = []
        self._may_step = threading.Semaphore(0)
        self._has_begun = threading.Semaphore(0)

    def step(self) -> list[GenerationOutput]:
        self.held.append((self.num_unfinished(), self.pressure().kv_cache_usage))
        self._has_begun.release()
        assert self._may_step.acquire(timeout=20)
        return super().step()

    def until_begun(self) -> None:
        """Waits for the beginning of the next step."""
        assert self._has_begun.acquire(timeout=20)

    def advance(self) -> None:
        """Lets it take a step, and waits for the beginning of the next."""
        self._may_step.release()
        self.until_begun()

    def open(self) -> None:
        """Lets it run."""
        self._may_step.release(100_000)


@pytest.fixture
def engine() -> Iterator[FastTTS]:
    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        yield engine


@settings(max_examples=10)
@given(num_steps=st.integers(1, 40), seed=st.integers(0, 1000))
def test_what_is_cancelled_stops_within_one_iteration_and_nothing_else_changes(
    num_steps: int, seed: int
) -> None:
    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        expected = engine.search("a", seed=seed, **OPTIONS).candidates
    generator = GatedGenerator()
    with FastTTS(generator, FakeVerifier(), scheduling=NOTHING_AHEAD) as engine:
        doomed = engine.submit("endless", **ENDLESS)
        generator.until_begun()
        for _ in range(num_steps):
            generator.advance()
        kept = engine.submit("a", seed=seed, **OPTIONS)
        generator.advance()
        before = generator.held[-1]
        assert before[0] == ENDLESS["n"] + OPTIONS["n"]
        assert doomed.cancel()
        generator.advance()  # the iteration in which it was cancelled ends
        after = generator.held[-1]
        assert after[0] <= OPTIONS["n"]
        assert after[1] < before[1]
        with pytest.raises(SearchError, match="cancelled") as caught:
            doomed.result(timeout=20)
        assert caught.value.stop_reason == "cancelled"
        assert doomed.done
        assert not doomed.cancel()
        generator.open()
        assert kept.result(timeout=20).candidates == expected
    assert generator.num_unfinished() == 0


def test_a_handle_gives_what_a_search_does(engine: FastTTS) -> None:
    handle = engine.submit("a", **OPTIONS)
    result = handle.result()
    assert handle.done
    assert result.candidates == engine.search("a", **OPTIONS).candidates
    assert handle.result() is result
    assert not handle.cancel()


def test_every_reader_is_told_everything(engine: FastTTS) -> None:
    async def told() -> list[Event]:
        return [event async for event in handle.aevents()]

    handle = engine.submit("a", **OPTIONS)
    with ThreadPoolExecutor(6) as pool:
        readers = [pool.submit(lambda: list(handle.events())) for _ in range(4)]
        readers += [pool.submit(lambda: asyncio.run(told())) for _ in range(2)]
        streams = [reader.result() for reader in readers]
    assert all(events == streams[0] for events in streams)
    assert streams[0][-1] == Finished(result=handle.result())
    assert list(handle.events()) == streams[0]


def test_waiting_ends_and_the_search_goes_on() -> None:
    generator = GatedGenerator()
    with FastTTS(generator, FakeVerifier()) as engine:
        handle = engine.submit("a", **OPTIONS)
        with pytest.raises(TimeoutError):
            handle.result(timeout=0.01)
        assert not handle.done
        generator.open()
        assert handle.result(timeout=20).candidates


async def test_waiting_in_an_event_loop_ends_and_the_search_goes_on() -> None:
    generator = GatedGenerator()
    with FastTTS(generator, FakeVerifier()) as engine:
        handle = engine.submit("a", **OPTIONS)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(handle.aresult(), 0.01)
        generator.open()
        assert await handle.aresult() == handle.result()


def test_leaving_the_block_of_a_handle_stops_its_search() -> None:
    generator = GatedGenerator()
    with FastTTS(generator, FakeVerifier()) as engine:
        with engine.submit("endless", **ENDLESS) as handle:
            generator.until_begun()
        generator.open()
        with pytest.raises(SearchError, match="cancelled"):
            list(handle.events())
        engine.search("a", **OPTIONS)
        assert generator.num_unfinished() == 0


def test_a_reader_that_leaves_stops_nothing(engine: FastTTS) -> None:
    handle = engine.submit("a", **OPTIONS)
    events = handle.events()
    next(events)
    events.close()
    assert handle.result(timeout=20).candidates


def test_bad_input_and_a_closed_engine_are_refused_at_once(engine: FastTTS) -> None:
    with pytest.raises(ConfigurationError, match="the prompt is empty"):
        engine.submit("")
    engine.close()
    with pytest.raises(BackendError, match="the engine is closed"):
        engine.submit("a")
