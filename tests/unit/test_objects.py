"""Errors, values and engines as Python objects: pickled, copied, and in forked processes."""

import contextlib
import copy
import dataclasses
import gc
import importlib
import inspect
import multiprocessing
import os
import pickle
import pkgutil
import signal
import subprocess
import sys
import threading
import typing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any, get_args

import pytest
from pydantic import BaseModel

import fasttts
import fasttts.routing
from fasttts import BackendError, ConfigurationError, FastTTS, FastTTSError
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.config import search_config
from fasttts.routing import Always, Router
from fasttts.verifiers import FunctionVerifier
from tests.searches import UNTIMED

WAYS: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "old pickle": lambda value: pickle.loads(pickle.dumps(value, protocol=0)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}
OPTIONS: dict[str, Any] = {"n": 4, "max_tokens": 40}
forks = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def subclasses(kind: type) -> Iterator[type]:
    for one in kind.__subclasses__():
        yield one
        yield from subclasses(one)


def own_errors() -> list[type[BaseException]]:
    """Every exception class of the package, also those of modules that nothing has imported."""
    for module in pkgutil.walk_packages(fasttts.__path__, "fasttts."):
        if ".backends.vllm" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    ours = (k for k in subclasses(BaseException) if k.__module__.startswith("fasttts"))
    return sorted({*ours}, key=lambda kind: kind.__qualname__)


def made(kind: type[BaseException]) -> BaseException:
    """An error, with a value other than the default in each attribute that its class names."""
    values: dict[str, Any] = {}
    hints = typing.get_type_hints(kind.__init__)
    for name, one in inspect.signature(kind.__init__).parameters.items():
        if one.kind is one.KEYWORD_ONLY:
            values[name] = value_of(hints[name])
    return kind("what happened", **values)


def value_of(hint: Any) -> Any:
    if typing.get_origin(hint) is typing.Literal:
        return get_args(hint)[-1]
    if dataclasses.is_dataclass(hint):
        return hint()
    return {bool: True, int: 3, float: 1.5, str: "text"}.get(hint, ())


ERRORS = own_errors()


def test_the_errors_are_found() -> None:
    assert {FastTTSError, BackendError, fasttts.SearchError, fasttts.OverloadedError} < {*ERRORS}


@every_way
@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_errors_keep_their_class_message_and_attributes(kind: Any, way: Any) -> None:
    error = made(kind)
    error.add_note("a note")
    error.__cause__ = KeyError("why")
    again = way(error)
    assert type(again) is kind
    assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))
    assert again.__notes__ == ["a note"]
    assert isinstance(error.__cause__, KeyError)


class FileError(FastTTSError, OSError):
    """An error as a user may define one: `OSError` keeps the file outside of `args`."""


@every_way
def test_errors_of_users_keep_what_their_other_bases_hold(way: Any) -> None:
    error = FileError(2, "no such file", "steps.json")
    again = way(error)
    assert (type(again), str(again)) == (FileError, "[Errno 2] no such file: 'steps.json'")


def raise_made(index: int) -> None:
    error = made(ERRORS[index])
    error.add_note("a note")
    raise error


@forks
def test_errors_cross_a_pool_of_processes() -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        found = [pool.submit(raise_made, index).exception(30) for index in range(len(ERRORS))]
    for error, kind in zip(found, ERRORS, strict=True):
        assert type(error) is kind
        assert vars(error) == {**vars(made(kind)), "__notes__": ["a note"]}
        assert "raise_made" in str(error.__cause__)


