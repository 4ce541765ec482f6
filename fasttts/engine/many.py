"""Many problems together: their lists checked, their searches run in shared batches."""

import functools
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing

from fasttts.answers.extraction import Extractor
from fasttts.config import SearchConfig, search_config
from fasttts.engine.core import EngineCore
from fasttts.engine.handle import SearchHandle
from fasttts.engine.request import Problem, check_extractor
from fasttts.errors import ConfigurationError, OverloadedError, SearchError, wrong_type
from fasttts.scheduling.run import SearchRun
from fasttts.types import SearchResult


def seeded(
    config: SearchConfig, seeds: Sequence[int] | None, problems: Sequence[Problem]
) -> list[SearchConfig]:
    """Makes the configuration of each problem.

    Args:
        config: The options of all problems.
        seeds: A seed for each problem; None gives all of them the same.
        problems: The problems.

    Raises:
        ConfigurationError: The problems are no list, there are not as many seeds, or one of them
            cannot work.
    """
    if isinstance(problems, str | bytes) or not isinstance(problems, Sequence):
        raise wrong_type("problems", problems, "a list of questions or conversations")
    if seeds is None:
        return [config] * len(problems)
    if isinstance(seeds, str | bytes) or not isinstance(seeds, Sequence):
        raise wrong_type("seeds", seeds, "a list of integers or None")
    if len(seeds) != len(problems):
        raise ConfigurationError(f"{len(seeds)} seeds for {len(problems)} problems")
    for number, seed in enumerate(seeds):
        if not isinstance(seed, int):
            raise wrong_type(f"seeds[{number}]", seed, "an integer")
    return [search_config(config, seed=seed) for seed in seeds]


def check_limits(max_in_flight: object, timeout_s: object) -> None:
    """Checks how many problems may be in work, and for how long.

    Args:
        max_in_flight: Most at a time.
        timeout_s: Seconds for all; None for no limit.

    Raises:
        ConfigurationError: They are no such numbers.
    """
    if type(max_in_flight) is not int or max_in_flight < 1:
        raise wrong_type("max_in_flight", max_in_flight, "a whole number of at least 1")
    if not isinstance(timeout_s, int | float | None):
        raise wrong_type("timeout_s", timeout_s, "a number of seconds or None")


def extractors_of(
    extractors: Sequence[Extractor | None] | None, num_problems: int
) -> Sequence[Extractor | None]:
    """Returns an extractor for each problem.

    Args:
        extractors: As many functions; None for none.
        num_problems: The number of problems.

    Raises:
        ConfigurationError: They are no list of functions, or not as many.
    """
    if extractors is None:
        return [None] * num_problems
    given: object = extractors
    is_list = isinstance(given, Sequence) and not isinstance(given, str | bytes)
    if not is_list or len(extractors) != num_problems:
        what = f"a list of {num_problems} functions, one for each problem, or None"
        raise wrong_type("extractors", given, what)
    for number, each in enumerate(extractors):
        check_extractor(f"extractors[{number}]", each)
    return extractors


def run_many(
    core: EngineCore,
    runs: Sequence[SearchRun],
    on_result: Callable[[int, SearchResult], None] | None,
) -> list[SearchResult | SearchError]:
    """Runs searches together and waits for all of them; see `FastTTS.search_many`.

    Args:
        core: Runs them.
        runs: The searches.
        on_result: Called with index and result of each search that has one; None for no calls.
    """
    results: dict[int, SearchResult | SearchError] = {}
    with closing(run_each(core, runs, max_in_flight=len(runs))) as ended:
        for index, outcome in ended:
            results[index] = outcome
            if on_result is not None and isinstance(outcome, SearchResult):
                on_result(index, outcome)
    return [results[index] for index in range(len(runs))]


def run_each(
    core: EngineCore,
    runs: Iterable[SearchRun],
    *,
    max_in_flight: int,
    timeout_s: float | None = None,
) -> Generator[tuple[int, SearchResult | SearchError], None, None]:
    """Runs searches together and yields index and outcome of each as it ends.

    Args:
        core: Runs them.
        runs: The searches; the next is taken when there is room for it.
        max_in_flight: Most that are submitted at a time.
        timeout_s: Seconds after which those that have not ended are cancelled and left out;
            None waits for all.
    """
    longest_s = threading.TIMEOUT_MAX if timeout_s is None else timeout_s
    until_s = time.monotonic() + longest_s if longest_s < threading.TIMEOUT_MAX else None
    ended: queue.SimpleQueue[int] = queue.SimpleQueue()
    waiting = _Waiting(runs)
    handles: dict[int, SearchHandle] = {}
    try:
        while True:
            while len(handles) < max_in_flight and (run := waiting.first()) is not None:
                try:
                    handle = core.submit(run, is_watched=False)
                except OverloadedError:
                    if not handles:
                        raise
                    break  # an own search that ends makes room
                handles[index := waiting.remove_first()] = handle
                handle.when_done(functools.partial(ended.put, index))
            if not handles:
                return
            left_s = None if until_s is None else max(0.0, until_s - time.monotonic())
            try:
                index = ended.get(timeout=left_s)
            except queue.Empty:
                return
            yield index, _outcome(handles.pop(index))
    finally:
        for handle in handles.values():
            handle.cancel()


class _Waiting:
    """Searches that are still to be submitted, by index; the first can be looked at."""

    def __init__(self, runs: Iterable[SearchRun]) -> None:
        self._runs = iter(runs)
        self._first: SearchRun | None = None
        self._num_removed = 0

    def first(self) -> SearchRun | None:
        """The first of them; None if there are no more."""
        if self._first is None:
            self._first = next(self._runs, None)
        return self._first

    def remove_first(self) -> int:
        """Takes the first away and returns its index."""
        self._first = None
        self._num_removed += 1
        return self._num_removed - 1


def _outcome(handle: SearchHandle) -> SearchResult | SearchError:
    try:
        return handle.result()
    except SearchError as error:
        return error
