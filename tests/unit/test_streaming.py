"""Streams: which events a search tells, and that what they tell is never taken back."""

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fasttts import (
    AnswerChosen,
    Event,
    FastTTS,
    Finished,
    Progress,
    Pruned,
    SearchResult,
    SearchStarted,
    StepFinished,
    StepScored,
    TextDelta,
    TrunkDelta,
    UsageReported,
)
from fasttts.backends.fake import FakeGenerator, FakeVerifier


def ended(events: list[Event]) -> SearchResult:
    last = events[-1]
    assert isinstance(last, Finished)
    return last.result


def trunk(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TrunkDelta))


def test_a_search_is_told_from_its_start_to_its_cost() -> None:
    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        events = list(engine.stream("a", n=8, max_tokens=120, seed=2))
    result = ended(events)
    assert events[0] == SearchStarted(num_beams=8)
    assert events[-3] == AnswerChosen(text=result.text, answer=result.answer, score=result.score)
    assert events[-2] == UsageReported(usage=result.usage)
    finished = [event.path for event in events if isinstance(event, StepFinished)]
    assert len(finished) == len(set(finished)) == result.usage.num_nodes
    scored = {event.path: event.score for event in events if isinstance(event, StepScored)}
    for candidate in result.candidates:
        assert scored[candidate.path] == candidate.score
    for path in [path for event in events if isinstance(event, Pruned) for path in event.paths]:
        assert not any(other[: len(path)] == path != other for other in finished)
    assert any(isinstance(event, Progress) for event in events)


@settings(max_examples=12)
@given(
    search=st.sampled_from(["beam_search", "dvts", "best_of_n", "lookahead", "self_consistency"]),
    n=st.sampled_from([2, 4]),
    seed=st.integers(0, 10_000),
    tokens=st.sampled_from([None, 150]),
)
def test_the_trunk_is_always_a_prefix_of_the_final_text(
    search: str, n: int, seed: int, tokens: int | None
) -> None:
    options: dict[str, Any] = {"search": search, "n": n, "beam_width": 2, "seed": seed}
    budget = {"tokens": tokens, "grace_tokens": 1000}
    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        events = list(engine.stream("a", budget=budget, **options))
    assert trunk(events) == ended(events).text


def test_a_plain_stream_that_a_budget_ends_is_the_results_text() -> None:
    with FastTTS(FakeGenerator()) as engine:
        events = list(engine.stream("a", search="none", budget={"tokens": 7}))
    texts = [event.text for event in events if isinstance(event, TextDelta)]
    assert "".join(texts) == ended(events).text
    assert ended(events).stop_reason == "tokens"


def test_the_same_is_told_in_an_event_loop() -> None:
    async def told() -> list[Event]:
        return [event async for event in engine.astream("a", n=4, max_tokens=120)]

    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        events = asyncio.run(told())
    assert events[0] == SearchStarted(num_beams=4)
    assert trunk(events) == ended(events).text
