"""Scores that tell nothing apart: counted, shown, warned about once."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.config import SchedulingConfig
from fasttts.errors import ContractError
from fasttts.interfaces import Verification, VerificationRequest
from fasttts.types import SearchResult
from fasttts.verifiers import Gate, Mean

OPTIONS: dict[str, Any] = {"n": 8, "max_tokens": 60, "seed": 3}
LOGGER = "fasttts.scheduling.score_counts"


class Marked(FakeVerifier):
    """A verifier whose model gives not-a-number for the steps that a rule marks."""

    def __init__(self, is_marked: Callable[[str], bool]) -> None:
        super().__init__()
        self.is_marked = is_marked

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        return [
            self._marked(request, found)
            for request, found in zip(requests, super().score(requests), strict=True)
        ]

    def _marked(self, request: VerificationRequest, found: Verification) -> Verification:
        is_nan = tuple(map(self.is_marked, request.steps[request.num_scored :]))
        pairs = zip(found.scores, is_nan, strict=True)
        scores = tuple(0.0 if nan else score for score, nan in pairs)
        return replace(found, scores=scores, is_nan=is_nan if any(is_nan) else ())


def is_odd(step: str) -> bool:
    return sum(step.encode()) % 2 == 1


def search(verifier: Any, **options: Any) -> SearchResult:
    with FastTTS(FakeGenerator(), verifier) as engine:
        return engine.search("p", **{**OPTIONS, **options})


def test_scores_that_differ_are_compared_and_neither_tied_nor_flat() -> None:
    usage = search(FakeVerifier(), search="best_of_n").usage
    assert usage.num_compared_scores == 8
    assert usage.num_compared_rounds >= 1
    assert usage.num_tied_scores == usage.num_flat_rounds == usage.num_nan_scores == 0


@pytest.mark.parametrize("method", ["best_of_n", "beam_search", "dvts"])
def test_one_score_for_everything_is_flat(method: str) -> None:
    usage = search(lambda problem, steps: 0.5, search=method).usage
    assert usage.num_tied_scores == usage.num_compared_scores > 0
    assert usage.num_flat_rounds == usage.num_compared_rounds > 0


def test_two_scores_tie_without_being_flat() -> None:
    usage = search(lambda p, steps: float(is_odd(steps[-1])), search="best_of_n").usage
    assert 0 < usage.num_tied_scores <= usage.num_compared_scores == 8
    assert usage.num_flat_rounds == 0


def test_equal_texts_are_no_tie() -> None:
    usage = search(FakeVerifier(), search="best_of_n", temperature=0.0).usage
    assert usage.num_compared_rounds == usage.num_tied_scores == 0


def test_without_a_verifier_nothing_is_compared() -> None:
    usage = search(None, search="self_consistency").usage
    assert usage.num_compared_scores == usage.num_compared_rounds == 0


def test_not_a_number_counts_as_0_and_is_counted() -> None:
    result = search(Marked(is_odd), search="best_of_n")
    steps = [step for candidate in result.candidates for step in candidate.steps]
    marked = [step for step in steps if is_odd(step.text)]
    assert 0 < len(marked) < len(steps)
    assert result.usage.num_nan_scores == len(marked)
    assert all(step.score == 0.0 for step in marked)


@pytest.mark.parametrize("combined", [Mean, Gate])
def test_combinations_pass_on_what_was_no_number(combined: Any) -> None:
    verifier = combined(lambda problem, steps: 1.0, Marked(is_odd))
    assert search(verifier, search="best_of_n").usage.num_nan_scores > 0


def test_a_verifier_that_gives_no_number_at_all_ends_the_search() -> None:
    with FastTTS(FakeGenerator(), Marked(lambda step: True)) as engine:
        with pytest.raises(ContractError, match="gave not-a-number for every step") as caught:
            engine.search("p", **OPTIONS)
        assert engine.stats().requests.ended["failed"] == 1
    assert caught.value.role == "verifier"


@pytest.mark.parametrize("method", ["best_of_n", "beam_search"])
def test_the_tree_does_not_depend_on_the_schedule(method: str) -> None:
    trees = []
    for options in ({}, {"speculation": False, "early_verification": False}, {"slots": 2}):
        scheduling = SchedulingConfig(**options)
        engine = FastTTS(FakeGenerator(), Marked(is_odd), scheduling=scheduling)
        with engine:
            trees.append(engine.search("p", search=method, **OPTIONS).candidates)
    assert trees[0] == trees[1] == trees[2]


@pytest.mark.parametrize(
    ("verifier", "message"),
    [
        (lambda problem, steps: 0.5, "gave one score to all candidates of"),
        (lambda problem, steps: float(len(steps[-1]) > 3), "the score of another one"),
        (Marked(is_odd), "scores that are not a number, and count as 0"),
    ],
)
def test_each_fault_is_warned_about_once(
    verifier: Any, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, LOGGER), FastTTS(FakeGenerator(), verifier) as engine:
        for seed in range(12):
            engine.search("p", **{**OPTIONS, "seed": seed, "search": "best_of_n", "n": 16})
        usage = engine.usage
    told = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert len(told) == 1
    assert message in told[0]
    assert usage.num_compared_rounds == 12
    assert math.isclose(usage.num_compared_scores, 12 * 16, rel_tol=0.1)


def test_a_good_verifier_is_not_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, LOGGER), FastTTS(FakeGenerator(), FakeVerifier()) as e:
        for seed in range(12):
            e.search("p", **{**OPTIONS, "seed": seed, "n": 16})
    assert not [record for record in caplog.records if record.name == LOGGER]
