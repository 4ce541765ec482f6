"""The sampling that a model comes with: how it is read, and where it is the default."""

from collections.abc import Iterator
from typing import Any

import pytest

from fasttts import ConfigurationError, FastTTS, SearchConfig, SearchResult
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.config import SearchMethod, search_config
from fasttts.decoding.published_sampling import read_published_sampling
from fasttts.decoding.sampling import PublishedSampling, Sampling
from fasttts.engine.result_cache import ResultCache
from fasttts.routing import Never, Router
from fasttts.search import resolve

QWEN = {"do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.1}
PUBLISHED = PublishedSampling(temperature=0.7, top_p=0.8, top_k=20, repetition_penalty=1.1)
SAMPLING = Sampling(temperature=0.7, top_p=0.8, top_k=20, repetition_penalty=1.1)
QUESTION = "What is 2 + 2?"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (QWEN, PUBLISHED),
        ({"eos_token_id": 2, "pad_token_id": None}, PublishedSampling()),
        ({"do_sample": True}, PublishedSampling(temperature=1.0)),
        ({"do_sample": False, "temperature": 0.7}, PublishedSampling(temperature=0.0)),
        ({"temperature": 0.6, "top_p": None}, PublishedSampling(temperature=0.6)),
        ({"top_k": -1, "min_p": 0.05}, PublishedSampling(top_k=0, min_p=0.05)),
    ],
)
def test_reading(config: dict[str, Any], expected: PublishedSampling) -> None:
    assert read_published_sampling(config, "x") == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -1),
        ("temperature", "hot"),
        ("temperature", float("inf")),
        ("top_k", 2.5),
        ("top_p", 0),
        ("top_p", True),
        ("min_p", 1.5),
        ("repetition_penalty", 0),
    ],
)
def test_a_value_that_cannot_work_is_named_with_its_file(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=rf"^a/b\.json has {name}=.*: make it "):
        read_published_sampling({name: value}, "a/b.json")


def test_plain_decoding_samples_as_the_model_s_authors_say() -> None:
    assert search_config(search="none").sampling_for(PUBLISHED) == SAMPLING
    greedy = search_config(search="none", temperature=0, repetition_penalty=1.0, top_k=0, top_p=1)
    assert greedy.sampling_for(PUBLISHED) == Sampling()
    assert search_config(search="none").sampling_for(PublishedSampling()) == Sampling()


@pytest.mark.parametrize("search", ["beam_search", "best_of_n", "self_consistency"])
def test_a_search_keeps_its_temperature_and_takes_the_rest(search: SearchMethod) -> None:
    found = search_config(search=search).sampling_for(PUBLISHED)
    assert found == Sampling(temperature=0.8, top_p=0.8, top_k=20, repetition_penalty=1.1)
    own = search_config(search=search, temperature=0.3, top_p=0.5)
    assert own.sampling_for(PUBLISHED).temperature == 0.3
    assert own.sampling_for(PUBLISHED).top_p == 0.5
    greedy = PublishedSampling(temperature=0.0)
    assert search_config(search=search).sampling_for(greedy).temperature == 0.8


def test_resolving_spells_the_values_out() -> None:
    resolved = resolve(SearchConfig(search="none"), has_verifier=False, published=PUBLISHED)
    assert resolved.sampling == SAMPLING
    assert resolve(resolved, has_verifier=False) == resolved


@pytest.fixture
def engine() -> Iterator[FastTTS]:
    generator = FakeGenerator(published_sampling=PUBLISHED)
    with FastTTS(generator, FakeVerifier()) as engine:
        yield engine


def test_an_engine_decodes_plainly_as_with_the_same_options(engine: FastTTS) -> None:
    assert engine.published_sampling == PUBLISHED
    own = engine.search(QUESTION, search="none")
    explicit = {"temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.1}
    with FastTTS(FakeGenerator(), FakeVerifier()) as other:
        same = other.search(QUESTION, search="none", **explicit)
        greedy = other.search(QUESTION, search="none")
    assert own.text == same.text != greedy.text
    assert own.config == same.config
    assert {name: own.config[name] for name in explicit} == explicit
    assert own.unlike_model == greedy.unlike_model == {}


def test_a_result_says_where_it_differs_from_the_model(engine: FastTTS) -> None:
    assert engine.search(QUESTION, n=4).unlike_model == {"temperature": 0.7}
    plain = engine.search(QUESTION, search="none", temperature=0, top_k=5)
    assert plain.unlike_model == {"temperature": 0.7, "top_k": 20}
    assert SearchResult.from_json(plain.to_json()) == plain


def test_a_router_drafts_as_the_model_s_authors_say(engine: FastTTS) -> None:
    routed = Router(engine, Never()).search(QUESTION, n=4)
    drafted = Router(engine).search(QUESTION, n=4)
    assert routed.text == engine.search(QUESTION, search="none").text
    assert drafted.routing is not None
    assert drafted.candidates
    texts = [candidate.text for candidate in drafted.candidates]
    assert routed.text in texts


def test_the_cache_follows_the_values(tmp_path: Any) -> None:
    texts = set()
    for published in (PublishedSampling(), PUBLISHED):
        generator = FakeGenerator(published_sampling=published)
        with FastTTS(generator, cache=ResultCache(str(tmp_path))) as engine:
            result = engine.search(QUESTION, search="none")
            assert not result.usage.is_cached
            assert engine.search(QUESTION, search="none").usage.is_cached
            texts.add(result.text)
    assert len(texts) == 2
