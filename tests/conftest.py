"""What holds for every test: no network, no reports, reproducible examples."""

import asyncio
import gc
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from platformdirs import user_cache_path

# vLLM and huggingface_hub read these when they are imported: set before any test module is.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["VLLM_DO_NOT_TRACK"] = "1"
os.environ["VLLM_NO_USAGE_STATS"] = "1"
# Else vLLM asks the operating system for its address by opening a socket to the outside.
os.environ["VLLM_HOST_IP"] = "127.0.0.1"
# What vLLM finds out about a class of models takes it a process of several seconds. It keeps that
# here, by default below XDG_CACHE_HOME, which tests change.
os.environ.setdefault("VLLM_CACHE_ROOT", str(user_cache_path("vllm")))
# Read when torch is first imported. Models this small gain nothing from a second thread, and those
# of two processes keep each other from the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from fasttts import ConfigurationError, FastTTS, shared_engine
from fasttts.code import CodeRunner, Limits
from fasttts.config import engine_config
from tests.engines import OpenWith

freeze_heap = gc.freeze
"""Has the garbage collector look at nothing again that is there now, which is not garbage."""

gc.disable()  # until all test modules are imported

settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True, max_examples=60)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_itemcollected(item: pytest.Item) -> None:
    if item.get_closest_marker("vllm") and not item.get_closest_marker("timeout"):
        item.add_marker(pytest.mark.timeout(300))  # models take their time on a busy machine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first, so that at the end no process waits long for another."""

    def num_marked(name: str) -> Counter[Path]:
        return Counter(item.path for item in items if item.get_closest_marker(name))

    slow, vllm = num_marked("slow"), num_marked("vllm")
    items.sort(key=lambda item: (slow[item.path], vllm[item.path]), reverse=True)


def pytest_collection_finish() -> None:
    freeze_heap()
    gc.enable()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not has_gpu():
        pytest.skip("needs a GPU")
    if item.get_closest_marker("vllm"):
        keep_out_of_collections(item.path)
        put_kernels_in_place_once()


@cache
def put_kernels_in_place_once() -> None:
    """Has vLLM look for the places of its kernels for the first engine on a CPU only.

    It looks through every attribute of every module for each engine, which takes as long as all
    else that it does then, and finds nothing: what is imported later gets the kernels in place.
    """
    from vllm.platforms.cpu import CpuPlatform

    platform: Any = CpuPlatform
    if found := getattr(platform, "register_triton_kernel_overrides", None):  # newer than 0.24
        platform.register_triton_kernel_overrides = staticmethod(cache(found))


@cache
def keep_out_of_collections(file: Path) -> None:
    """Has the garbage collector look at nothing again that is there before the tests of a file.

    vLLM collects a dozen times for each engine that is opened and closed, which takes longer than
    all else that it does then. It also takes back what is frozen: not here.
    """
    import vllm

    assert vllm.LLM is not None, f"what its first use imports is imported before {file}"
    gc.collect()
    freeze_heap()
    gc.freeze = gc.unfreeze = lambda: None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says how many tests ran that some machines skip: skipped ones did not pass."""
    reports = [one for kind in terminalreporter.stats.values() for one in kind]
    reports = [one for one in reports if isinstance(one, pytest.TestReport)]
    kinds = (("real", "real models"), ("browser", "browser"), ("sandbox", "sandbox"))
    for marker, name in kinds:
        tests = [one for one in reports if marker in one.keywords]
        if tests:
            num_run = sum(one.when == "call" for one in tests)
            num_skipped = sum(one.skipped for one in tests)
            terminalreporter.write_line(f"{name}: {num_run} tests run, {num_skipped} skipped")


@cache
def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture(scope="session")
def demo_engine() -> FastTTS:
    """The engine on the bundled models that the whole session shares; closed at exit."""
    return shared_engine(engine_config())


@pytest.fixture(scope="session")
def code_runner() -> Iterator[CodeRunner]:
    """Runs programs in this machine's sandbox, within little time; closed at the end."""
    try:
        runner = CodeRunner(limits=Limits(cpu_s=1, wall_s=20.0, memory_bytes=256 << 20))
    except ConfigurationError as error:
        pytest.skip(f"needs a sandbox: {error}")
    with runner:
        yield runner


@pytest.fixture
def open_with(monkeypatch: pytest.MonkeyPatch) -> OpenWith:
    """Has a function of the test open engines where they would load their models with vLLM.

    It takes the place of what stands between a configuration and vLLM, so a command, a chat class
    or an example that opens an engine is given the test's.
    """
    return lambda open_engine: monkeypatch.setattr(FastTTS, "from_config", open_engine)


@pytest.fixture(scope="module")
def unmeasured() -> Iterator[None]:
    """No coverage for the tests of a module, in this thread and in those that begin meanwhile.

    For tests that run the same lines for seconds, which others run and measure: with coverage they
    take three times as long.
    """
    tracers = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    yield
    sys.settrace(tracers[0])
    threading.settrace(tracers[1])


@pytest.fixture
def main_thread_loop() -> Iterator[None]:
    """An event loop for LlamaIndex's synchronous calls, which else open one and leave it open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()
