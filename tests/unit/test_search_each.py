"""`FastTTS.search_each`: outcomes of many problems as they end."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from fasttts import ConfigurationError, FastTTS, SearchConfig, SearchError
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.interfaces import GenerationOutput
from tests.searches import UNTIMED

PLAIN = SearchConfig(search="none", temperature=0.8, max_tokens=100)
PROBLEMS = [f"{number} + 1?" for number in range(8)]
SEEDS = range(8)


def solve(prompt: str) -> str | None:
    if "endless" in prompt:
        return "word " * 800
    return "At once." if "quick" in prompt else None


class Counted(FakeGenerator):
    """Remembers how many sequences it has decoded together; endless problems never end."""

    def __init__(self) -> None:
        super().__init__(solve)
        self.most = 0

    def step(self) -> list[GenerationOutput]:
        self.most = max(self.most, self.num_unfinished())
        return super().step()


@pytest.fixture
def generator() -> Counted:
    return Counted()


@pytest.fixture
def engine(generator: Counted) -> Iterator[FastTTS]:
    with FastTTS(generator, FakeVerifier(), scheduling=UNTIMED) as engine:
        yield engine


@pytest.mark.parametrize("max_in_flight", [1, 3, 100])
def test_the_outcomes_are_those_of_search_many(
    engine: FastTTS, generator: Counted, max_in_flight: int
) -> None:
    ended = engine.search_each(PROBLEMS, config=PLAIN, seeds=SEEDS, max_in_flight=max_in_flight)
    found = dict(ended)
    assert generator.most == min(8, max_in_flight)
    together = engine.search_many(PROBLEMS, config=PLAIN, seeds=SEEDS)
    texts = [getattr(found[index], "text", None) for index in range(8)]
    assert texts == [getattr(outcome, "text", None) for outcome in together]


def test_a_quick_problem_does_not_wait_for_a_slow_one(engine: FastTTS) -> None:
    problems = ["endless", "quick"]
    first, _ = next(engine.search_each(problems, search="none", max_tokens=2000))
    assert first == 1


def test_an_error_is_an_outcome(engine: FastTTS) -> None:
    ended = engine.search_each(["endless"], n=4, max_tokens=5, on_cut="raise")
    ((index, outcome),) = ended
    assert index == 0
    assert isinstance(outcome, SearchError)


def test_a_timeout_leaves_out_what_has_not_ended(engine: FastTTS) -> None:
    problems = ["quick", *["endless"] * 4]
    begin_s = time.monotonic()
    ended = engine.search_each(
        problems, search="none", max_tokens=3500, max_in_flight=2, timeout_s=0.05
    )
    assert len(list(ended)) < 5
    assert time.monotonic() - begin_s < 5
    assert list(engine.search_each(PROBLEMS, config=PLAIN, timeout_s=0.0)) == []


def test_closing_cancels_what_has_not_ended(engine: FastTTS) -> None:
    ended = engine.search_each(["quick", "endless", "endless"], search="none", max_tokens=3500)
    next(ended)
    ended.close()
    begin_s = time.monotonic()
    assert engine.search("quick", search="none").text == "At once."
    assert time.monotonic() - begin_s < 5
    assert engine.stats().requests.ended["cancelled"] == 2


def test_there_is_a_seed_for_each_problem(engine: FastTTS) -> None:
    with pytest.raises(ConfigurationError, match="1 seeds for 2 problems"):
        list(engine.search_each(["a", "b"], seeds=[1]))
    seeds: Any = [1, None]
    with pytest.raises(ConfigurationError, match=r"^seeds\[1\] is an integer, not NoneType: None"):
        engine.search_each(["a", "b"], seeds=seeds)
