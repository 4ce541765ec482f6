"""The store of JSON documents: a reader sees a whole document, whoever writes at the same time."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

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


def test_writers_do_not_meet(cache: Path) -> None:
    """A fixed name for the unfinished file would let one writer publish the other's half."""

    def write(number: int) -> list[int] | None:
        STORE.write(KEY, {"numbers": [number] * 50_000})
        return read()

    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(write, range(64)))
    assert all(numbers and set(numbers) == {numbers[0]} for numbers in seen)
    assert [path.suffix for path in cache.iterdir()] == [".json"]
