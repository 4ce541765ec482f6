"""Users' functions that hang, block, kill or call back harm their own search alone."""

import asyncio
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from fasttts import BackendError, FastTTS, SearchError
from fasttts.backends.fake import FakeGenerator, FakeVerifier, hashed_score
from fasttts.verifiers import FunctionVerifier, Mean
from tests.searches import UNTIMED

pytestmark = pytest.mark.usefixtures("unmeasured")

VOTES: dict[str, Any] = {"search": "self_consistency", "n": 4, "max_tokens": 60}
STEPS: dict[str, Any] = {"n": 4, "max_tokens": 60}
SOON_S = 20
"""Well above what anything here takes where nothing hangs, on a busy machine."""


class Hang:
    """Holds up whoever waits for it until the test is over."""

    def __init__(self) -> None:
        self.is_over = threading.Event()
        self.num_held = 0

    def __call__(self) -> None:
        self.num_held += 1
        self.is_over.wait(120)


@pytest.fixture
def hang() -> Iterator[Hang]:
    hang = Hang()
    yield hang
    hang.is_over.set()


def eventually(condition: Callable[[], bool]) -> None:
    """Waits until a condition holds."""
    deadline = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.005)


def first_word(text: str) -> str | None:
    return text.split(maxsplit=1)[0]


def test_an_extractor_in_a_vote_runs_outside_the_loop() -> None:
    threads: set[str] = set()

    def extract(text: str) -> str | None:
        threads.add(threading.current_thread().name)
        return first_word(text)

    with FastTTS(FakeGenerator()) as engine:
        engine.search("vote", extract=extract, **VOTES)
    assert threads == {"fasttts-extract", threading.current_thread().name}


@pytest.mark.parametrize("wave_size", [1, 2])
def test_a_slow_extractor_changes_no_vote(wave_size: int) -> None:
    def slow(text: str) -> str | None:
        time.sleep(0.01)
        return first_word(text)

    options = {**VOTES, "n": 8, "wave_size": wave_size}
    with FastTTS(FakeGenerator()) as engine:
        expected = engine.search("vote", extract=first_word, **options)
        assert engine.search("vote", extract=slow, **options).candidates == expected.candidates


def test_an_extractor_may_call_the_engine() -> None:
    with FastTTS(FakeGenerator()) as engine:

        def extract(text: str) -> str | None:
            return engine.search(text, search="none", max_tokens=8).text or None

        handle = engine.submit("vote", extract=extract, **VOTES)
        assert handle.result(SOON_S).candidates


def test_an_extractor_that_hangs_costs_its_own_search_alone(hang: Hang) -> None:
    def extract(text: str) -> str | None:
        hang()
        return first_word(text)

    with FastTTS(FakeGenerator()) as engine:
        expected = engine.search("bystander", extract=first_word, **VOTES)
        stuck = engine.submit("stuck", extract=extract, **VOTES)
        eventually(lambda: hang.num_held > 0)
        beside = engine.submit("bystander", extract=first_word, **VOTES).result(SOON_S)
        assert beside.candidates == expected.candidates
        assert not stuck.done
        stuck.cancel()
        with pytest.raises(SearchError, match="cancelled"):
            stuck.result(SOON_S)
        late = engine.submit("stuck", extract=extract, **VOTES, budget={"seconds": 0.2})
        eventually(lambda: late.done)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), ValueError("odd")], ids=repr)
def test_what_an_extractor_raises_in_a_vote_is_told_to_its_caller(error: BaseException) -> None:
    def extract(text: str) -> str | None:
        if threading.current_thread() is not threading.main_thread():
            raise error
        raise ValueError("odd")

    with FastTTS(FakeGenerator()) as engine:
        with pytest.raises(SearchError, match="ValueError: odd"):
            engine.search("vote", extract=extract, **VOTES)
        assert engine.health.is_healthy


class Own(BaseException):
    """An exception of the user's that is no Exception."""


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), Own("own")], ids=repr)
def test_an_extractor_that_would_end_the_caller_ends_its_search(error: BaseException) -> None:
    def extract(text: str) -> str | None:
        raise error

    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        with pytest.raises(SearchError, match=type(error).__name__):
            engine.search("a", extract=extract, **STEPS)
        with pytest.raises(SearchError, match=type(error).__name__):
            asyncio.run(engine.asearch("a", extract=extract, **STEPS))
        assert engine.health.is_healthy


