"""The result cache: what it gives back, what it survives, who may share it."""

import asyncio
import builtins
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import diskcache
import pytest

from fasttts import (
    Budget,
    ConfigurationError,
    FastTTS,
    Finished,
    PrefixDelta,
    SchedulingConfig,
    SearchError,
    SearchResult,
    SearchStarted,
    TextDelta,
    Timings,
)
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.config import PLAIN
from fasttts.engine.result_cache import ResultCache


def open_engine(cache_dir: Path, scheduling: SchedulingConfig = PLAIN) -> FastTTS:
    return FastTTS(
        FakeGenerator(), FakeVerifier(), scheduling=scheduling, cache=ResultCache(cache_dir)
    )


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FastTTS]:
    with open_engine(tmp_path) as engine:
        yield engine


def lookups(engine: FastTTS) -> tuple[int, int]:
    calls = engine.stats().requests
    return calls.num_cache_hits, calls.num_cache_misses


def untimed(result: SearchResult) -> SearchResult:
    return replace(result, timings=Timings())


def as_computed(result: SearchResult) -> SearchResult:
    """A cached result without what tells that it is one."""
    assert result.usage.is_cached
    return untimed(replace(result, usage=replace(result.usage, is_cached=False)))


@pytest.mark.parametrize("search", ["beam_search", "best_of_n", "self_consistency", "none"])
def test_a_cached_result_is_the_computed_one(tmp_path: Path, search: str) -> None:
    with open_engine(tmp_path) as first:
        computed = first.search("hello", n=8, search=search)
        assert not computed.usage.is_cached
        assert lookups(first) == (0, 1)
    with open_engine(tmp_path, SchedulingConfig(slots=3)) as other:
        again = other.search("hello", n=8, search=search)
        assert other.usage.num_iterations == 0
        assert lookups(other) == (1, 0)
    assert as_computed(again) == untimed(computed)
    assert again.timings.generation_s == again.timings.verification_s == 0.0


def test_the_cache_is_off_by_default(engine: FastTTS) -> None:
    engine.search("hello", n=4)
    with FastTTS(FakeGenerator(), FakeVerifier()) as other:
        assert not other.search("hello", n=4).usage.is_cached
        assert lookups(other) == (0, 0)


def test_every_way_to_call_finds_the_result(engine: FastTTS) -> None:
    computed = engine.search("hello", n=4)
    streamed = list(engine.stream("hello", n=4))
    (many,) = engine.search_many(["hello"], n=4)
    later = asyncio.run(engine.asearch("hello", n=4))
    assert isinstance(streamed[-1], Finished)
    for result in (streamed[-1].result, many, later):
        assert isinstance(result, SearchResult)
        assert as_computed(result) == untimed(computed)
    assert lookups(engine) == (3, 1)


async def test_streams_of_a_cached_result_tell_the_whole_text(engine: FastTTS) -> None:
    for options, delta in (({"n": 4}, PrefixDelta), ({"search": "none"}, TextDelta)):
        computed = engine.search("hello", **options)
        events = list(engine.stream("hello", **options))
        assert [event async for event in engine.astream("hello", **options)][:-1] != []
        assert isinstance(events[0], SearchStarted | TextDelta)
        assert "".join(e.text for e in events if isinstance(e, delta)) == computed.text
        assert isinstance(events[-1], Finished)


def test_what_time_may_cut_is_computed(engine: FastTTS) -> None:
    for _ in range(2):
        assert not engine.search("hello", n=4, budget=Budget(seconds=3600)).usage.is_cached
    assert lookups(engine) == (0, 0)


def test_counted_budgets_are_cached_and_errors_are_not(engine: FastTTS) -> None:
    for is_cached in (False, True):
        result = engine.search("hello", n=4, budget=Budget(tokens=60))
        assert (result.usage.is_cached, result.stop_reason) == (is_cached, "tokens")
        with pytest.raises(SearchError):
            engine.search("hello", n=4, max_tokens=1, on_cut="raise")
    assert lookups(engine) == (1, 3)


@pytest.mark.parametrize("size", [1, 1 << 16], ids=["in the database", "in a file"])
@pytest.mark.parametrize("damage", ["cut", "changed", "other", "number", "pickle", "gone"])
def test_a_damaged_entry_counts_as_absent_and_is_written_again(
    size: int, damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with FastTTS(FakeGenerator()) as engine:
        result = replace(engine.search("hello", search="none"), text="x" * size)
    cache = ResultCache(tmp_path)
    cache.write("key", result)
    assert len(list(tmp_path.rglob("*.val"))) == (size > 1)
    assert cache.read("key") == result
    damage_entry(tmp_path, damage)
    assert cache.read("key") is None
    assert ("a cached result is ignored" in caplog.text) == (damage != "gone")
    cache.write("key", result)
    assert cache.read("key") == result


def test_a_search_with_a_damaged_entry_runs_again(engine: FastTTS, tmp_path: Path) -> None:
    computed = engine.search("hello", n=4)
    damage_entry(tmp_path, "cut")
    again = engine.search("hello", n=4)
    assert (again.usage.is_cached, again.candidates) == (False, computed.candidates)
    assert as_computed(engine.search("hello", n=4)) == untimed(again)


def damage_entry(directory: Path, damage: str) -> None:
    with diskcache.Cache(str(directory)) as store:
        (name,) = store
        entry = store[name]
        damaged: dict[str, object] = {
            "cut": entry[:-10],
            "changed": entry.replace('"seed":0', '"seed":1'),
            "other": "{}",
            "number": 5,
            "pickle": builtins.print,
        }
        assert damaged["changed"] != entry
        if damage in damaged:
            store[name] = damaged[damage]
        else:
            del store[name]


def test_a_lost_database_fails_no_call(
    engine: FastTTS, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    computed = engine.search("hello", n=4)
    for file in tmp_path.glob("cache.db*"):
        file.write_bytes(b"no database" * 1000)
    again = engine.search("hello", n=4)
    assert (again.usage.is_cached, again.candidates) == (False, computed.candidates)
    assert "a result is not cached" in caplog.text
    with pytest.raises(ConfigurationError, match=r"cannot be used .*delete what is in it"):
        ResultCache(tmp_path)


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigurationError, match="cannot be used"):
        ResultCache(file)


def test_without_diskcache_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "diskcache", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'fasttts\[cache\]'"):
        ResultCache(tmp_path)


def test_the_oldest_results_go(tmp_path: Path) -> None:
    with FastTTS(FakeGenerator()) as engine:
        result = replace(engine.search("hello", search="none"), text="x" * (1 << 16))
    cache = ResultCache(tmp_path, size_limit_bytes=1 << 20)
    for number in range(30):
        cache.write(f"{number}", result)
    assert cache.read("29") == result
    assert cache.read("0") is None


PROGRAM = """
import sys
from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.engine.result_cache import ResultCache

with FastTTS(FakeGenerator(), FakeVerifier(), cache=ResultCache(sys.argv[1])) as engine:
    for _ in range(3):
        found = engine.search_many(["a", "b", "c", "d"], n=4)
    print([result.candidates for result in found])
"""


def test_processes_may_share_a_cache(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)
    ]
    told = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], told
    assert len({output for output, _ in told}) == 1
    assert {errors for _, errors in told} == {b""}
    with diskcache.Cache(str(tmp_path)) as store:
        assert len(store) == 4
        assert store.check() == []


def test_threads_leave_nothing_open(engine: FastTTS) -> None:
    engine.search("hello", n=4)
    before = len(os.listdir("/proc/self/fd"))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: engine.search("hello", n=4), range(32)))
    assert len(os.listdir("/proc/self/fd")) <= before
