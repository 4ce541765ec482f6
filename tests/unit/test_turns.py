"""Processes on one GPU measure one at a time, once all have opened their engines."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.turns import turn

SHORT_S, LONG_S = 0.2, 20.0


@pytest.fixture
def others() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


@pytest.mark.parametrize("first_is_alone", [False, True])
@pytest.mark.parametrize("second_is_alone", [False, True])
def test_who_measures_is_alone(
    first_is_alone: bool, second_is_alone: bool, tmp_path: Path, others: ThreadPoolExecutor
) -> None:
    file, entered = tmp_path / "turns", threading.Event()

    def second() -> None:
        with turn(file, alone=second_is_alone):
            entered.set()

    with ExitStack() as first:
        first.enter_context(turn(file, alone=first_is_alone))
        done = others.submit(second)
        is_kept_out = first_is_alone or second_is_alone
        assert entered.wait(SHORT_S if is_kept_out else LONG_S) is not is_kept_out
    done.result(LONG_S)
    assert entered.is_set()


def test_without_a_file_nobody_waits() -> None:
    with turn(None, alone=True), turn(None, alone=True):
        pass
