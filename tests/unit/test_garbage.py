"""The garbage collector around vLLM: what is collected, and that it works as before afterwards."""

import gc
from collections.abc import Iterator

import pytest

from fasttts.backends.vllm.garbage import collected_behind, collected_on_request


@pytest.fixture
def collections() -> Iterator[list[str]]:
    """The phases of collections while a test runs."""
    phases: list[str] = []

    def note(phase: str, _: object) -> None:
        phases.append(phase)

    was_enabled = gc.isenabled()
    gc.disable()  # else a collection of its own may come between
    gc.callbacks.append(note)
    yield phases
    gc.callbacks.remove(note)
    (gc.enable if was_enabled else gc.disable)()


@pytest.mark.parametrize(("is_only", "expected"), [(True, 1), (False, 4)])
def test_one_collection_takes_the_place_of_all(
    is_only: bool, expected: int, collections: list[str]
) -> None:
    @collected_behind(is_only=is_only)
    def fail() -> None:
        for _ in range(3):
            gc.collect()
        raise ValueError("fails")

    collect = gc.collect
    with pytest.raises(ValueError, match="fails"):
        fail()
    assert collections.count("start") == expected
    assert gc.collect is collect


@pytest.mark.parametrize("is_enabled", [True, False])
def test_nothing_is_collected_unasked(is_enabled: bool, collections: list[str]) -> None:
    @collected_on_request()
    def fail() -> None:
        assert not gc.isenabled()
        gc.collect()
        raise ValueError("fails")

    (gc.enable if is_enabled else gc.disable)()
    with pytest.raises(ValueError, match="fails"):
        fail()
    assert gc.isenabled() is is_enabled
    assert "start" in collections
