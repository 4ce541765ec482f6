"""What is scored when a search has a deadline."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from fasttts import Budget, FastTTS, SearchResult
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.config import SchedulingConfig
from fasttts.interfaces import Verification, VerificationRequest
from fasttts.verifiers import FunctionVerifier


class Slow(FakeGenerator):
    """Takes as long for an iteration as a model."""

    def __init__(self) -> None:
        super().__init__(mean_step_tokens=6, mean_steps=6)

    def step(self) -> list[Any]:
        time.sleep(0.01)
        return super().step()


class SlowVerifier(FakeVerifier):
    """Takes a while for each request."""

    def __init__(self, request_s: float) -> None:
        super().__init__()
        self._request_s = request_s

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        time.sleep(self._request_s * len(requests))
        return super().score(requests)


def share_of_steps(problem: str, steps: Sequence[str]) -> float:
    return len(steps) / 99


def searched(verifier: Any, seconds: float, **options: Any) -> SearchResult:
    with FastTTS(Slow(), verifier, **options) as engine:
        return engine.search(
            "p1", search="best_of_n", n=64, max_tokens=300, budget=Budget(seconds=seconds)
        )


def scores(result: SearchResult) -> list[float | None]:
    assert result.stop_reason == "seconds"
    return [candidate.score for candidate in result.candidates]


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize(
    "make",
    [FakeVerifier, lambda: SlowVerifier(1e-3), lambda: FunctionVerifier(share_of_steps)],
    ids=["fast", "slow", "beside"],
)
def test_answers_before_a_deadline_have_scores(make: Callable[[], Any], early: bool) -> None:
    scheduling = SchedulingConfig(early_verification=early, lookahead_verification=early)
    result = searched(make(), 0.6, scheduling=scheduling)
    found = scores(result)
    num_unscored = found.count(None)
    assert len(found) > 10
    assert num_unscored <= len(found) / 4
    assert result.score == max(score for score in found if score is not None)
    assert bool(result.warnings) == bool(num_unscored)


def test_what_no_time_was_left_to_score_is_told() -> None:
    def late(problem: str, steps: Sequence[str]) -> float:
        time.sleep(1.0)
        return 0.5

    result = searched(FunctionVerifier(late), 0.5)
    num_unscored = scores(result).count(None)
    assert num_unscored
    (warning,) = result.warnings
    assert warning.startswith(f"{num_unscored} of {len(result.candidates)} complete answers have")
    assert "raise seconds" in warning
