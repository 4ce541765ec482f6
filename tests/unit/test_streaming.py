"""Streams: which events a search tells, and that what they tell is never taken back."""

import asyncio
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fasttts import (
    AnswerChosen,
    Event,
    FastTTS,
    Finished,
    PrefixDelta,
    Progress,
    Pruned,
    SchedulingConfig,
    SearchError,
    SearchResult,
    SearchStarted,
    StepFinished,
    StepScored,
    TextDelta,
    UsageReported,
)
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.config import PLAIN, SearchConfig, SearchMethod, search_config
from fasttts.scheduling.loop import Loop
from fasttts.scheduling.result import make_result
from fasttts.search import Beam, Branch, StepPolicy
from fasttts.streaming.event_log import EventLog
from fasttts.streaming.listener import SearchListener
from fasttts.types import Path
from tests.drafters import Mixed
from tests.searches import UNTIMED, drive, make_run, marked_generator

ANSWER = "Two and two: 2 + 2 = 4.\n\nThe answer is \\boxed{4}."


def ended(events: list[Event]) -> SearchResult:
    last = events[-1]
    assert isinstance(last, Finished)
    return last.result


def common_prefix(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, PrefixDelta))


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


class Told:
    """One search driven by hand, and the common prefix it has told so far.

    Args:
        options: Of the search.
        generator: Decodes it.
        scheduling: Slots and optimisations.
    """

    def __init__(
        self,
        generator: FakeGenerator | None = None,
        scheduling: SchedulingConfig = UNTIMED,
        **options: Any,
    ) -> None:
        generator = generator or FakeGenerator()
        self.run = make_run(generator, "a", search_config(**options))
        self.listener = SearchListener(self.run, generator.tokenizer)
        ticks = itertools.count()  # time passes with every look at the clock
        self.loop = Loop(generator, FakeVerifier(), scheduling, clock=lambda: next(ticks) / 1000)
        self.loop.submit(self.run, self.listener)

    @property
    def common_prefix(self) -> str:
        return common_prefix(self.listener.log._events)  # `read` waits for what is to come

    def result(self) -> SearchResult:
        run = self.listener.future.result()
        return make_result(run, total_s=0.0, num_slots=8, generator="g", verifier="v")


SCHEDULES = [
    UNTIMED,
    PLAIN,
    SchedulingConfig(slots=3, speculation_rule="likely"),
    SchedulingConfig(speculation_rule="score", slots=24, verification_batch_tokens=1),
    SchedulingConfig(speculation_rule="score", two_phase=False, early_stop=False),
    SchedulingConfig(speculation_rule="score", draft_rule="always"),
]


LOST_PATH = {
    "search": "varying_granularity",
    "pool": (2, 2),
    "temperature": 0.0,
    "seed": 0,
    "scheduling": UNTIMED,
    "stop": [],
    "aggregation": "last",
    "max_depth": 40,
    "is_late": False,
}
"""A search in which a path that lost has a better score than those that go on."""


@settings(max_examples=100)
@given(
    search=st.sampled_from([name for name in get_args(SearchMethod) if name != "none"]),
    pool=st.sampled_from([(1, 1), (2, 1), (2, 2), (4, 2), (8, 4)]),
    temperature=st.sampled_from([0.0, 0.1, 0.4, 0.8]),
    seed=st.integers(0, 10_000),
    scheduling=st.sampled_from(SCHEDULES),
    stop=st.sampled_from([[], ["e "], ["x"], ["tion", "ab"]]),
    aggregation=st.sampled_from(["last", "min", "mean"]),
    max_depth=st.sampled_from([2, 5, 40]),
    is_late=st.booleans(),
    budget=st.one_of(
        st.fixed_dictionaries(
            {
                "grace_tokens": st.sampled_from([0, 5, 1000]),
                "seconds": st.integers(1, 500).map(lambda ticks: ticks / 1000),
            },
            optional={"grace_seconds": st.sampled_from([0.01, 0.05, 100.0])},
        ),
        st.fixed_dictionaries(
            {"grace_tokens": st.sampled_from([0, 5, 1000])},
            optional={
                "tokens": st.integers(10, 300),
                "verifier_calls": st.integers(1, 20),
                "seconds": st.floats(0.05, 0.5),
                "grace_seconds": st.sampled_from([0.05, 100.0]),
            },
        ),
    ),
)
@example(  # the rollout of a step is not what goes on
    search="lookahead",
    pool=(1, 1),
    temperature=0.8,
    seed=3,
    scheduling=UNTIMED,
    stop=[],
    aggregation="last",
    max_depth=40,
    is_late=False,
    budget={},
)
@example(**LOST_PATH, budget={"grace_tokens": 0, "seconds": 0.05})
@example(**LOST_PATH, budget={"grace_tokens": 0, "seconds": 0.5})
@example(**LOST_PATH, budget={"grace_tokens": 1000, "seconds": 0.3, "grace_seconds": 0.05})
def test_the_trunk_is_always_a_prefix_of_the_final_text(
    pool: tuple[int, int], scheduling: SchedulingConfig, is_late: bool, **options: Any
) -> None:
    n, beam_width = pool
    generator = marked_generator(is_late=is_late, max_draft_tokens=8, drafter=Mixed(0, 0.9))
    told = Told(generator, scheduling, n=n, beam_width=beam_width, max_tokens=200, **options)
    drive(told.loop)
    try:
        result = told.result()
    except SearchError:
        return
    # Nothing told is ever taken back, so what has been told at any time is a prefix of this.
    assert result.text.startswith(told.common_prefix)
    rest = common_prefix(list(told.listener.closing(result)))
    assert told.common_prefix + rest == result.text


