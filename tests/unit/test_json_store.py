"""The store of JSON documents: a reader sees a whole document, whoever writes at the same time."""

import json
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fasttts.config.json_store import JsonStore

STORE = JsonStore(name="numbers", version=3, remedy="count again")
KEY = ["a", None]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "fasttts" / "numbers"


def read(store: JsonStore = STORE) -> list[int] | None:
    return store.try_read(KEY, lambda document: document["numbers"])


def test_a_document_is_found_by_its_key_alone(cache: Path) -> None:
    assert read() is None
    path = STORE.write(KEY, {"numbers": [1, 2]})
    assert path.parent == cache
    assert read() == [1, 2]
    assert STORE.try_read(["a", "b"], dict) is None


def test_another_version_is_ignored_and_the_remedy_named(caplog: pytest.LogCaptureFixture) -> None:
    STORE.write(KEY, {"numbers": [1]})
    assert read(JsonStore(name="numbers", version=4, remedy="count anew")) is None
    assert "run `count anew` again" in caplog.text


def test_only_the_user_may_read_a_document(cache: Path) -> None:
    path = STORE.write(KEY, {"numbers": [1]})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700


def test_a_document_in_the_place_of_another_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    STORE.write(["b"], {"numbers": [2]}).rename(STORE.path(KEY))
    assert read() is None
    assert "it is about something else" in caplog.text


def linked(path: Path) -> None:
    outside = path.parents[3] / "outside.json"
    outside.write_text(json.dumps({"version": 3, "key": KEY, "numbers": [1]}))
    path.symlink_to(outside)


NO_FILES: list[Callable[[Path], object]] = [
    Path.mkdir,
    os.mkfifo,
    linked,
    lambda path: path.symlink_to("nowhere"),
    lambda path: path.symlink_to(path),
    lambda path: path.write_bytes(b" " * ((1 << 24) + 1)),
]


@pytest.mark.parametrize("make", NO_FILES)
def test_what_is_no_file_of_ours_is_ignored_and_followed_nowhere(
    make: Callable[[Path], object], cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.mkdir(parents=True)
    path = STORE.path(KEY)
    make(path)
    assert read() is None
    assert "run `count again` again" in caplog.text
    if path.is_dir():
        return
    STORE.write(KEY, {"numbers": [5]})
    assert (read(), path.is_symlink()) == ([5], False)
    assert "5" not in "".join(file.read_text() for file in cache.parents[1].glob("outside*"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary()
    | JSON.map(lambda value: json.dumps(value).encode())
    | JSON.map(lambda v: json.dumps({"version": 3, "key": KEY, "numbers": v}).encode())
    | st.sampled_from([b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000, b"\xff\xfe[\0", b""])
)
def test_a_document_of_any_content_is_read_or_ignored(content: bytes) -> None:
    path = STORE.write(KEY, {})
    path.write_bytes(content)

    def parse(found: Any) -> int:
        return sum(int(number) for number in found["numbers"])

    assert isinstance(STORE.try_read(KEY, parse), int | None)


def test_writers_do_not_meet(cache: Path) -> None:
    """A fixed name for the unfinished file would let one writer publish the other's half."""

    def write(number: int) -> list[int] | None:
        STORE.write(KEY, {"numbers": [number] * 50_000})
        return read()

    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(write, range(64)))
    assert all(numbers and set(numbers) == {numbers[0]} for numbers in seen)
    assert [path.suffix for path in cache.iterdir()] == [".json"]