def values() -> list[Any]:
    """Values of every public class of values, most of them from a routed search."""
    with FastTTS(FakeGenerator(), FakeVerifier(), scheduling=UNTIMED) as engine:
        events: list[Any] = list(Router(engine, Always()).stream("a", **OPTIONS))
        events += engine.stream("a", search="none", max_tokens=9)
        result = events[-1].result
        spelled = engine.search("a", search="none", max_tokens=2, num_logprobs=1)
        voted = engine.search("a", search="self_consistency", extract=str.strip, **OPTIONS)
        with pytest.raises(fasttts.SearchError) as cut:
            engine.search("a", n=8, on_cut="raise", budget={"tokens": 20, "grace_tokens": 0})
        nodes = cut.value.tree
        prompt = engine.render([{"role": "user", "content": "a"}], tools=[{"name": "b"}])
        stats = engine.stats()
    config = search_config(structured_outputs={"json": {"type": "object"}}, budget={"tokens": 9})
    call = fasttts.ToolCall(name="a", arguments="{}")
    return [
        *events, result, *nodes, *result.candidates, *result.candidates[0].steps,
        result.usage, result.timings, result.occupancy, stats, stats.health, stats.requests,
        stats.usage, prompt, config, config.budget, call, fasttts.EngineConfig(),
        fasttts.SchedulingConfig(), fasttts.ParsedOutput(content="", tool_calls=(call,)),
        events[0].decision, *spelled.logprobs, result.record, *result.record.nodes, *voted.votes,
    ]  # fmt: skip


VALUES = values()


def is_value(kind: object) -> bool:
    if not isinstance(kind, type):
        return False
    return dataclasses.is_dataclass(kind) or issubclass(kind, BaseModel)


def test_the_values_are_all_public_ones() -> None:
    public = {
        getattr(fasttts, name) for name in fasttts.__all__ if is_value(getattr(fasttts, name))
    }
    assert public - {type(value) for value in VALUES} == set()


@every_way
def test_values_are_equal_to_their_copies(way: Any) -> None:
    assert [one for one in VALUES if way(one) != one] == []


def policies() -> Iterator[Any]:
    """An object of each routing policy that is made without arguments."""
    for name in fasttts.routing.__all__:
        kind = getattr(fasttts.routing, name)
        if isinstance(kind, type) and hasattr(kind, "decide") and not inspect.isabstract(kind):
            with contextlib.suppress(TypeError, ConfigurationError):
                yield kind()


POLICIES = [*policies()]


@every_way
@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_routing_policies_are_equal_to_their_copies(policy: Any, way: Any) -> None:
    assert repr(way(policy)) == repr(policy)


def score(problem: str, steps: tuple[str, ...]) -> float:
    return 0.5


async def ascore(problem: str, steps: tuple[str, ...]) -> float:
    return 0.5


@every_way
@pytest.mark.parametrize("function", [score, ascore])
def test_a_function_as_a_verifier_is_copied_by_its_function(function: Any, way: Any) -> None:
    verifier = FunctionVerifier(function, name="half", num_threads=2)
    twin = way(verifier)
    verifier.close()
    with FastTTS(FakeGenerator(), twin) as engine:
        assert engine.verifier_name == "half"
        assert engine.search("a", **OPTIONS).score == 0.5


HELD: dict[str, Callable[[FastTTS], Any]] = {
    "an engine": lambda engine: engine,
    "a router": lambda engine: Router(engine, Always()),
    "a handle": lambda engine: engine.submit("a", **OPTIONS),
}


@pytest.mark.parametrize("what", HELD)
def test_what_holds_models_is_copied_but_not_pickled(what: str) -> None:
    with FastTTS(FakeGenerator(), FakeVerifier(), scheduling=UNTIMED) as engine:
        held = HELD[what](engine)
        with pytest.raises(ConfigurationError, match=r"cannot be pickled.*: (pass|.*pass)"):
            pickle.dumps(held)
        for one in (copy.copy(held), copy.deepcopy(held), held):
            assert (one.result() if what == "a handle" else one.search("a", **OPTIONS)).text


