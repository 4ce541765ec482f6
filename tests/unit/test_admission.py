"""Admission control: a full queue refuses at once, says when to come back, and loses nobody."""

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from fasttts import BackendError, CapacityError, FastTTS, OverloadedError, SchedulingConfig
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.interfaces import GenerationOutput
from langchain_fasttts import ChatFastTTS

OPTIONS = {"n": 4, "max_tokens": 60}
SCHEDULING = SchedulingConfig(slots=4, max_waiting=3, speculation_rule="score")


class Held(FakeGenerator):
    """Decodes nothing before it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.may_step = threading.Event()

    def step(self) -> list[GenerationOutput]:
        assert self.may_step.wait(20)
        return super().step()


@pytest.fixture
def generator() -> Held:
    return Held()


@pytest.fixture
def engine(generator: Held) -> Iterator[FastTTS]:
    with FastTTS(generator, FakeVerifier(), scheduling=SCHEDULING) as engine:
        yield engine
        generator.may_step.set()


def fill(engine: FastTTS) -> list[Any]:
    """Submits searches until one runs and the queue is full."""
    handles = [engine.submit("running", **OPTIONS)]
    while engine.generator.num_unfinished() == 0:
        time.sleep(0.01)
    return [*handles, *(engine.submit(f"waiting {number}", **OPTIONS) for number in range(3))]


def test_a_full_queue_refuses_at_once_and_loses_nobody(engine: FastTTS, generator: Held) -> None:
    handles = fill(engine)
    with pytest.raises(OverloadedError, match="max_waiting=3: try again in") as caught:
        engine.search("one too many", **OPTIONS)
    assert caught.value.retryable
    assert caught.value.retry_after_s > 0
    assert caught.value.num_waiting == 3
    assert isinstance(caught.value, BackendError)
    assert not isinstance(caught.value, CapacityError)
    with pytest.raises(OverloadedError):
        list(engine.stream("streamed", **OPTIONS))
    with pytest.raises(OverloadedError):
        asyncio.run(engine.asearch("awaited", **OPTIONS))
    assert engine.health.is_healthy
    generator.may_step.set()
    assert all(handle.result(20).candidates for handle in handles)
    assert engine.search("now there is room", **OPTIONS).candidates
    stats = engine.stats()
    assert (stats.requests.num_open, stats.gauges.num_waiting) == (0, 0)
    assert stats.requests.ended["failed"] == 3


def test_many_problems_of_one_call_wait_for_each_other(engine: FastTTS, generator: Held) -> None:
    generator.may_step.set()
    problems = [f"problem {number}" for number in range(40)]
    results = engine.search_many(problems, **OPTIONS)
    assert len(results) == 40
    alone = engine.search("problem 7", **OPTIONS)
    assert results[7].candidates == alone.candidates  # type: ignore[union-attr]


def test_many_problems_are_refused_where_others_fill_the_queue(
    engine: FastTTS, generator: Held
) -> None:
    handles = fill(engine)
    with pytest.raises(OverloadedError):
        engine.search_many(["a", "b"], **OPTIONS)
    generator.may_step.set()
    assert all(handle.result(20).candidates for handle in handles)


def test_a_chat_framework_sees_an_error_to_retry(engine: FastTTS, generator: Held) -> None:
    handles = fill(engine)
    model = ChatFastTTS(engine=engine, max_tokens=20)
    with pytest.raises(OverloadedError):
        model.invoke("Hello")

    def let_go(*_: Any) -> None:
        generator.may_step.set()
        for handle in handles:
            handle.result(20)

    threading.Timer(0.2, let_go).start()
    patient = model.with_retry(retry_if_exception_type=(OverloadedError,), stop_after_attempt=8)
    assert patient.invoke("Hello").text
