"""Verifiers that are Python functions: unit tests, calculators, schema checks, remote services.

They run in parallel with the step loop, sync ones in threads, async ones in an event loop of their
own, so that a slow function never blocks decoding. One that hangs keeps neither an engine from
closing nor the interpreter from exiting.
"""

import functools
import inspect
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fasttts.errors import (
    BackendError,
    ConfigurationError,
    ContractError,
    Role,
    shown,
    wrong_type,
)
from fasttts.interfaces import Verification, VerificationRequest, fingerprint
from fasttts.types import Numerics
from fasttts.verifiers.async_calls import AsyncCalls
from fasttts.verifiers.async_scoring import AsyncScoring, finish
from fasttts.verifiers.daemon_pool import Call, DaemonPool

_ROLE: Role = "verifier"

Scores = float | Sequence[float]
"""A function's value: the newest step's score, or one for each of the steps it was given."""

ScoreFunction = Callable[[str, tuple[str, ...]], Scores | Awaitable[Scores]]
"""`score(problem, steps)`, sync or async; scores are in [0, 1]."""


class FunctionVerifier:
    """Scores with a Python function of the problem and the steps so far.

    The result of a search depends on the function's values, so it has to be pure: it may be called
    again with the same steps.

    Args:
        function: `score(problem, steps)`, sync or async. It returns the score of the last of
            `steps`, or a sequence with a score for each of them, in [0, 1].
        name: For results and logs; None takes the function's own.
        num_threads: Calls of a sync function that may run at the same time; more than one requires
            a thread-safe function. Calls of an async function always run together.

    Raises:
        ConfigurationError: `num_threads` is not positive, or an argument is of the wrong type.
    """

    is_batched = False
    """Scores of many requests do not cost less together."""

    numerics: Numerics = "deterministic"
    """A pure function gives the same score in any batch."""

    def __init__(
        self, function: ScoreFunction, *, name: str | None = None, num_threads: int = 1
    ) -> None:
        if not callable(function):
            raise wrong_type("function", function, "a function score(problem, steps)")
        if not isinstance(name, str | None):
            raise wrong_type("name", name, "a str or None")
        count: object = num_threads
        if not isinstance(count, int) or count < 1:
            raise ConfigurationError(
                f"num_threads={shown(num_threads)}: a function needs one thread or more"
            )
        self._function = function
        self._name = name or _name_of(function)
        self._num_threads = num_threads
        self._workers = AsyncCalls() if _is_async(function) else _Threads(num_threads)
        self._is_closed = False

    @property
    def name(self) -> str:
        """The function's name."""
        return self._name

    @property
    def fingerprint(self) -> str | None:
        """The function's own attribute of that name; None where it has none."""
        return fingerprint(self._function)

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        """Scores each request's unscored steps; see `interfaces.Verifier.score`.

        Raises:
            BackendError: The function raised; its error is the cause.
            ContractError: It returned no scores in [0, 1], or too few.
        """
        return finish(self.score_async(requests))

    def score_async(self, requests: Sequence[VerificationRequest]) -> AsyncScoring:
        """`score` without blocking; see `async_scoring.AsyncVerifier`.

        Raises:
            BackendError: As for `score`.
        """
        if self._is_closed:
            raise BackendError("the verifier is closed", role=_ROLE)
        calls = self._workers.submit(
            [
                functools.partial(self._function, request.problem, request.steps[:end])
                for request in requests
                for end in _ends(request)
            ]
        )
        try:
            scores: list[list[float]] = []
            rest = iter(calls)
            for request in requests:
                scores.append([])
                for end, call in zip(_ends(request), rest, strict=False):
                    yield call
                    scores[-1].append(self._score(call, end))
            return [Verification(scores=tuple(found)) for found in scores]
        finally:
            for call in calls:
                self._workers.give_up(call)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles the function: a copy works, and is closed, by itself."""
        again = functools.partial(type(self), name=self._name, num_threads=self._num_threads)
        return again, (self._function,)

    def close(self) -> None:
        """Refuses further work; a running call is neither interrupted nor waited for."""
        self._is_closed = True
        self._workers.close()

    def _score(self, future: Call[Any], num_steps: int) -> float:
        try:
            returned = future.result()
        except BaseException as error:  # a user's function may raise anything
            what = f"{self._name} raised {type(error).__name__} for step {num_steps}: {error}"
            raise BackendError(what, role=_ROLE) from error
        if hasattr(returned, "tolist"):  # an array, a tensor, or a number of theirs
            returned = returned.tolist()
        is_list = isinstance(returned, Sequence) and not isinstance(returned, str | bytes)
        if is_list and len(returned) != num_steps:
            raise ContractError(
                f"{self._name} returned {len(returned)} scores for {num_steps} steps: return one "
                "for each step, or a number for the last one",
                role=_ROLE,
            )
        value = returned[-1] if is_list else returned
        try:
            score = math.nan if isinstance(value, str | bytes) else float(value)
        except (TypeError, ValueError):
            score = math.nan
        if not 0 <= score <= 1:
            raise ContractError(
                f"{self._name} returned {value!r} for step {num_steps}: return a score in [0, 1]",
                role=_ROLE,
            )
        return score


class _Threads:
    """Runs calls of a sync function."""

    def __init__(self, num_threads: int) -> None:
        self._pool = DaemonPool(num_threads, name="fasttts-verifier")

    def submit(self, functions: Sequence[Callable[[], Any]]) -> list[Call[Any]]:
        return [self._pool.submit(function) for function in functions]

    def give_up(self, call: Call[Any]) -> None:
        self._pool.give_up(call)

    def close(self) -> None:
        self._pool.close()


def _is_async(function: ScoreFunction) -> bool:
    call = getattr(type(function), "__call__", None)  # noqa: B004, its kind is asked for
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def _name_of(function: ScoreFunction) -> str:
    named = function.func if isinstance(function, functools.partial) else function
    return getattr(named, "__qualname__", None) or type(named).__name__


def _ends(request: VerificationRequest) -> range:
    return range(request.num_scored + 1, len(request.steps) + 1)
