"""Non-blocking verification, as a generator of futures.

An asynchronous scoring is a generator: it yields the futures it waits for and returns the
verifications. Its driver decides how to wait: the step loop goes on decoding and resumes the
generator once the future is done; `finish` blocks. Both share one implementation.
"""

from collections.abc import Generator, Sequence
from concurrent.futures import Future, wait
from typing import Any, Protocol, TypeVar, runtime_checkable

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

    Args:
        verifier: The verifier.
        requests: As for `Verifier.score`.
    """
    if (asynchronous := try_async(verifier)) is not None:
        return (yield from asynchronous.score_async(requests))
    return verifier.score(requests)


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
