"""Budgets: where they end a search, what is returned then, and that no schedule changes it."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fasttts import Budget, ConfigurationError, FastTTS, SearchError, SearchResult
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.config import PLAIN, SchedulingConfig, search_config
from fasttts.scheduling.loop import Loop
from fasttts.scheduling.result import make_result, partial_tree
from fasttts.scheduling.run import SearchRun
from tests.drafters import Mixed
from tests.searches import Recorder, drive, make_run, same_tree, snapshot

SCHEDULES = [
    SchedulingConfig(),
    SchedulingConfig(slots=3),
    SchedulingConfig(speculation_rule="score", slots=24, verification_batch_tokens=1),
    SchedulingConfig(speculation_rule="score", two_phase=False),
    SchedulingConfig(speculation_rule="score", slots=16, draft_rule="always"),
    SchedulingConfig(speculation=False, draft_rule="always", draft_tokens=2),
    SchedulingConfig(speculation_rule="score", slots=8, verification_batch_tokens=10**6),
    PLAIN.model_copy(update={"slots": 5}),
]


class Clock:
    """Seconds that pass only in the models."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def searched(scheduling: SchedulingConfig, text: str = "a", **options: Any) -> SearchRun:
    generator, recorder = FakeGenerator(max_draft_tokens=8, drafter=Mixed(0, 0.9)), Recorder()
    loop = Loop(generator, FakeVerifier(), scheduling)
    run = make_run(generator, text, search_config(**options))
    loop.submit(run, recorder)
    drive(loop)
    assert recorder.outcomes == [None]
    assert generator.num_unfinished() == 0
    return run


def result_of(run: SearchRun) -> SearchResult:
    return make_result(
        run, total_s=0.0, num_slots=8, generator="fake-generator", verifier="fake-verifier"
    )


def num_tokens(run: SearchRun) -> int:
    return sum(len(node.token_ids) for node in run.tree)


@settings(max_examples=25)
@given(
    search=st.sampled_from(["beam_search", "dvts", "best_of_n", "self_consistency", "lookahead"]),
    seed=st.integers(0, 10_000),
    tokens=st.none() | st.integers(1, 500),
    calls=st.none() | st.integers(1, 40),
    scheduling=st.sampled_from(SCHEDULES),
)
@example(search="beam_search", seed=1, tokens=139, calls=None, scheduling=SCHEDULES[2])
def test_a_counted_budget_ends_every_schedule_at_the_same_tree(
    search: str, seed: int, tokens: int | None, calls: int | None, scheduling: SchedulingConfig
) -> None:
    budget = Budget(tokens=tokens, verifier_calls=calls, grace_tokens=20)
    options = {"search": search, "seed": seed, "n": 8, "max_tokens": 120, "budget": budget}
    expected = searched(PLAIN, **options)
    found = searched(scheduling, **options)
    assert found.budget.stop_reason == expected.budget.stop_reason
    assert same_tree(found, snapshot(expected))
    if tokens is not None:
        assert num_tokens(found) <= tokens + 20


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("search", ["beam_search", "best_of_n"])
def test_of_two_budgets_that_end_together_every_schedule_names_the_same(
    search: str, seed: int
) -> None:
    """Which limit the next iteration would break is only known where it was decoded."""
    options = {"search": search, "seed": seed, "n": 4, "max_tokens": 60}
    nodes = list(searched(PLAIN, **options).tree)
    ends = sorted(node.ends_at for node in nodes)
    for num_calls in range(1, len(ends) - 1, 2):
        last = ends[num_calls]
        tokens = sum(max(0, min(last - n.begins_at, len(n.token_ids))) for n in nodes) - 1
        budget = Budget(tokens=tokens, verifier_calls=num_calls, grace_tokens=0)
        schedules = (PLAIN, *SCHEDULES)
        found = {searched(s, **options, budget=budget).budget.stop_reason for s in schedules}
        assert found == {"tokens"}


def test_a_tree_that_ran_ahead_to_its_end_is_cut_at_its_budget() -> None:
    scheduling = SchedulingConfig(speculation_rule="score", early_verification=False)
    options = {"n": 4, "max_tokens": 50, "seed": 5, "budget": Budget(tokens=125)}
    found = searched(scheduling, **options)
    assert found.budget.stop_reason == "tokens"
    assert same_tree(found, snapshot(searched(PLAIN, **options)))


def test_a_large_budget_changes_nothing() -> None:
    budget = Budget(tokens=10**6, verifier_calls=10**6, seconds=10**6)
    run = searched(SchedulingConfig(), n=8, max_tokens=120, budget=budget)
    assert run.budget.stop_reason == "complete"
    assert same_tree(run, snapshot(searched(PLAIN, n=8, max_tokens=120)))


def test_the_best_complete_candidate_is_returned() -> None:
    whole = searched(PLAIN, n=8, max_tokens=300)
    for tokens in range(50, num_tokens(whole), 10):
        run = searched(SchedulingConfig(), n=8, max_tokens=300, budget=Budget(tokens=tokens))
        if sum(node.finish_reason == "stop" for node in run.tree) > 1:
            break
    result = result_of(run)
    assert result.stop_reason == "tokens"
    assert result.candidates[0].is_complete
    assert result.score == max(c.score for c in result.candidates if c.score is not None)
    assert result.usage.required_tokens <= tokens


