"""A search that begins with given steps: they are part of every answer and cost nothing."""

from dataclasses import replace

import pytest

from fasttts import ConfigurationError, FastTTS, Step
from fasttts.backends.fake import FakeGenerator, FakeVerifier, hashed_score
from fasttts.config import PLAIN, SchedulingConfig
from fasttts.engine.request import Prompt
from fasttts.types import AnswerPrefix, PrefixDelta
from tests.searches import UNTIMED

PROBLEM = "How much is it?"
TEXTS = ("two and two", "are four")
SCORES = tuple(round(hashed_score(PROBLEM, TEXTS[:end]), 4) for end in (1, 2))
ANSWER_PREFIX = AnswerPrefix(
    text="two and two\n\nare four\n\n",
    steps=tuple(Step(text=text, score=score) for text, score in zip(TEXTS, SCORES, strict=True)),
)
SEARCHES = ["best_of_n", "self_consistency", "beam_search", "dvts", "dynamic_branching"]
SEARCHES += ["varying_granularity", "particle_filtering", "lookahead"]


def opened(engine: FastTTS, answer_prefix: AnswerPrefix | None = ANSWER_PREFIX) -> Prompt:
    return replace(engine.render(PROBLEM), answer_prefix=answer_prefix)


def searched(search: str, scheduling: SchedulingConfig) -> tuple[object, ...]:
    with FastTTS(FakeGenerator(), FakeVerifier(), scheduling=scheduling) as engine:
        result = engine.search(opened(engine), search=search, n=8, seed=2)
    assert result.usage.required_tokens <= result.usage.generated_tokens
    return result.candidates, result.usage.required_tokens, result.usage.num_nodes


@pytest.mark.parametrize("search", SEARCHES)
def test_every_candidate_goes_on_from_the_opening(search: str) -> None:
    plain, ahead = searched(search, PLAIN), searched(search, UNTIMED)
    assert plain == ahead
    candidates = plain[0]
    assert isinstance(candidates, tuple)
    for candidate in candidates:
        assert candidate.text.startswith(ANSWER_PREFIX.text)
        assert candidate.text != ANSWER_PREFIX.text
        assert tuple(step.text for step in candidate.steps[:2]) == TEXTS
        if search != "self_consistency":
            assert tuple(step.score for step in candidate.steps[:2]) == SCORES


def test_the_verifier_reads_the_opening_and_scores_what_follows() -> None:
    with FastTTS(FakeGenerator(), FakeVerifier(), scheduling=UNTIMED) as engine:
        best = engine.search(opened(engine), n=4).candidates[0]
    texts = tuple(step.text for step in best.steps)
    for end in range(3, len(texts) + 1):
        assert best.steps[end - 1].score == pytest.approx(
            hashed_score(PROBLEM, texts[:end]), abs=1e-4
        )


def test_the_opening_is_not_paid_for_again() -> None:
    with FastTTS(FakeGenerator(), FakeVerifier(), scheduling=UNTIMED) as engine:
        found = engine.search(opened(engine), search="best_of_n", n=1, seed=1)
        num_answer_prefix_tokens = len(engine.tokenizer.encode(ANSWER_PREFIX.text))
        assert found.usage.required_tokens == found.usage.returned_tokens - num_answer_prefix_tokens
        assert engine.usage.required_tokens == found.usage.required_tokens
        streamed = list(engine.stream(opened(engine), n=4))
        text = "".join(event.text for event in streamed if isinstance(event, PrefixDelta))
        assert text.startswith(ANSWER_PREFIX.text)


def test_an_opening_that_cannot_work_is_refused() -> None:
    unscored = AnswerPrefix(text=ANSWER_PREFIX.text, steps=(Step(text=TEXTS[0]),))
    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        with pytest.raises(ConfigurationError, match="too long for an answer of 10"):
            engine.search(opened(engine), n=4, max_tokens=10)
        with pytest.raises(ConfigurationError, match="needs a score"):
            engine.search(opened(engine, unscored), n=4)
