"""The result cache: what it gives back, what it survives, who may share it."""

import asyncio
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

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


def entry_of(directory: Path) -> Path:
    (path,) = directory.glob("*.result")
    return path


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def changed(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"seed":0', b'"seed":1'))


def linked(path: Path) -> None:
    """A valid entry outside, which a link leads to."""
    path.symlink_to(path.rename(path.parents[1] / "outside"))


def replaced(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.unlink()
        make(path)

    return damage


DAMAGES = {
    "cut": cut,
    "changed": changed,
    "empty": lambda path: path.write_bytes(b""),
    "no text": lambda path: path.write_bytes(b"\xff\x00" * 1000),
    "deep": lambda path: path.write_bytes(b"[" * 1_000_000),
    "link": linked,
    "loop": replaced(lambda path: path.symlink_to(path)),
    "dangling": replaced(lambda path: path.symlink_to("nowhere")),
    "pipe": replaced(os.mkfifo),
    "gone": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_counts_as_absent_and_is_written_again(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "cache"
    with open_engine(directory) as engine:
        computed = engine.search("hello", n=4)
        DAMAGES[damage](entry_of(directory))
        outside = {path: path.read_bytes() for path in tmp_path.glob("outside")}
        again = engine.search("hello", n=4)
        assert (again.usage.is_cached, again.candidates) == (False, computed.candidates)
        assert ("a cached result is ignored" in caplog.text) == (damage != "gone")
        assert as_computed(engine.search("hello", n=4)) == untimed(again)
    assert {path: path.read_bytes() for path in tmp_path.glob("outside")} == outside
    assert stat.S_IMODE(entry_of(directory).lstat().st_mode) == 0o600


def test_a_directory_in_the_place_of_an_entry_costs_a_warning(
    engine: FastTTS, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine.search("hello", n=4)
    replaced(Path.mkdir)(entry_of(tmp_path))
    assert not engine.search("hello", n=4).usage.is_cached
    assert "a result is not cached" in caplog.text


@pytest.mark.parametrize("field", ["seed", "config", "text", "candidates"])
def test_an_entry_is_of_its_key_and_its_search(
    field: str, engine: FastTTS, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither another search's entry nor one that was made up answers a search."""
    first = engine.search("hello", n=4, seed=1)
    moved = entry_of(tmp_path)
    engine.search("hello", n=4, seed=2)
    (other,) = set(tmp_path.glob("*.result")) - {moved}
    other.write_bytes(moved.read_bytes())
    assert not engine.search("hello", n=4, seed=2).usage.is_cached
    assert "not the one that was written for its key" in caplog.text

    class Forged(ResultCache):
        def read(self, key: str) -> SearchResult:
            made_up = {"seed": 9, "config": first.config | {"n": 8}, "text": "?", "candidates": ()}
            return replace(first, **{field: made_up[field]})

    cache = Forged(tmp_path)
    with FastTTS(FakeGenerator(), FakeVerifier(), scheduling=PLAIN, cache=cache) as forging:
        assert not forging.search("hello", n=4, seed=1).usage.is_cached
    assert "it is of another search" in caplog.text


def test_only_the_user_may_read_a_cache(engine: FastTTS, tmp_path: Path) -> None:
    cache = ResultCache(tmp_path / "of" / "its own")
    cache.write("../key/\0", engine.search("hello", n=4))
    assert stat.S_IMODE(cache.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(entry_of(cache.directory).stat().st_mode) == 0o600
    assert cache.read("../key/\0") is not None


def test_a_directory_that_others_may_write_into_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(0o777)
    ResultCache(tmp_path)
    assert "others may write into it" in caplog.text
    assert "--cache-dir" in caplog.text


@pytest.mark.parametrize("name", ["cache.db", "cache.db-wal", "cache.db-journal", "ab/cd/e.val"])
@pytest.mark.parametrize("content", [b"", b"no database" * 1000])
def test_files_of_others_and_of_older_versions_are_left_alone(
    name: str, content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    with open_engine(tmp_path) as engine:
        engine.search("hello", n=4)
        assert engine.search("hello", n=4).usage.is_cached
        ResultCache(tmp_path, size_limit_bytes=1).write("key", engine.search("hello", n=4))
    assert file.read_bytes() == content
    assert "ignored" not in caplog.text


def test_a_cache_that_is_lost_or_full_fails_no_call(
    engine: FastTTS, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    computed = engine.search("hello", n=4)
    entry_of(tmp_path).unlink()
    tmp_path.rmdir()
    tmp_path.touch()
    again = engine.search("hello", n=4)
    assert (again.usage.is_cached, again.candidates) == (False, computed.candidates)
    assert "a result is not cached" in caplog.text
    tmp_path.unlink()
    assert not engine.search("hello", n=4).usage.is_cached
    assert engine.search("hello", n=4).usage.is_cached


@pytest.mark.parametrize("name", ["file", "file/below", "~nobody-of-this-name/x", "nul\0"])
def test_what_can_be_no_directory_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = name if name.startswith("~") else str(tmp_path / name)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        ResultCache(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"directory": None}, "cache_dir is a path, as a str or a Path, not NoneType"),
        ({"directory": b"/tmp"}, "cache_dir is a path, as a str or a Path, not bytes"),
        ({"size_limit_bytes": "1GiB"}, "size_limit_bytes is an integer, not str: '1GiB'"),
        ({"size_limit_bytes": 1e9}, "size_limit_bytes is an integer, not float"),
    ],
)
def test_arguments_of_the_wrong_type_are_named(
    arguments: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ResultCache(**{"directory": tmp_path, **arguments})


def test_the_oldest_results_go(tmp_path: Path) -> None:
    with FastTTS(FakeGenerator()) as engine:
        result = replace(engine.search("hello", search="none"), text="x" * (1 << 16))
    (tmp_path / "mine").write_bytes(b"x" * (1 << 20))
    unfinished = tmp_path / f"{'0' * 64}.result.{'0' * 16}.tmp"
    unfinished.write_bytes(b"x" * (1 << 18))
    cache = ResultCache(tmp_path, size_limit_bytes=1 << 19)
    for number in range(30):
        cache.write(f"{number}", result)
        assert cache.read(f"{number}") == result
    assert cache.read("0") is None
    assert not unfinished.exists()
    assert (tmp_path / "mine").exists()
    assert sum(path.stat().st_size for path in tmp_path.glob("*.result")) <= 1 << 19
    cache.write("too long", replace(result, text="x" * (1 << 20)))
    assert cache.read("too long") is None
    assert cache.read("29") == result


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
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)
    ]
    told = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0], told
    assert len({output for output, _ in told}) == 1
    assert {errors for _, errors in told} == {b""}
    assert len(list(tmp_path.iterdir())) == len(list(tmp_path.glob("*.result"))) == 4


def test_threads_leave_nothing_open(engine: FastTTS) -> None:
    engine.search("hello", n=4)
    before = len(os.listdir("/proc/self/fd"))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: engine.search("hello", n=4), range(32)))
    assert len(os.listdir("/proc/self/fd")) <= before
