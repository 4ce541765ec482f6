"""What a result says of its numerics, and that the result cache tells the two apart."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fasttts import ConfigurationError, FastTTS, SearchResult
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.config import engine_config
from fasttts.engine.result_cache import ResultCache
from fasttts.interfaces import Verification, VerificationRequest, numerics
from fasttts.types import Numerics
from fasttts.verifiers import FunctionVerifier, Gate, Mean
from fasttts.verifiers.ensemble import VerifierOption
from fasttts.verifiers.model_ref import ModelVerifier
from fasttts.verifiers.resolve import joint_numerics

OPTIONS: dict[str, Any] = {"n": 4, "beam_width": 2, "max_tokens": 60}


class FastGenerator(FakeGenerator):
    """Promises nothing, as a GPU's fastest kernels do."""

    numerics: Numerics = "default"


class FastVerifier(FakeVerifier):
    numerics: Numerics = "default"


class Scorer:
    """A user's verifier that knows nothing of numerics."""

    name = "scorer"

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        return [Verification(scores=(0.5,) * (len(r.steps) - r.num_scored)) for r in requests]

    def close(self) -> None:
        pass


def half(problem: str, steps: tuple[str, ...]) -> float:
    return 0.5


def search(generator: FakeGenerator, verifier: VerifierOption | None, **more: Any) -> SearchResult:
    with FastTTS(generator, verifier) as engine:
        return engine.search("What is 2 + 2?", **{**OPTIONS, **more})


@pytest.mark.parametrize(
    ("generator", "verifier", "expected"),
    [
        (FakeGenerator, FakeVerifier, "deterministic"),
        (FakeGenerator, FastVerifier, "default"),
        (FastGenerator, FakeVerifier, "default"),
        (FakeGenerator, lambda: half, "deterministic"),
        (FakeGenerator, Scorer, "default"),
        (FakeGenerator, lambda: (FakeVerifier(), half), "deterministic"),
        (FakeGenerator, lambda: (half, FastVerifier()), "default"),
    ],
)
def test_a_result_is_deterministic_where_both_models_are(
    generator: Any, verifier: Any, expected: str
) -> None:
    result = search(generator(), verifier())
    assert result.numerics == expected
    assert result.to_dict()["numerics"] == expected
    assert SearchResult.from_json(result.to_json()) == result


def test_a_verifier_that_took_no_part_does_not_count() -> None:
    plain = search(FakeGenerator(), FastVerifier(), search="none", n=1, beam_width=1)
    assert plain.numerics == "deterministic"
    assert search(FastGenerator(), None, search="none", n=1, beam_width=1).numerics == "default"


def test_combinations_are_as_deterministic_as_their_parts() -> None:
    function = FunctionVerifier(half)
    assert joint_numerics(function) == "deterministic"
    assert joint_numerics(Mean(function, Gate(half, FakeVerifier()))) == "deterministic"
    assert joint_numerics(Mean(function, Gate(half, FastVerifier()))) == "default"
    named = ModelVerifier("some/model")
    assert joint_numerics(Mean(function, named)) == "default"
    named.bind(FakeVerifier())
    assert joint_numerics(Mean(function, named)) == "deterministic"


@pytest.mark.parametrize("found", [None, "exact", 1])
def test_a_part_that_says_nothing_known_promises_nothing(found: object) -> None:
    part = Scorer()
    part.numerics = found  # type: ignore[attr-defined]  # a user's class may have any attribute
    assert numerics(part) == "default"


def test_a_result_from_before_there_were_numerics_promises_nothing() -> None:
    document = search(FakeGenerator(), FakeVerifier()).to_dict()
    del document["numerics"]
    assert SearchResult.from_dict(document).numerics == "default"


def test_the_cache_never_answers_the_one_with_the_other(tmp_path: Path) -> None:
    def cached(generator: FakeGenerator, verifier: FakeVerifier) -> SearchResult:
        with FastTTS(generator, verifier, cache=ResultCache(tmp_path)) as engine:
            return engine.search("What is 2 + 2?", **OPTIONS)

    pairs = [
        (FastGenerator, FakeVerifier),
        (FakeGenerator, FastVerifier),
        (FakeGenerator, FakeVerifier),
    ]
    found = [cached(generator(), verifier()) for generator, verifier in pairs]
    assert [result.usage.is_cached for result in found] == [False, False, False]
    again = [cached(generator(), verifier()) for generator, verifier in pairs]
    assert [result.usage.is_cached for result in again] == [True, True, True]
    assert [result.numerics for result in again] == ["default", "default", "deterministic"]


def test_the_option_comes_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine_config().numerics == "default"
    monkeypatch.setenv("FASTTTS_NUMERICS", "deterministic")
    assert engine_config().numerics == "deterministic"
    assert engine_config(numerics="default").numerics == "default"
    monkeypatch.setenv("FASTTTS_NUMERICS", "exact")
    with pytest.raises(ConfigurationError, match=r"numerics='exact'.*'deterministic'.*FASTTTS_"):
        engine_config()
