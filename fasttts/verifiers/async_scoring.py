"""Verification that waits for another thread, told without waiting.

A flow is a generator: it yields the futures it waits for and returns the verifications. Whoever
drives it decides how to wait: the step loop goes on decoding and resumes the flow once the future
is done; `finish` blocks. Nothing is written twice for the two.
"""

from collections.abc import Generator, Sequence
from concurrent.futures import Future, wait
from typing import Any, Protocol, TypeVar, runtime_checkable

from fasttts.interfaces import Verification, VerificationRequest, Verifier
from fasttts.verifiers.model_ref import ModelVerifier

Result = TypeVar("Result")

Waiting = Generator["Future[Any]", None, Result]
"""Yields what it waits for; resumed once that is done."""

AsyncScoring = Waiting[list[Verification]]


@runtime_checkable
class AsyncVerifier(Verifier, Protocol):
    """A verifier whose work, or part of it, runs in other threads."""

    def score_async(self, requests: Sequence[VerificationRequest]) -> AsyncScoring:
        """`score`, which begins when the flow is first resumed and never blocks."""
        ...


def try_async(verifier: Verifier) -> AsyncVerifier | None:
    """The verifier if it flows, or the asynchronous one that stands behind a named model."""
    if isinstance(verifier, ModelVerifier) and verifier.is_loaded:
        (verifier,) = verifier.parts
    return verifier if isinstance(verifier, AsyncVerifier) else None


def scoring_of(verifier: Verifier, requests: Sequence[VerificationRequest]) -> AsyncScoring:
    """The flow of any verifier; one that has none scores when it is first resumed."""
    if (asynchronous := try_async(verifier)) is not None:
        return (yield from asynchronous.score_async(requests))
    return verifier.score(requests)


def finish(flow: Waiting[Result]) -> Result:
    """Drives a flow to its end, blocking."""
    while True:
        try:
            wait([next(flow)])
        except StopIteration as end:
            result: Result = end.value
            return result


def together(flows: Sequence[Waiting[Result]]) -> Waiting[list[Result]]:
    """Begins all flows before it waits for the first one; their results in order."""
    begun = [_begin(flow) for flow in flows]
    results: list[Result] = []
    for flow in begun:
        result = yield from flow
        results.append(result)
    return results


def _begin(flow: Waiting[Result]) -> Waiting[Result]:
    """The rest of a flow after its first stop."""
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
