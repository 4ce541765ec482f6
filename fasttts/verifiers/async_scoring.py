"""Non-blocking verification, as a generator of futures.

An asynchronous scoring is a generator: it yields the futures it waits for and returns the
verifications. Its driver decides how to wait: the step loop goes on decoding and resumes the
generator once the future is done; `finish` blocks. Both share one implementation.
"""

import operator
from collections.abc import Generator, Sequence
from concurrent.futures import Future, wait
from typing import Any, Protocol, TypeVar, runtime_checkable

from fasttts.errors import ContractError
from fasttts.interfaces import Verification, VerificationRequest, Verifier
from fasttts.verifiers.model_ref import ModelVerifier

Result = TypeVar("Result")

Waiting = Generator["Future[Any]", None, Result]
"""Yields futures; resumed once each is done."""

AsyncScoring = Waiting[list[Verification]]


@runtime_checkable
class AsyncVerifier(Verifier, Protocol):
    """A verifier whose work, or part of it, runs in other threads."""

    def score_async(self, requests: Sequence[VerificationRequest]) -> AsyncScoring:
        """Scores as `score` does, without blocking; begins when it is first resumed."""
        ...


def try_async(verifier: Verifier) -> AsyncVerifier | None:
    """The verifier if it flows, or the asynchronous one that stands behind a named model."""
    if isinstance(verifier, ModelVerifier) and verifier.is_loaded:
        (verifier,) = verifier.parts
    return verifier if isinstance(verifier, AsyncVerifier) else None


def scoring_of(verifier: Verifier, requests: Sequence[VerificationRequest]) -> AsyncScoring:
    """Scores with any verifier; one that is not asynchronous blocks when first resumed.

    What is in the list that comes back may be anything, where the verifier is a user's class:
    `read_verification` makes verifications of it.

    Args:
        verifier: The verifier.
        requests: As for `Verifier.score`.

    Raises:
        ContractError: It returned no list with an element for each request.
    """
    found: Any
    if (asynchronous := try_async(verifier)) is not None:
        found = yield from asynchronous.score_async(requests)
    else:
        found = verifier.score(requests)
    what = type(found).__name__
    if isinstance(found, Sequence) and not isinstance(found, str | bytes):
        if len(found) == len(requests):
            return list(found)
        what = f"{len(found)} verifications"
    raise ContractError(
        f"the verifier returned {what} for {len(requests)} requests: return a list with a "
        "Verification for each",
        role="verifier",
    )


def read_verification(found: object, request: VerificationRequest) -> Verification:
    """Makes a verification of Python numbers; arrays of numbers are taken too.

    Args:
        found: What a verifier, which may be a user's class, returned for a request.
        request: The request.

    Raises:
        ContractError: It is no verification, or has a wrong number of scores, or scores outside
            [0, 1].
    """
    try:
        given: Any = found  # checked right here
        listed, counts = given.scores, [given.num_computed_tokens, given.num_cached_tokens]
        listed = [listed] if getattr(listed, "ndim", None) == 0 else list(listed)
        scores = tuple(map(_number, listed))
        num_computed_tokens, num_cached_tokens = map(operator.index, counts)
        is_nan = tuple(map(bool, getattr(found, "is_nan", ())))
    except Exception as error:  # it may be anything
        raise ContractError(
            f"the verifier returned {found!r:.200}, which is no Verification: "
            f"{type(error).__name__}: {error}",
            role="verifier",
        ) from error
    num_asked = len(request.steps) - request.num_scored
    is_counted = min(num_computed_tokens, num_cached_tokens) >= 0
    is_counted &= len(is_nan) in (0, num_asked)
    if len(scores) != num_asked or not all(0 <= s <= 1 for s in scores) or not is_counted:
        raise ContractError(
            f"the verifier returned {listed!r:.200}: expected {num_asked} scores in [0, 1]",
            role="verifier",
        )
    return Verification(
        scores=scores,
        num_computed_tokens=num_computed_tokens,
        num_cached_tokens=num_cached_tokens,
        is_nan=is_nan,
    )


def _number(value: Any) -> float:
    """A number, or an array without dimensions."""
    if isinstance(value, str | bytes) or getattr(value, "ndim", 0) != 0:
        raise TypeError(f"{value!r:.80} is no number")
    return float(value)


def finish(flow: Waiting[Result]) -> Result:
    """Drives a generator of futures to its end, blocking, and returns its result."""
    while True:
        try:
            wait([next(flow)])
        except StopIteration as end:
            result: Result = end.value
            return result


def together(flows: Sequence[Waiting[Result]]) -> Waiting[list[Result]]:
    """Begins all generators before it waits for the first one; returns their results in order."""
    begun = [_begin(flow) for flow in flows]
    results: list[Result] = []
    for flow in begun:
        result = yield from flow
        results.append(result)
    return results


def _begin(flow: Waiting[Result]) -> Waiting[Result]:
    """Runs a generator to its first future and returns one that continues from there."""
    try:
        first = next(flow)
    except StopIteration as end:
        return _ended(end.value)
    return _continued(first, flow)


def _ended(result: Result) -> Waiting[Result]:
    yield from ()
    return result


def _continued(first: "Future[Any]", flow: Waiting[Result]) -> Waiting[Result]:
    yield first
    return (yield from flow)
