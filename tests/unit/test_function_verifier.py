"""Python functions as verifiers: what they may return, where they run, whose fault a fault is."""

import asyncio
import functools
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fasttts import BackendError, ConfigurationError, ContractError, FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier, hashed_score
from fasttts.config import PLAIN, SchedulingConfig, SearchConfig
from fasttts.interfaces import Verification, VerificationRequest
from fasttts.scheduling.loop import Loop
from fasttts.verifiers import FunctionVerifier
from fasttts.verifiers.async_scoring import AsyncScoring, finish, together
from fasttts.verifiers.resolve import named_function
from tests.searches import Recorder, drive, make_run, same_tree, snapshot

STEPS = ("one", "two", "three")


def request(*steps: str, num_scored: int = 0, problem: str = "p") -> VerificationRequest:
    return VerificationRequest(problem=problem, steps=steps, num_scored=num_scored)


def length(problem: str, steps: Sequence[str]) -> float:
    return len(steps[-1]) / 10


async def async_length(problem: str, steps: Sequence[str]) -> float:
    await asyncio.sleep(0)
    return length(problem, steps)


def all_lengths(problem: str, steps: Sequence[str]) -> list[float]:
    return [len(step) / 10 for step in steps]


class Caller:
    async def __call__(self, problem: str, steps: Sequence[str]) -> float:
        return length(problem, steps)


@pytest.fixture
def build() -> Iterator[Callable[..., FunctionVerifier]]:
    built: list[FunctionVerifier] = []

    def make(function: Any, **options: Any) -> FunctionVerifier:
        built.append(FunctionVerifier(function, **options))
        return built[-1]

    yield make
    for verifier in built:
        verifier.close()


@pytest.mark.parametrize("function", [length, async_length, all_lengths, Caller()])
def test_every_unscored_step_is_scored(
    build: Callable[..., FunctionVerifier], function: Any
) -> None:
    verifier = build(function)
    found = verifier.score([request(*STEPS), request(*STEPS, num_scored=2), request()])
    assert [one.scores for one in found] == [(0.3, 0.3, 0.5), (0.5,), ()]
    assert all(one.num_computed_tokens == one.num_cached_tokens == 0 for one in found)


def test_names(build: Callable[..., FunctionVerifier]) -> None:
    assert build(length).name == "length"
    assert build(functools.partial(length)).name == "length"
    assert build(Caller()).name == "Caller"
    assert build(length, name="other").name == "other"


@pytest.mark.parametrize("num_threads", [1, 3])
def test_as_many_calls_run_together_as_there_are_threads(
    build: Callable[..., FunctionVerifier], num_threads: int
) -> None:
    running: set[int] = set()
    most = 0

    def count(problem: str, steps: Sequence[str]) -> float:
        nonlocal most
        running.add(threading.get_ident())
        most = max(most, len(running))
        time.sleep(0.01)
        running.discard(threading.get_ident())
        return 0.5

    build(count, num_threads=num_threads).score([request("a", "b"), request("c", "d")])
    assert 1 <= most <= num_threads
    with pytest.raises(ConfigurationError, match="num_threads=0"):
        FunctionVerifier(count, num_threads=0)


def test_async_calls_run_together(build: Callable[..., FunctionVerifier]) -> None:
    num_arrived = 0
    everybody = asyncio.Event()

    async def meet(problem: str, steps: Sequence[str]) -> float:
        nonlocal num_arrived
        num_arrived += 1
        if num_arrived == 4:
            everybody.set()
        await everybody.wait()
        return 1.0

    found = build(meet).score([request("a", "b"), request("c", "d")])
    assert [one.scores for one in found] == [(1.0, 1.0)] * 2


def raises(problem: str, steps: Sequence[str]) -> float:
    raise KeyError("missing")


async def async_raises(problem: str, steps: Sequence[str]) -> float:
    raise KeyError("missing")


@pytest.mark.parametrize("function", [raises, async_raises])
def test_what_a_function_raises_is_the_cause(
    build: Callable[..., FunctionVerifier], function: Any
) -> None:
    with pytest.raises(BackendError, match="raised KeyError for step 1: 'missing'") as caught:
        build(function).score([request("a")])
    assert caught.value.role == "verifier"
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("value", [math.nan, 1.01, -0.1, math.inf, "good", None, [0.5], [0.1] * 3])
def test_what_is_no_score_is_refused(build: Callable[..., FunctionVerifier], value: Any) -> None:
    verifier = build(lambda problem, steps: value, name="mine")
    with pytest.raises(ContractError, match=r"mine returned .* for (step )?2") as caught:
        verifier.score([request("a", "b", num_scored=1)])
    assert caught.value.role == "verifier"


@pytest.mark.parametrize("value", [0, 1, True, 0.25])
def test_any_number_in_range_is_a_score(
    build: Callable[..., FunctionVerifier], value: float
) -> None:
    (found,) = build(lambda problem, steps: value).score([request("a")])
    assert found.scores == (float(value),)


@pytest.mark.parametrize("function", [length, async_length])
def test_after_close_everything_is_refused(function: Any) -> None:
    verifier = FunctionVerifier(function)
    verifier.close()
    verifier.close()
    with pytest.raises(BackendError, match="closed"):
        verifier.score([request("a")])


