"""Faults: what each does to the calls in flight, to the engine, and to nobody else."""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttts import (
    BackendError,
    CapacityError,
    ConfigurationError,
    ContractError,
    FastTTS,
    SearchError,
    SearchHandle,
    SearchResult,
)
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.config import SchedulingConfig, SearchConfig, SearchMethod, search_config
from fasttts.interfaces import GenerationOutput, Verification, VerificationRequest
from fasttts.scheduling.loop import Loop
from fasttts.search.beam import BeamSearch
from fasttts.search.policy import Branch
from fasttts.testing.faults import FaultyGenerator, FaultyVerifier
from fasttts.tree import Beam
from fasttts.types import Health
from fasttts.verifiers import Minimum
from tests.drafters import Mixed
from tests.searches import Recorder, alone, drive, make_run, same_tree

pytestmark = pytest.mark.usefixtures("unmeasured")

CONFIGS = st.builds(
    lambda search, seed: search_config(search=search, n=4, max_tokens=60, seed=seed),
    search=st.sampled_from(get_args(SearchMethod)),
    seed=st.integers(0, 1000),
)
"""Random searches, plain decodings among them."""


def lost(*, retryable: bool = False) -> BackendError:
    return BackendError("the device is lost", role="generator", retryable=retryable)


FAULTS = [
    lost(),
    CapacityError("out of memory", role="generator"),
    MemoryError("of the device"),
    KeyError("a bug of the backend"),
]


@settings(max_examples=15)
@given(
    at=st.integers(1, 25),
    error=st.sampled_from(FAULTS),
    dies=st.booleans(),
    config=CONFIGS,
)
def test_a_generator_that_fails_ends_what_it_ran(
    at: int, error: Exception, dies: bool, config: SearchConfig
) -> None:
    generator = FaultyGenerator(FakeGenerator(), {at: error}, dies=dies)
    loop = Loop(generator, FakeVerifier())
    recorders = [Recorder() for _ in range(3)]
    for text, recorder in zip("abc", recorders, strict=True):
        loop.submit(make_run(generator, text, config), recorder)
    iterations = 0
    while loop.has_work:
        loop.step()
        iterations += 1
        assert iterations < 500
    for recorder in recorders:
        (outcome,) = recorder.outcomes
        assert outcome is None or isinstance(outcome, BackendError)
        if outcome is not None:
            assert outcome.role == "generator"
            assert outcome is error or outcome.__cause__ is error
    is_capacity = isinstance(error, CapacityError | MemoryError)
    if generator.num_steps >= at:
        assert any(recorder.outcomes != [None] for recorder in recorders)
        assert (loop.fault is None) == (is_capacity and not (dies and generator.num_steps > at))


@settings(max_examples=15)
@given(at=st.sets(st.integers(1, 30), min_size=1, max_size=6), config=CONFIGS)
def test_a_retryable_failure_of_the_generator_changes_no_token(
    at: set[int], config: SearchConfig
) -> None:
    at = {number for number in at if not {number - 1, number - 2} <= at}
    inner = FakeGenerator(max_draft_tokens=8, drafter=Mixed(0))
    generator = FaultyGenerator(inner, dict.fromkeys(at, lost(retryable=True)))
    loop = Loop(generator, FakeVerifier(), SchedulingConfig(draft_rule="always"))
    recorder = Recorder()
    run = make_run(generator, "a", config)
    loop.submit(run, recorder)
    drive(loop)
    assert recorder.outcomes == [None]
    assert same_tree(run, alone("a", config))


@settings(max_examples=15)
@given(
    at=st.integers(1, 8),
    fault=st.sampled_from(
        ["nan", "range", "few scores", "few answers", ValueError("no"), MemoryError("full")]
    ),
    config=CONFIGS,
)
def test_a_verifier_that_fails_once_costs_one_search_at_most(
    at: int, fault: Any, config: SearchConfig
) -> None:
    verifier = FaultyVerifier(FakeVerifier(), {at: fault})
    generator = FakeGenerator()
    loop = Loop(generator, verifier)
    runs = [make_run(generator, text, config) for text in "abc"]
    recorders = [Recorder() for _ in runs]
    for run, recorder in zip(runs, recorders, strict=True):
        loop.submit(run, recorder)
    assert drive(loop) < 1000
    failed = [error for recorder in recorders for error in recorder.outcomes if error is not None]
    assert len(failed) <= 1
    assert all(isinstance(error, BackendError) for error in failed)
    assert all(isinstance(e, ContractError) for e in failed if not isinstance(fault, Exception))
    for text, run, recorder in zip("abc", runs, recorders, strict=True):
        if recorder.outcomes == [None]:
            assert same_tree(run, alone(text, config))
    assert generator.num_unfinished() == 0