def test_without_a_complete_candidate_the_best_path_is_finished() -> None:
    budget = Budget(verifier_calls=4, grace_tokens=1000)
    run = searched(SchedulingConfig(), n=8, budget=budget, seed=1)
    result = result_of(run)
    assert result.stop_reason == "verifier_calls"
    assert result.finish_reason == "stop"
    assert result.candidates[0].steps[0].score is not None
    assert result.candidates[0].steps[-1].score is None


def test_what_could_not_be_finished_is_attached_to_the_error() -> None:
    budget = Budget(tokens=20, grace_tokens=0)
    run = searched(SchedulingConfig(), n=8, budget=budget, on_cut="raise")
    with pytest.raises(SearchError, match="within the budget of tokens=20 and its grace") as caught:
        result_of(run)
    assert caught.value.stop_reason == "tokens"
    assert caught.value.tree == partial_tree(run)
    assert sum(node.num_tokens for node in caught.value.tree) == 16
    assert any(node.text for node in caught.value.tree)


def test_a_plain_decoding_returns_what_it_has() -> None:
    run = searched(SchedulingConfig(), search="none", budget=Budget(tokens=7))
    result = result_of(run)
    assert (result.finish_reason, result.stop_reason) == ("length", "tokens")
    assert result.usage.returned_tokens == 7


@pytest.mark.parametrize("grace_seconds", [0.0, 3.0])
def test_seconds_are_overshot_by_one_iteration_and_one_verifier_batch(
    grace_seconds: float,
) -> None:
    clock = Clock()

    class TimedGenerator(FakeGenerator):
        def step(self) -> Any:
            clock.now += 0.1
            return super().step()

    class TimedVerifier(FakeVerifier):
        def score(self, requests: Any) -> Any:
            clock.now += 0.25
            return super().score(requests)

    for seconds in (0.05, 0.6, 1.3, 2.0, 4.0):
        generator, recorder = TimedGenerator(), Recorder()
        loop = Loop(generator, TimedVerifier(), clock=clock)
        budget = Budget(seconds=seconds, grace_seconds=grace_seconds)
        began = clock.now
        run = make_run(generator, "a", search_config(n=16, budget=budget))
        loop.submit(run, recorder)
        drive(loop)
        assert recorder.outcomes == [None]
        assert clock.now - began <= seconds + grace_seconds + 0.1 + 0.25 + 1e-9
        assert generator.num_unfinished() == 0
        if clock.now - began > seconds + 0.35:
            assert run.budget.stop_reason == "seconds"


def test_a_search_that_waits_in_the_queue_ends_in_time() -> None:
    clock = Clock()
    generator = FakeGenerator(max_num_seqs=2)
    loop = Loop(generator, FakeVerifier(), clock=clock)
    kept, late = Recorder(), Recorder()
    loop.submit(make_run(generator, "a", search_config(n=8, max_tokens=20)), kept)
    run = make_run(generator, "b", search_config(n=4, budget=Budget(seconds=1.0)))
    loop.submit(run, late)
    loop.step()
    clock.now = 1.0
    loop.step()
    assert late.outcomes == [None]
    with pytest.raises(SearchError, match=r"seconds=1\.0"):
        result_of(run)
    drive(loop)
    assert kept.outcomes == [None]


def test_a_budget_is_an_option_of_every_call() -> None:
    budget = Budget(tokens=20, grace_tokens=0)
    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        for options in ({"budget": budget}, {"budget": budget.model_dump()}):
            with pytest.raises(SearchError, match="tokens=20"):
                engine.search("a", n=8, on_cut="raise", **options)
            (error,) = engine.search_many(["a"], n=8, on_cut="raise", **options)
            assert isinstance(error, SearchError)
            assert error.stop_reason == "tokens"
        with pytest.raises(ConfigurationError, match=r"unknown option 'budget.token'"):
            engine.search("a", budget={"token": 5})
        result = engine.search("a", search="none", budget=budget)
        assert result.config["budget"]["tokens"] == 20
        assert SearchResult.from_json(result.to_json()) == result


def test_a_search_that_cannot_end_in_time_is_refused_when_it_asks_for_that() -> None:
    clock = Clock()

    class TimedGenerator(FakeGenerator):
        def step(self) -> Any:
            clock.now += 1.0
            return super().step()

    generator = TimedGenerator()
    loop = Loop(generator, FakeVerifier(), clock=clock)
    outcomes = []
    for seconds, refuse_late in ((2.0, True), (1000.0, True), (2.0, True), (2.0, False)):
        budget = Budget(seconds=seconds, refuse_late=refuse_late, grace_tokens=0)
        recorder = Recorder()
        loop.submit(make_run(generator, "a", search_config(n=4, budget=budget)), recorder)
        num_steps = drive(loop)
        outcomes.append((recorder.outcomes[0], num_steps > 0))
    assert [has_run for _, has_run in outcomes] == [True, True, False, True]
    refusal = outcomes[2][0]
    assert isinstance(refusal, SearchError)
    assert refusal.stop_reason == "refused"
    assert "refused: such a search takes" in str(refusal)