def test_a_function_is_imported_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scores_of_mine.py").write_text(
        "class Group:\n    @staticmethod\n    def half(problem, steps): return 0.5\nnumber = 7\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    verifier = named_function("scores_of_mine:Group.half")
    assert verifier.name == "scores_of_mine:Group.half"
    assert verifier.score([request("a")])[0].scores == (0.5,)
    verifier.close()
    for name, message in (
        ("scores_of_mine:other", "cannot be imported: AttributeError"),
        ("no_such_module:f", "cannot be imported: ModuleNotFoundError"),
        ("scores_of_mine:number", "is no function but int"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            named_function(name)


def test_flows_begin_together_and_end_in_order() -> None:
    futures: list[Future[int]] = [Future(), Future()]
    begun = []

    def flow(index: int) -> AsyncScoring:
        begun.append(index)
        yield futures[index]
        return [Verification(scores=(float(futures[index].result()),))]

    both = together([flow(0), flow(1)])
    assert next(both) is futures[0]
    assert begun == [0, 1]
    futures[1].set_result(1)
    futures[0].set_result(0)
    assert [one.scores for (one,) in finish(both)] == [(0.0,), (1.0,)]


class Gatekeeper:
    """A function that answers only once it is allowed to."""

    def __init__(self) -> None:
        self.is_open = threading.Event()
        self.num_calls = 0

    def __call__(self, problem: str, steps: tuple[str, ...]) -> float:
        self.num_calls += 1
        assert self.is_open.wait(60)
        return hashed_score(problem, steps)


def test_a_slow_function_does_not_hold_up_decoding(
    build: Callable[..., FunctionVerifier],
) -> None:
    slow = Gatekeeper()
    generator = FakeGenerator(max_num_seqs=16)
    config = SchedulingConfig(verification_batch_tokens=1)
    loop = Loop(generator, build(slow), config)
    run = make_run(generator, "slow", SearchConfig(n=8, max_tokens=80, seed=2))
    recorder = Recorder()
    loop.submit(run, recorder)
    while not slow.num_calls:
        loop.step()
        loop.check_integrity()
    num_tokens = run.counts.generated_tokens
    for _ in range(5):
        loop.step()
        loop.check_integrity()
    assert run.counts.generated_tokens >= num_tokens + 5
    slow.is_open.set()
    drive(loop)
    assert recorder.outcomes == [None]


@pytest.mark.parametrize("kind", ["sync", "threads", "async"])
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), n=st.sampled_from([4, 8]), delay=st.sampled_from([0, 1e-3]))
def test_beside_the_loop_or_in_it_the_tree_is_the_same(
    build: Callable[..., FunctionVerifier], kind: str, seed: int, n: int, delay: float
) -> None:
    def sync_score(problem: str, steps: tuple[str, ...]) -> float:
        time.sleep(delay * (len(steps[-1]) % 3))
        return hashed_score(problem, steps)

    async def async_score(problem: str, steps: tuple[str, ...]) -> float:
        await asyncio.sleep(delay * (len(steps[-1]) % 3))
        return hashed_score(problem, steps)

    config = SearchConfig(n=n, beam_width=2, max_tokens=60, max_depth=5, seed=seed)
    generator = FakeGenerator(max_num_seqs=12)
    expected = make_run(generator, "same", config)
    loop = Loop(generator, FakeVerifier(), PLAIN)
    loop.submit(expected, Recorder())
    drive(loop)
    function = async_score if kind == "async" else sync_score
    verifier = build(function, num_threads=3 if kind == "threads" else 1)
    loop = Loop(generator, verifier, SchedulingConfig(verification_batch_tokens=4))
    runs = [make_run(generator, "same", config) for _ in range(2)]
    for run in runs:
        loop.submit(run, Recorder())
    drive(loop)
    assert all(same_tree(run, snapshot(expected)) for run in runs)


@pytest.mark.parametrize("bad", [lambda: 1 / 0, lambda: math.nan, lambda: 2, list, lambda: "x"])
def test_a_fault_ends_only_the_search_it_concerns(bad: Callable[[], Any]) -> None:
    def score(problem: str, steps: tuple[str, ...]) -> Any:
        return bad() if problem == "bad" else hashed_score(problem, steps)

    with FastTTS(FakeGenerator(), score) as engine:
        good = engine.search("good", n=4, max_tokens=60, seed=1)
        with pytest.raises(BackendError) as caught:
            engine.search("bad", n=4, max_tokens=60)
        assert caught.value.role == "verifier"
        results = engine.search_many(["good", "good"], n=4, max_tokens=60, seeds=[1, 1])
        assert [one.candidates for one in results] == [good.candidates] * 2


def test_a_cancelled_search_leaves_its_scores_behind() -> None:
    slow = Gatekeeper()
    generator = FakeGenerator(max_num_seqs=8)
    verifier = FunctionVerifier(slow)
    loop = Loop(generator, verifier, SchedulingConfig(verification_batch_tokens=1))
    kept, lost = (make_run(generator, text, SearchConfig(n=4, max_tokens=60)) for text in "ab")
    recorders = Recorder(), Recorder()
    for run, recorder in zip((kept, lost), recorders, strict=True):
        loop.submit(run, recorder)
    while not slow.num_calls:
        loop.step()
    loop.cancel(lost, BackendError("enough", role="generator"))
    slow.is_open.set()
    drive(loop)
    assert recorders[0].outcomes == [None]
    assert len(recorders[1].outcomes) == 1
    verifier.close()