def kinds_of(trap: Callable[[], Any]) -> dict[str, Any]:
    """Functions as verifiers that meet a trap where the problem says so."""

    def sync_score(problem: str, steps: tuple[str, ...]) -> float:
        if "trap" in problem:
            trap()
        return hashed_score(problem, steps)

    async def blocking_score(problem: str, steps: tuple[str, ...]) -> float:
        return sync_score(problem, steps)

    async def waiting_score(problem: str, steps: tuple[str, ...]) -> float:
        if "trap" in problem:
            trap_in_loop = asyncio.get_running_loop().create_future()
            await trap_in_loop
        return hashed_score(problem, steps)

    return {"sync": sync_score, "blocks its event loop": blocking_score, "async": waiting_score}


@pytest.mark.parametrize("kind", ["sync", "blocks its event loop", "async"])
@pytest.mark.parametrize("is_part", [False, True])
def test_a_hanging_verifier_ends_its_searches_in_time(kind: str, is_part: bool, hang: Hang) -> None:
    function = kinds_of(hang)[kind]
    verifier = Mean(function, FakeVerifier()) if is_part else FunctionVerifier(function)
    scheduling = UNTIMED.model_copy(update={"verifier_timeout_s": 0.3})
    with FastTTS(FakeGenerator(), verifier, scheduling=scheduling) as engine:
        expected = engine.search("bystander", **STEPS).candidates
        stuck = engine.submit("trap", **STEPS)
        beside = engine.submit("bystander", **STEPS)
        with pytest.raises(BackendError, match=r"verifier_timeout_s=0\.3"):
            stuck.result(SOON_S)
        assert beside.result(SOON_S).candidates == expected
        assert engine.submit("bystander", **STEPS).result(SOON_S).candidates == expected
        assert engine.health.is_healthy


@pytest.mark.parametrize("kind", ["sync", "blocks its event loop", "async"])
def test_a_call_that_nobody_waits_for_keeps_no_other_from_running(kind: str, hang: Hang) -> None:
    with FastTTS(FakeGenerator(), kinds_of(hang)[kind], scheduling=UNTIMED) as engine:
        expected = engine.search("bystander", **STEPS).candidates
        stuck = engine.submit("trap", **STEPS)
        if kind != "async":
            eventually(lambda: hang.num_held > 0)
        beside = engine.submit("bystander", **STEPS)
        stuck.cancel()
        assert beside.result(SOON_S).candidates == expected


def test_slow_calls_are_in_time_as_long_as_each_is() -> None:
    def slow(problem: str, steps: tuple[str, ...]) -> float:
        time.sleep(0.02)
        return hashed_score(problem, steps)

    scheduling = UNTIMED.model_copy(update={"verifier_timeout_s": 0.5})
    with FastTTS(FakeGenerator(), slow, scheduling=scheduling) as engine:
        handles = [engine.submit(f"problem {i}", n=4, max_tokens=40) for i in range(3)]
        assert all(handle.result(60).candidates for handle in handles)


@pytest.mark.parametrize("kind", ["sync", "blocks its event loop", "async"])
def test_an_engine_closes_while_a_function_hangs(kind: str, hang: Hang) -> None:
    engine = FastTTS(FakeGenerator(), kinds_of(hang)[kind], scheduling=UNTIMED)
    stuck = engine.submit("trap", **STEPS)
    if kind != "async":
        eventually(lambda: hang.num_held > 0)
    started = time.monotonic()
    engine.close()
    assert time.monotonic() - started < SOON_S
    with pytest.raises(BackendError, match="closed"):
        stuck.result(SOON_S)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), Own("own")], ids=repr)
def test_what_an_async_function_raises_ends_its_search_alone(error: BaseException) -> None:
    async def score(problem: str, steps: tuple[str, ...]) -> float:
        if "trap" in problem:
            raise error
        return hashed_score(problem, steps)

    with FastTTS(FakeGenerator(), score, scheduling=UNTIMED) as engine:
        with pytest.raises(BackendError, match=type(error).__name__):
            engine.submit("trap", **STEPS).result(SOON_S)
        assert engine.submit("plain", **STEPS).result(SOON_S).candidates


PROGRAM = """
import asyncio, sys, threading, time
from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator

def hang(*_):
    time.sleep(600)

async def block(*_):
    time.sleep(600)

async def wait(coroutine):
    try:
        await asyncio.wait_for(coroutine, 1)
    except TimeoutError:
        pass

def main(kind):
    verifier = {"verifier": hang, "async verifier": block}.get(kind)
    engine = FastTTS(FakeGenerator(), verifier)
    if verifier:
        engine.submit("a", n=4, max_tokens=40)
        time.sleep(0.5)
    elif kind == "extractor":
        engine.submit("a", extract=hang, search="self_consistency", n=4, max_tokens=40)
        time.sleep(0.5)
    else:
        asyncio.run(wait(engine.asearch("a", extract=hang, search="best_of_n", n=4, max_tokens=40)))
    if kind == "async verifier":
        return  # without closing it
    engine.close()

main(sys.argv[1])
"""


