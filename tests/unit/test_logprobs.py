"""Log-probabilities of plain decoding: which tokens a result has them for."""

import math

import pytest

from fasttts import ConfigurationError, FastTTS, SearchResult
from fasttts.backends.fake import FakeGenerator, FakeVerifier

QUESTION = "What is 2 + 2?"


def test_a_result_has_the_tokens_of_its_text() -> None:
    with FastTTS(FakeGenerator()) as engine:
        plain = engine.search(QUESTION, search="none", max_tokens=40)
        result = engine.search(QUESTION, search="none", max_tokens=40, num_logprobs=3)
    assert plain.logprobs == ()
    assert result.text == plain.text
    assert "".join(token.text for token in result.logprobs) == result.text
    for token in result.logprobs:
        assert len(token.likeliest) == 3
        assert token.likeliest[0] == (token.text, token.logprob)  # greedily
    assert SearchResult.from_json(result.to_json()) == result


def test_neither_the_end_nor_a_stop_is_among_them() -> None:
    script = "one, two, three"
    with FastTTS(FakeGenerator(lambda prompt: script)) as engine:
        whole = engine.search(QUESTION, search="none", num_logprobs=0)
        cut = engine.search(QUESTION, search="none", num_logprobs=1, stop=(", three",))
    assert "".join(token.text for token in whole.logprobs) == script
    assert "".join(token.text for token in cut.logprobs) == cut.text == "one, two"
    assert whole.logprobs[0].likeliest == ()
    assert whole.logprobs[0].logprob == 0.0


def test_the_logarithm_of_nothing_is_a_number() -> None:
    """JSON has no infinity."""
    with FastTTS(FakeGenerator(lambda prompt: "yes")) as engine:
        result = engine.search(QUESTION, search="none", num_logprobs=2)
    (likely, unlikely) = result.logprobs[0].likeliest
    assert (likely, unlikely[1]) == (("y", 0.0), -9999.0)
    assert math.isfinite(SearchResult.from_json(result.to_json()).logprobs[0].likeliest[1][1])


def test_a_search_has_none() -> None:
    with (
        FastTTS(FakeGenerator(), FakeVerifier()) as engine,
        pytest.raises(ConfigurationError, match="search='none'"),
    ):
        engine.search(QUESTION, num_logprobs=1)
