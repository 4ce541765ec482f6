"""Log-probabilities of plain decoding: which tokens a result has them for."""

import math
from pathlib import Path

import pytest

from fasttts import ConfigurationError, FastTTS, SearchResult
from fasttts.backends.fake import FakeGenerator, FakeTokenizer, FakeVerifier
from fasttts.engine.result_cache import ResultCache
from fasttts.types import Finished, TextDelta

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


TEXTS = [
    "one, two, three",
    "é😀ü, and 漢字",
    "a\n\nb \\boxed{4}",
    "\ufffd is a character",
    "😀" * 30,
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("stop", [(), ("two",), ("ü, a", "xyz")])
@pytest.mark.parametrize("max_tokens", [1, 2, 3, 6, 20, 200])
def test_a_stream_has_the_tokens_of_each_of_its_texts(
    text: str, stop: tuple[str, ...], max_tokens: int
) -> None:
    """A token of the fake model is a byte: most end inside a character, or in a stop string."""
    options = {"search": "none", "num_logprobs": 1, "stop": stop, "max_tokens": max_tokens}
    with FastTTS(FakeGenerator(lambda prompt: text)) as engine:
        *deltas, finished = list(engine.stream(QUESTION, **options))
        alone = engine.search(QUESTION, **options)
    assert isinstance(finished, Finished)
    result = finished.result
    assert result.logprobs == alone.logprobs
    assert "".join(token.text for token in result.logprobs) == result.text
    assert all(isinstance(delta, TextDelta) for delta in deltas)
    streamed = [delta for delta in deltas if isinstance(delta, TextDelta)]
    for delta in streamed:
        assert "".join(token.text for token in delta.logprobs) == delta.text
    assert tuple(token for delta in streamed for token in delta.logprobs) == result.logprobs
    if max_tokens > 100 and "\ufffd" not in text:
        shown = text
        for each in stop:
            shown = shown.partition(each)[0]
        assert result.text == shown
        assert len(result.logprobs) == len(FakeTokenizer().encode(shown))
        assert len(streamed) > 1


def test_a_cached_stream_has_them_too(tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        with FastTTS(FakeGenerator(), cache=ResultCache(tmp_path)) as engine:
            *deltas, _ = engine.stream(QUESTION, search="none", num_logprobs=1)
        found.append([delta for delta in deltas if isinstance(delta, TextDelta)])
    first, second = ([token for delta in each for token in delta.logprobs] for each in found)
    assert first == second
    assert len(found[0]) > len(found[1]) == 1  # of the cache


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