def in_fork(work: Callable[[], Any]) -> int:
    """The exit status of a forked child that does some work and then exits as programs do."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)  # ends a child that hangs
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def calls_of(engine: FastTTS, handle: Any) -> list[Callable[[], Any]]:
    return [
        lambda: engine.search("a"), lambda: engine.search_many(["a"]), lambda: engine.submit("a"),
        lambda: next(engine.stream("a")), engine.restart, engine.stats, lambda: engine.usage,
        lambda: Router(engine, Always()).search("a"), handle.result, handle.cancel,
        lambda: next(handle.events()), lambda: handle.done, lambda: handle.when_done(print),
    ]  # fmt: skip


@forks
def test_a_forked_process_is_told_what_it_is() -> None:
    generator = FakeGenerator()

    def reload() -> Any:
        raise AssertionError("the models of the parent are loaded again")

    with FastTTS(generator, FakeVerifier(), reload=reload, scheduling=UNTIMED) as engine:
        expected = engine.search("a", **OPTIONS)
        handle = engine.submit("b", **OPTIONS)
        stream = engine.stream("c", **OPTIONS)
        next(stream)

        def work() -> None:
            nonlocal stream
            assert not engine.health.is_healthy
            assert "forked" in str(engine.health.reason)
            for call in calls_of(engine, handle):
                with pytest.raises(BackendError, match="forked"):
                    call()
            with handle:
                pass
            stream.close()
            del stream
            engine.close()
            gc.collect()

        assert in_fork(work) == 0
        assert engine.health.is_healthy
        assert handle.result().text
        assert list(stream)[-1].result.text
        assert engine.search("a", **OPTIONS).candidates == expected.candidates
    assert engine.is_closed


@forks
def test_a_fork_while_the_models_are_loaded_does_not_hang() -> None:
    """The engine's own locks are held then, in the child for ever."""
    is_loading, may_load = threading.Event(), threading.Event()

    def reload() -> Any:
        is_loading.set()
        may_load.wait(20)
        return FakeGenerator(), FakeVerifier()

    with FastTTS(FakeGenerator(), FakeVerifier(), reload=reload) as engine:
        thread = threading.Thread(target=engine.restart)
        thread.start()
        is_loading.wait(20)

        def work() -> None:
            assert "forked" in str(engine.health.reason)
            engine.close()

        assert in_fork(work) == 0
        may_load.set()
        thread.join(20)
        assert engine.search("a", **OPTIONS).text


@forks
@pytest.mark.parametrize("function", [score, ascore])
def test_a_verifier_that_was_in_use_serves_a_forked_process(function: Any) -> None:
    verifier = FunctionVerifier(function)
    with FastTTS(FakeGenerator(), verifier) as engine:
        engine.search("a", **OPTIONS)

        def work() -> None:
            own = FastTTS(FakeGenerator(), verifier)
            assert own.search("a", **OPTIONS).score == 0.5

        assert in_fork(work) == 0
        assert engine.search("a", **OPTIONS).score == 0.5


PROGRAM = """
import os, sys
from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator

class Generator(FakeGenerator):
    def close(self):
        print("closed in the parent:", os.getpid() == parent, flush=True)
        super().close()

parent = os.getpid()
engine = FastTTS(Generator())
engine.search("a", search="none", max_tokens=2)
child = os.fork()
if child == 0:
    sys.exit(0)
os.waitpid(child, 0)
engine.search("b", search="none", max_tokens=2)
"""


VLLM_PROGRAM = """
import multiprocessing, os, sys, time, weakref
import fasttts.backends.vllm.engine_lifecycle

def shutdown():
    print("ended in the parent:", os.getpid() == parent, flush=True)

shutdown.__module__ = "vllm.v1.engine.core_client"
parent = os.getpid()
client = multiprocessing.Process()
weakref.finalize(client, shutdown)
worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=[60], daemon=True)
worker.start()
child = os.fork()
if child == 0:
    sys.exit(0)
os.waitpid(child, 0)
worker.join(0.2)
print("the worker lives:", worker.is_alive(), flush=True)
"""
PROGRAMS = {
    PROGRAM: "closed in the parent: True\n",
    VLLM_PROGRAM: "the worker lives: True\nended in the parent: True\n",
}


@pytest.mark.parametrize("program", PROGRAMS, ids=["an engine", "vLLM's processes"])
def test_what_a_forked_process_does_at_its_exit_is_not_the_parent_s(program: str) -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, PROGRAMS[program]), done.stderr


def forked_health() -> bool:
    return ENGINES[0].health.is_healthy


ENGINES: list[FastTTS] = []


@forks
def test_a_pool_of_forked_processes() -> None:
    with FastTTS(FakeGenerator()) as engine, contextlib.ExitStack() as stack:
        ENGINES.append(engine)
        stack.callback(ENGINES.clear)
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
            assert pool.submit(forked_health).result(20) is False
        assert engine.search("a", search="none", max_tokens=2).text
