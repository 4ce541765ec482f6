"""Verifiers around a verifier: what search-and-learn does, seeded scores, and a count.

And a generator that several engines drive in turn.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.workload import SeededVerifier
from fasttts.interfaces import Generator, Verification, VerificationRequest, Verifier
from fasttts.verifiers.async_scoring import AsyncScoring, finish, scoring_of
from fasttts.verifiers.resolve import is_serial


class _Around:
    """A verifier around another one, which belongs to the caller.

    Args:
        inner: The verifier that scores.
    """

    def __init__(self, inner: Verifier) -> None:
        self._inner = inner
        self.is_serial = is_serial(inner)

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        """`score_async`, waited for."""
        return finish(self.score_async(requests))

    def score_async(self, requests: Sequence[VerificationRequest]) -> AsyncScoring:
        """The inner verifier's."""
        return scoring_of(self._inner, requests)

    def close(self) -> None:
        """Leaves the inner verifier open."""


class Shared(_Around):
    """Scores as another verifier does, which stays open when this one is closed."""

    @property
    def name(self) -> str:
        """The inner verifier's."""
        return self._inner.name


class SharedGenerator:
    """A generator that several engines drive in turn; closing one of them leaves it open."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generator, name)

    def close(self) -> None:
        """Leaves it open."""


def empty_caches(*models: object) -> None:
    """Has models forget prefixes, so that none profits from what another arm computed."""
    for model in models:
        if (reset := getattr(model, "reset_prefix_cache", None)) is not None:
            reset()


class Waiting:
    """Scores between two iterations, also where the verifier could work beside them.

    Args:
        inner: The verifier that scores; belongs to the caller.
    """

    name = "waiting"

    def __init__(self, inner: Verifier) -> None:
        self._inner = inner

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        """The inner verifier's answer."""
        return self._inner.score(requests)

    def close(self) -> None:
        """Leaves the inner verifier open."""


class Rescoring(_Around):
    """Scores every step anew each time, as search-and-learn does."""

    name = "rescoring"

    def score_async(self, requests: Sequence[VerificationRequest]) -> AsyncScoring:
        """The scores asked for, at the cost of all."""
        found = yield from super().score_async(
            [replace(request, num_scored=0) for request in requests]
        )
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

    def score_async(self, requests: Sequence[VerificationRequest]) -> AsyncScoring:
        """Seeded scores at the real cost."""
        costs = yield from super().score_async(requests)
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

    def score_async(self, requests: Sequence[VerificationRequest]) -> AsyncScoring:
        """The inner verifier's."""
        self._asked += requests
        return super().score_async(requests)

    def num_new_tokens(self, encode: Callable[[str], Sequence[int]]) -> int:
        """Tokens of the problem and of every step that was asked for, its tag included."""
        problems = {request.problem for request in self._asked}
        steps = (step for request in self._asked for step in request.steps[request.num_scored :])
        return sum(len(encode(p)) for p in problems) + sum(len(encode(s)) + 1 for s in steps)
