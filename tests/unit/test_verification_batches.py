"""When scores that choose among whole answers alone are asked for."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from fasttts import FastTTS, SearchResult
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.interfaces import Verification, VerificationRequest
from fasttts.scheduling.verifier_batching import WAITED_FOR_TOKENS
from fasttts.verifiers.async_scoring import AsyncScoring


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


def searched(verifier: Any, **options: Any) -> SearchResult:
    with FastTTS(FakeGenerator(max_num_seqs=32), verifier) as engine:
        return engine.search("Problem", n=64, max_tokens=240, **options)


def test_answers_are_scored_once_all_have_ended() -> None:
    verifier = Counting()
    result = searched(verifier, search="best_of_n")
    assert verifier.sizes == [64]
    assert result.candidates[0].score is not None


def test_searches_at_once_ask_once_each_at_most() -> None:
    verifier, problems = Counting(), [f"Problem {index}" for index in range(4)]
    with (
        FastTTS(FakeGenerator(max_num_seqs=32), verifier) as engine,
        ThreadPoolExecutor(len(problems)) as pool,
    ):
        search = partial(engine.search, search="best_of_n", n=16, max_tokens=240)
        results = list(pool.map(search, problems))
    assert len(verifier.sizes) <= len(problems)
    assert sum(verifier.sizes) == 16 * len(problems)
    assert all(result.candidates[0].score is not None for result in results)


@pytest.mark.parametrize("options", [{"search": "beam_search"}, {"budget": {"seconds": 60.0}}])
def test_scores_that_may_save_time_come_early(options: dict[str, Any]) -> None:
    verifier = Counting()
    searched(verifier, **{"search": "best_of_n"} | options)
    assert len(verifier.sizes) > 1


def test_a_verifier_beside_the_generator_begins_early() -> None:
    verifier = Beside()
    searched(verifier, search="best_of_n")
    assert len(verifier.sizes) > 1


def test_no_call_holds_up_other_searches_for_long() -> None:
    verifier = Counting()
    with FastTTS(FakeGenerator(max_num_seqs=32), verifier) as engine:
        result = engine.search("Problem", search="best_of_n", n=1024, max_tokens=240)
    num_tokens = sum(candidate.num_tokens for candidate in result.candidates)
    assert sum(verifier.sizes) == 1024
    assert len(verifier.sizes) >= num_tokens // (2 * WAITED_FOR_TOKENS) > 1