@dataclass(frozen=True, kw_only=True)
class Leaving(StepPolicy):
    """Gives up path 0 after its first step and path 1 some steps later, with nothing complete."""

    def group(self, path: Path) -> Path:
        return path[:1]

    def expand(self, frontier: Sequence[Beam], ended: Sequence[Beam]) -> Sequence[Branch]:
        (beam,) = frontier
        is_left = beam.is_answer_ended or beam.path[0] == 0 or len(beam.path) == 3
        return [] if is_left else [Branch(path=beam.path, num_children=1)]


def leaving(config: SearchConfig) -> Leaving:
    return Leaving(n=config.n)


def test_a_path_that_a_policy_gives_up_is_not_contradicted() -> None:
    num_incomplete = 0
    for seed in range(20):
        told = Told(search=f"{__name__}:leaving", n=2, seed=seed)
        drive(told.loop)
        result = told.result()
        assert result.text.startswith(told.common_prefix)
        num_incomplete += [len(c.path) for c in result.candidates if not c.is_complete] == [1, 3]
    assert num_incomplete


def cut_by_time(**grace: Any) -> Told:
    options = {name: LOST_PATH[name] for name in ("search", "temperature", "seed")}
    budget = {"seconds": 0.05, **grace}
    told = Told(marked_generator(), n=2, beam_width=2, budget=budget, **options)
    drive(told.loop)
    return told


def test_of_paths_that_were_cut_off_only_those_that_go_on_are_candidates() -> None:
    told = cut_by_time(grace_tokens=0)
    result = told.result()
    depth = max(len(node.path) for node in told.run.tree)
    assert depth > 1
    assert {len(candidate.path) for candidate in result.candidates} == {depth}


def test_a_path_that_ran_on_after_the_budget_stays_the_result_where_its_time_ends() -> None:
    told = cut_by_time(grace_tokens=1000, grace_seconds=0.05)
    result = told.result()
    assert (result.stop_reason, result.finish_reason) == ("seconds", "length")
    assert len(result.candidates) == 1
    assert result.text.startswith(told.common_prefix)
    assert len(told.common_prefix) > len(cut_by_time(grace_tokens=0).common_prefix)


@settings(max_examples=20)
@given(
    search=st.sampled_from(["beam_search", "dvts", "best_of_n", "dynamic_branching"]),
    n=st.sampled_from([1, 2, 4]),
    temperature=st.sampled_from([0.0, 0.2, 0.8]),
    seed=st.integers(0, 10_000),
    scheduling=st.sampled_from(SCHEDULES),
)
def test_the_trunk_is_all_that_the_living_beams_share(
    n: int, scheduling: SchedulingConfig, **options: Any
) -> None:
    generator = FakeGenerator(max_draft_tokens=8, drafter=Mixed(0, 0.9))
    told = Told(generator, scheduling, n=n, beam_width=n, max_tokens=100, **options)
    decode = FakeGenerator().tokenizer.decode

    def check(_: int) -> None:
        alive = told.run.budget.possible_nodes()
        texts = [node.text_before() + decode(node.token_ids) for node in alive]
        shared = os.path.commonprefix(texts)  # noqa: RUF071, what is compared is characters
        assert told.common_prefix == (shared or told.common_prefix)

    drive(told.loop, check)


@pytest.mark.parametrize("options", [{"n": 1, "beam_width": 1}, {"n": 4}], ids=["one", "equal"])
def test_the_trunk_grows_token_by_token(options: dict[str, Any]) -> None:
    told = Told(FakeGenerator(lambda _: ANSWER), PLAIN, **options)
    drive(told.loop)
    result = told.result()
    deltas = [event for event in told.listener.log.read() if isinstance(event, PrefixDelta)]
    assert told.common_prefix == result.text
    assert len(deltas) == result.usage.returned_tokens - 1  # the last one says that it ends


def test_a_path_that_is_finished_after_the_budget_is_told_token_by_token() -> None:
    told = Told(n=8, budget={"verifier_calls": 4, "grace_tokens": 1000}, seed=1)
    drive(told.loop)
    result = told.result()
    assert result.stop_reason == "verifier_calls"
    deltas = [event for event in told.listener.log.read() if isinstance(event, PrefixDelta)]
    assert told.common_prefix == result.text
    assert len(deltas) > 5


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
    assert common_prefix(events) == ended(events).text


async def test_a_reader_of_many_events_lets_others_work() -> None:
    log = EventLog()
    for number in range(100):
        log.publish(TextDelta(text=str(number)))
    log.end()
    num_turns = 0

    async def other() -> None:
        nonlocal num_turns
        while True:
            num_turns += 1
            await asyncio.sleep(0)

    task = asyncio.ensure_future(other())
    told = [event async for event in log.aread()]
    task.cancel()
    assert told == [TextDelta(text=str(number)) for number in range(100)]
    assert num_turns >= 3