class Raising(BeamSearch):
    """A policy that fails at its second decision, and where it is asked for groups."""

    def expand(self, frontier: Sequence[Beam], ended: Sequence[Beam]) -> Sequence[Branch]:
        if len(frontier[0].path) > 1:
            raise ZeroDivisionError("by the user's policy")
        return super().expand(frontier, ended)


class Astray(BeamSearch):
    """A policy that continues a beam that does not exist."""

    def expand(self, frontier: Sequence[Beam], ended: Sequence[Beam]) -> Sequence[Branch]:
        return [Branch(path=(77, 3), num_children=2)]


def raising(config: Any) -> Raising:
    return Raising(n=4, beam_width=2)


def astray(config: Any) -> Astray:
    return Astray(n=4, beam_width=2)


@pytest.mark.parametrize("policy", ["raising", "astray"])
def test_a_policy_that_fails_ends_its_own_search(policy: str) -> None:
    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        expected = engine.search("a", n=4, max_tokens=60).candidates
        with pytest.raises(SearchError, match="the search's policy failed"):
            engine.search("b", search=f"{__name__}:{policy}", n=4, max_tokens=60)
        assert engine.health.is_healthy
        assert engine.search("a", n=4, max_tokens=60).candidates == expected


def test_a_dead_engine_fails_fast_and_can_be_restarted() -> None:
    generators = [FaultyGenerator(FakeGenerator(), {3: lost()}, dies=True), FakeGenerator()]
    models = iter(generators)
    engine = FastTTS(next(models), FakeVerifier(), reload=lambda: (next(models), FakeVerifier()))
    assert engine.health.is_healthy
    with pytest.raises(BackendError, match="the device is lost"):
        engine.search("a", n=4, max_tokens=60)
    assert engine.health.reason == "the device is lost; restart() loads the engine again"
    with pytest.raises(BackendError, match=r"the engine failed: .* restart\(\)") as caught:
        engine.search("a", n=4)
    assert str(caught.value.__cause__) == "the device is lost"
    engine.restart()
    assert engine.health.is_healthy
    assert isinstance(engine.search("a", n=4, max_tokens=60), SearchResult)
    engine.close()
    assert engine.health.reason == "the engine is closed"
    with pytest.raises(BackendError, match="closed"):
        engine.restart()


class Lost(FakeVerifier):
    """A verifier that its engine was lost by."""

    fault = BackendError("the verifier's process ended", role="verifier")

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        raise self.fault


def test_an_engine_whose_verifier_is_lost_still_decodes() -> None:
    reason = "the verifier's process ended; restart() loads the engine again"
    verifiers = iter([Minimum(Lost(), FakeVerifier()), FakeVerifier()])
    with FastTTS(
        FakeGenerator(), next(verifiers), reload=lambda: (FakeGenerator(), next(verifiers))
    ) as engine:
        assert engine.health == Health(is_healthy=False, reason=reason)
        with pytest.raises(BackendError, match="process ended"):
            engine.search("a", n=4, max_tokens=60)
        assert engine.search("a", search="none", max_tokens=60).text
        engine.restart()
        assert engine.health.is_healthy
        assert engine.search("a", n=4, max_tokens=60).candidates


def test_a_restart_that_fails_can_be_tried_again() -> None:
    def models() -> Any:
        loads.append(1)
        if len(loads) == 1:
            raise BackendError("no memory left", role="generator")
        return FakeGenerator(), FakeVerifier()

    loads: list[int] = []
    with FastTTS(FakeGenerator(), FakeVerifier(), reload=models) as engine:
        with pytest.raises(BackendError, match="no memory left"):
            engine.restart()
        assert engine.health.reason == "the last restart failed; restart() loads the engine again"
        with pytest.raises(BackendError, match="closed"):
            engine.search("a", n=4)
        engine.restart()
        assert engine.health.is_healthy
        assert engine.search("a", n=4, max_tokens=60).candidates


