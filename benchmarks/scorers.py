"""Verifiers around a verifier: what search-and-learn does, seeded scores, and a count."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks.workload import SeededVerifier
from fasttts.backends.base import Verification, VerificationRequest, Verifier


class _Around:
    """A verifier around another one, which belongs to the caller.

    Args:
        inner: The verifier that scores.
    """

    def __init__(self, inner: Verifier) -> None:
        self._inner = inner

    def close(self) -> None:
        """Leaves the inner verifier open."""


class Rescoring(_Around):
    """Scores every step anew each time, as search-and-learn does."""

    name = "rescoring"

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        """The scores asked for, at the cost of all."""
        found = self._inner.score([replace(request, num_scored=0) for request in requests])
        return [
            replace(one, scores=one.scores[request.num_scored :])
            for one, request in zip(found, requests, strict=True)
        ]


class CostlySeededVerifier(_Around):
    """Runs a real verifier for its cost and answers with seeded scores."""

    name = "seeded"

    def __init__(self, inner: Verifier) -> None:
        super().__init__(inner)
        self._seeded = SeededVerifier()

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        """Seeded scores at the real cost."""
        costs = self._inner.score(requests)
        return [
            replace(cost, scores=seeded.scores)
            for cost, seeded in zip(costs, self._seeded.score(requests), strict=True)
        ]


class Watched(_Around):
    """Remembers what a verifier was asked, to be counted after the search."""

    name = "watched"

    def __init__(self, inner: Verifier) -> None:
        super().__init__(inner)
        self._asked: list[VerificationRequest] = []

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        """The inner verifier's answer."""
        self._asked += requests
        return self._inner.score(requests)

    def num_new_tokens(self, encode: Callable[[str], Sequence[int]]) -> int:
        """Tokens of the problem and of every step that was asked for, its tag included."""
        problems = {request.problem for request in self._asked}
        steps = (step for request in self._asked for step in request.steps[request.num_scored :])
        return sum(len(encode(p)) for p in problems) + sum(len(encode(s)) + 1 for s in steps)
