"""When scores that choose among whole answers alone are asked for."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fasttts import FastTTS, SearchResult
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.interfaces import Verification, VerificationRequest
from fasttts.scheduling.verifier_batching import WAITED_FOR_TOKENS
from fasttts.verifiers.async_scoring import AsyncScoring

OPTIONS: dict[str, Any] = {"n": 16, "max_tokens": 240}
PROBLEMS = [f"Problem {index}" for index in range(4)]


class Counting(FakeVerifier):
    """Notes how many answers each call scores."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        self.sizes.append(len(requests))
        return super().score(requests)


class Beside(Counting):
    """One that says of itself that it works in other threads."""

    def score_async(self, requests: Sequence[VerificationRequest]) -> AsyncScoring:
        yield from ()
        return self.score(requests)


def answered(verifier: Any, **options: Any) -> list[SearchResult]:
    """Several searches at once."""
    with FastTTS(FakeGenerator(max_num_seqs=32), verifier) as engine:

        def one(problem: str) -> SearchResult:
            return engine.search(problem, **OPTIONS | options)

        with ThreadPoolExecutor(len(PROBLEMS)) as pool:
            return list(pool.map(one, PROBLEMS))


def test_answers_are_scored_once_all_have_ended() -> None:
    verifier = Counting()
    results = answered(verifier, search="best_of_n")
    assert len(verifier.sizes) <= len(PROBLEMS)
    assert sum(verifier.sizes) == len(PROBLEMS) * OPTIONS["n"]
    assert all(result.candidates[0].score is not None for result in results)


@pytest.mark.parametrize("options", [{"search": "beam_search"}, {"budget": {"seconds": 60.0}}])
def test_scores_that_may_save_time_come_early(options: dict[str, Any]) -> None:
    verifier = Counting()
    answered(verifier, **{"search": "best_of_n"} | options)
    assert len(verifier.sizes) > len(PROBLEMS)


def test_a_verifier_beside_the_generator_begins_early() -> None:
    verifier = Beside()
    answered(verifier, search="best_of_n")
    assert len(verifier.sizes) > len(PROBLEMS)


def test_no_call_holds_up_other_searches_for_long() -> None:
    verifier = Counting()
    with FastTTS(FakeGenerator(max_num_seqs=32), verifier) as engine:
        result = engine.search("Problem", search="best_of_n", n=1024, max_tokens=240)
    num_tokens = sum(candidate.num_tokens for candidate in result.candidates)
    assert sum(verifier.sizes) == 1024
    assert len(verifier.sizes) >= num_tokens // (2 * WAITED_FOR_TOKENS) > 1