def test_an_engine_made_of_backends_needs_to_be_told_how_to_restart() -> None:
    with (
        FastTTS(FakeGenerator()) as engine,
        pytest.raises(ConfigurationError, match="give it reload"),
    ):
        engine.restart()


class Dying(FakeGenerator):
    """Ends the thread that steps it, at its `at`-th step."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._num_left = at

    def step(self) -> list[GenerationOutput]:
        self._num_left -= 1
        if self._num_left < 0:
            raise SystemExit("of the thread")
        return super().step()


@settings(max_examples=15)
@given(at=st.integers(0, 25), config=CONFIGS)
def test_a_thread_that_dies_anywhere_leaves_nobody_waiting_and_is_replaced(
    at: int, config: SearchConfig
) -> None:
    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        expected = outcome(engine, config)
    engine = FastTTS(Dying(at), FakeVerifier(), reload=lambda: (FakeGenerator(), FakeVerifier()))
    with engine, ThreadPoolExecutor(3) as pool:
        for found in pool.map(outcome, [engine] * 3, [config] * 3):
            assert found == expected or "SystemExit" in str(found)
        engine.restart()  # dead by now or about to die: how many steps were taken is chance
        assert outcome(engine, config) == expected


def outcome(engine: FastTTS, config: SearchConfig) -> object:
    """The candidates of a search, or the text of its error."""
    try:
        return answer(engine.submit("a", config=config))
    except BackendError as error:
        return str(error)


def answer(handle: SearchHandle) -> object:
    """The candidates of a search that runs, or the text of its error."""
    try:
        return handle.result(timeout=20).candidates
    except (BackendError, SearchError) as error:
        return str(error)


class Deadly(FakeGenerator):
    """Waits until four sequences run, then ends the thread that steps it."""

    def step(self) -> list[GenerationOutput]:
        if self.num_unfinished() < 4:
            return []
        raise SystemExit("of the thread")


def test_when_the_loops_thread_dies_everybody_hears_of_it() -> None:
    engine = FastTTS(Deadly(lambda _: "word " * 5000))
    outcomes: list[BaseException] = []

    def call() -> None:
        try:
            engine.search("a", search="none", max_tokens=4000)
        except BackendError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(outcomes) == 4
    assert all("the generator failed: SystemExit" in str(error) for error in outcomes)
    assert not engine.health.is_healthy
    engine.close()


@settings(max_examples=25)
@given(at=st.integers(0, 3), config=CONFIGS)
def test_a_callback_that_raises_ends_its_call_and_no_other(at: int, config: SearchConfig) -> None:
    heard: list[int] = []

    def complain(index: int, result: SearchResult) -> None:
        heard.append(index)
        if len(heard) > at:
            raise KeyError("of the user")

    generator = FakeGenerator()
    with FastTTS(generator, FakeVerifier()) as engine:
        expected = outcome(engine, config)
        beside = engine.submit("a", config=config)
        with pytest.raises(KeyError, match="of the user"):
            engine.search_many(list("abcde"), config=config, on_result=complain)
        assert len(heard) == at + 1
        assert answer(beside) == outcome(engine, config) == expected
        engine.search("x", search="none", max_tokens=2)  # runs after the cancellations
        assert generator.num_unfinished() == 0


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_is_told_to_load_its_own() -> None:
    with FastTTS(FakeGenerator()) as engine:
        engine.search("a", search="none", max_tokens=2)
        handle = engine.submit("a", search="none", max_tokens=2)
        child = os.fork()
        if child == 0:
            code = 0
            for call in (
                lambda: engine.submit("a", search="none"),
                handle.result,
                lambda: next(handle.events()),
            ):
                try:
                    call()
                    code = 1
                except BackendError as error:
                    code |= 0 if "forked" in str(error) else 2
            engine.close()
            os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert engine.search("a", search="none", max_tokens=2).text