@pytest.mark.parametrize(
    "kind", ["verifier", "async verifier", "extractor", "extractor of a result"]
)
def test_the_interpreter_exits_while_a_function_hangs(kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, kind],
        timeout=60,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


class Slow(FakeVerifier):
    """A user's verifier that takes its time."""

    def score(self, requests: Sequence[Any]) -> Any:
        if "slow" in requests[0].problem:
            time.sleep(1.1)
        return super().score(requests)


class SlowGenerator(FakeGenerator):
    """A user's generator, one iteration of which takes its time."""

    num_steps = 0

    def step(self) -> Any:
        self.num_steps += 1
        if self.num_steps == 3:
            time.sleep(1.1)
        return super().step()


@pytest.mark.parametrize(
    ("generator", "verifier", "what"),
    [
        (FakeGenerator(), Slow(), "the verifier held up the step loop for 1."),
        (SlowGenerator(), FakeVerifier(), "the generator held up the step loop for 1."),
    ],
)
def test_slow_backends_of_users_are_named(
    generator: Any, verifier: Any, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "fasttts"), FastTTS(generator, verifier) as engine:
        engine.search("slow", **{**STEPS, "max_depth": 1})
    assert what in caplog.text


class Unabortable(FakeGenerator):
    """A user's generator that fails to abort as often as the test says."""

    def __init__(self, num_failures: int, error: BaseException) -> None:
        super().__init__(max_num_seqs=8)
        self.num_failures = num_failures
        self._error = error

    def abort(self, request_ids: Sequence[str]) -> None:
        if self.num_failures > 0:
            self.num_failures -= 1
            raise self._error
        super().abort(request_ids)


@pytest.mark.parametrize("num_failures", [1, 3, 10_000])
@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)], ids=repr)
def test_a_generator_that_fails_to_abort_loses_no_search(
    num_failures: int, error: BaseException
) -> None:
    with FastTTS(FakeGenerator(max_num_seqs=8), FakeVerifier(), scheduling=UNTIMED) as engine:
        expected = [engine.search(f"{i}", **STEPS).candidates for i in range(4)]
    generator = Unabortable(num_failures, error)
    with FastTTS(generator, FakeVerifier(), scheduling=UNTIMED) as engine:
        cancelled = engine.submit("cancelled", **{**STEPS, "max_tokens": 400})
        handles = [engine.submit(f"{i}", **STEPS) for i in range(4)]
        cancelled.cancel()
        found = [handle.result(SOON_S).candidates for handle in handles]
        assert engine.health.is_healthy
    assert found == expected


class Tokenizer:
    """The fake tokenizer with one method replaced."""

    def __init__(self, inner: Any, **replaced: Any) -> None:
        self._inner = inner
        self._replaced = replaced

    def __getattr__(self, name: str) -> Any:
        return self._replaced.get(name) or getattr(self._inner, name)


def raising(*_: Any) -> Any:
    raise ZeroDivisionError("odd")


BROKEN_TOKENIZERS: dict[str, dict[str, Any]] = {
    "no tokens": {"encode_chat": lambda messages, tools=None: None},
    "text for tokens": {"encode_chat": lambda messages, tools=None: "tokens"},
    "fractions": {"encode_chat": lambda messages, tools=None: [1.5]},
    "no rendering": {"encode_chat": raising},
    "no text": {"decode": lambda token_ids: None},
    "bytes": {"decode": lambda token_ids: b"bytes"},
    "no decoding": {"decode": raising},
}


@pytest.mark.parametrize("what", BROKEN_TOKENIZERS)
def test_what_no_tokenizer_may_return_is_a_contract_error(what: str) -> None:
    generator = FakeGenerator()
    right = generator.tokenizer
    with FastTTS(generator, FakeVerifier(), scheduling=UNTIMED) as engine:
        expected = engine.search("plain", **STEPS).candidates
        generator.tokenizer = Tokenizer(right, **BROKEN_TOKENIZERS[what])  # type: ignore[assignment]
        with pytest.raises(BackendError, match="the tokenizer failed"):
            engine.search("trap", **STEPS)
        generator.tokenizer = right
        assert engine.search("plain", **STEPS).candidates == expected
