"""Several verifiers as one: rules, weights, gates, names, faults."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttts import ConfigurationError, ContractError, FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier, hashed_score
from fasttts.interfaces import Verification, VerificationRequest
from fasttts.verifiers import (
    Entropy,
    FunctionVerifier,
    Gate,
    Mean,
    Minimum,
    ModelVerifier,
    Product,
)
from fasttts.verifiers.async_scoring import scoring_of, try_async
from fasttts.verifiers.resolve import as_verifier, is_serial, models_of, parts_of
from tests.searches import LateVerifier

STEPS = ("a", "bb", "ccc", "dddd")


def request(*steps: str, num_scored: int = 0) -> VerificationRequest:
    return VerificationRequest(problem="p", steps=steps, num_scored=num_scored)


def length(problem: str, steps: Sequence[str]) -> float:
    return min(len(steps[-1]) / 10, 1.0)


class Counting(FakeVerifier):
    """Remembers what it was asked."""

    def __init__(self, function: Callable[..., float] = hashed_score) -> None:
        super().__init__(function)
        self.asked: list[VerificationRequest] = []

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        self.asked += requests
        return super().score(requests)


def scores(verifier: Any, *requests: VerificationRequest) -> list[tuple[float, ...]]:
    return [found.scores for found in verifier.score(requests)]


@pytest.mark.parametrize(
    ("combination", "expected", "name"),
    [
        (Mean, lambda a, b: (a + b) / 2, "mean(fake-verifier, length)"),
        (Minimum, min, "minimum(fake-verifier, length)"),
        (Product, lambda a, b: a * b, "product(fake-verifier, length)"),
        (
            lambda *parts: Mean(*parts, weights=(3, 1)),
            lambda a, b: 0.75 * a + 0.25 * b,
            "mean(fake-verifier, length)",
        ),
    ],
)
def test_each_step_is_combined_alone(combination: Any, expected: Any, name: str) -> None:
    model = FakeVerifier()
    verifier = combination(model, length)
    asked = [request(*STEPS), request(*STEPS, num_scored=3), request()]
    singles = [
        [expected(hashed_score("p", STEPS[:end]), len(STEPS[end - 1]) / 10) for end in ends]
        for ends in (range(1, 5), (4,), ())
    ]
    assert scores(verifier, *asked) == [pytest.approx(one) for one in singles]
    assert verifier.name == name
    (found,) = verifier.score([request(*STEPS)])
    (alone,) = model.score([request(*STEPS)])
    assert found.num_computed_tokens == alone.num_computed_tokens
    verifier.close()


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(1e-3, 1e3)), min_size=1, max_size=5))
def test_a_mean_is_a_score_between_its_parts(parts: list[tuple[float, float]]) -> None:
    values, weights = zip(*parts, strict=True)
    mean = Mean(*[FakeVerifier() for _ in parts], weights=weights)
    assert min(values) - 1e-9 <= mean.combine(values) <= min(1.0, max(values) + 1e-9)


def test_functions_begin_before_models_run() -> None:
    seen: list[str] = []

    def function(problem: str, steps: Sequence[str]) -> float:
        return 0.5

    class Model(FakeVerifier):
        def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
            seen.append("model")
            return super().score(requests)

    verifier = Mean(Model(), function)
    function_part = verifier.parts[1]
    begin = function_part.score_async

    def flow(requests: Any) -> Any:
        seen.append("function")
        return begin(requests)

    function_part.score_async = flow
    verifier.score([request("a")])
    assert seen == ["function", "model"]
    verifier.close()


def test_a_gate_asks_the_model_only_about_what_passes() -> None:
    model = Counting()
    gate = Gate(lambda problem, steps: 0.2 if steps[-1] == "bb" else 0.9, model, threshold=0.5)
    (found,) = scores(gate, request(*STEPS))
    assert found[1] == 0.2
    assert [found[i] for i in (0, 2, 3)] == [hashed_score("p", STEPS[: i + 1]) for i in (0, 2, 3)]
    assert model.asked == [request("a"), request(*STEPS, num_scored=2)]
    model.asked.clear()
    assert scores(gate, request("bb"), request("x", "bb", num_scored=1)) == [(0.2,), (0.2,)]
    assert model.asked == []
    assert gate.name.endswith(">= 0.5, fake-verifier)")
    gate.close()


def test_a_gate_scores_step_by_step_as_all_at_once() -> None:
    gate = Gate(length, FakeVerifier(), threshold=0.3)
    (whole,) = scores(gate, request(*STEPS))
    single = [scores(gate, request(*STEPS[:end], num_scored=end - 1)) for end in range(1, 5)]
    assert [one for ((one,),) in single] == list(whole)
    gate.close()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (Mean, r"mean\(\) needs at least one"),
        (lambda: Mean(length, weights=(1, 2)), "one positive number for each of the 1 parts"),
        (lambda: Mean(length, weights=(0,)), "one positive number"),
        (lambda: Mean(length, weights=(math.nan,)), "one positive number"),
        *[
            (
                lambda weights=weights: Mean(length, length, weights=weights),
                r"one positive number for each of the 2 parts, from 1e-100 to 1e\+100",
            )
            for weights in (
                (1e308, 1e308),
                (10**400, 1),
                (10**5000, 1),
                (math.inf, 1),
                (1, -math.inf),
                (5e-324, 5e-324),
            )
        ],
        (lambda: Mean(7), "verifier=7: give a model's name"),
        (lambda: Gate(length, length, threshold=0), "lets all or nothing through"),
        (lambda: Gate(length, length, threshold=1.5), "lets all or nothing through"),
    ],
)
def test_what_cannot_work_is_refused(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build()


class Scorer:
    """A user's verifier."""

    name = "scorer"

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        return FakeVerifier().score(requests)

    def close(self) -> None:
        pass


class Scored:
    """A user's class that is no verifier."""

    def __init__(self, problem: str, steps: Sequence[str]) -> None:
        pass


@pytest.mark.parametrize("kind", [Entropy, FunctionVerifier, Mean, Gate, Scorer, Scored, float])
@pytest.mark.parametrize(
    "build",
    [
        FastTTS.load,
        lambda verifier: FastTTS.load(verifier=[verifier, "perplexity"]),
        lambda verifier: FastTTS(FakeGenerator(), verifier),
        lambda verifier: Mean(length, verifier),
        lambda verifier: Gate(length, Minimum(verifier)),
    ],
)
def test_a_class_in_place_of_an_object_is_refused(build: Any, kind: type) -> None:
    message = rf"^verifier={kind.__name__} is a class: write {kind.__name__}\(\)$"
    with pytest.raises(ConfigurationError, match=message):
        build(verifier=kind) if build == FastTTS.load else build(kind)


def test_a_name_of_a_class_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"verifiers:Entropy is a class: name a func"):
        as_verifier("fasttts.verifiers:Entropy")


@pytest.mark.parametrize("weights", [(1e100, 1e100), (1e-100, 1e-100), (10**100, 10**100)])
def test_a_mean_of_the_largest_and_least_weights(weights: tuple[float, ...]) -> None:
    assert Mean(length, length, weights=weights).combine((1.0, 0.5)) == pytest.approx(0.75)


def test_parts_may_be_named() -> None:
    combination = Gate(length, Mean("demo", FakeVerifier(), "judge"))
    assert [model.model for model in models_of(combination)] == ["demo", "judge"]
    assert len(list(parts_of(combination))) == 6
    with pytest.raises(ConfigurationError, match="'demo' is not loaded: hand it to FastTTS"):
        FastTTS(FakeGenerator(), combination)
    for model in models_of(combination):
        model.bind(FakeVerifier())
    assert (
        combination.name == "gate(length >= 0.5, mean(fake-verifier, fake-verifier, fake-verifier))"
    )
    with FastTTS(FakeGenerator(), combination) as engine:
        assert engine.verifier_name == combination.name
        assert engine.search("p", n=4, max_tokens=60).verifier == combination.name
    with pytest.raises(ConfigurationError, match="loaded by another engine"):
        models_of(combination)[0].bind(FakeVerifier())


def test_a_named_model_passes_on() -> None:
    named = ModelVerifier("demo")
    named.close()
    with pytest.raises(ConfigurationError, match="is not loaded"):
        named.score([request("a")])
    named.bind(FakeVerifier())
    assert scores(named, request("a")) == scores(FakeVerifier(), request("a"))
    assert as_verifier(named) is named
    named.close()


def test_a_list_is_a_mean_of_its_parts() -> None:
    with FastTTS(FakeGenerator(), [FakeVerifier(), length]) as engine:
        assert engine.verifier_name == "mean(fake-verifier, length)"


class Short(FakeVerifier):
    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        return [Verification(scores=()) for _ in requests]


@pytest.mark.parametrize(
    "verifier",
    [Mean(Short(), length), Gate(Short(), length), Gate(length, Short(), threshold=0.01)],
)
def test_a_part_with_a_wrong_count_breaks_the_contract(verifier: Any) -> None:
    with pytest.raises(ContractError, match=r"expected [0-9] scores"):
        verifier.score([request("aa")])
    verifier.close()


def test_an_engine_loads_one_verifier_model() -> None:
    with pytest.raises(ConfigurationError, match="'demo', 'org/other' are two models"):
        FastTTS.load(verifier=Mean("demo", "org/other"))
    with pytest.raises(ConfigurationError, match="'no_such:function' cannot be imported"):
        FastTTS.load(verifier="no_such:function")
    with pytest.raises(ConfigurationError, match="'no_such:function' cannot be imported"):
        FastTTS.load(verifier=["demo", "no_such:function"])


def test_a_combination_belongs_to_one_engine() -> None:
    combination = Mean("demo", length)
    models_of(combination)[0].bind(FakeVerifier())
    with pytest.raises(ConfigurationError, match="is loaded by another engine"):
        FastTTS.load(verifier=combination)


def test_a_named_model_works_beside_the_loop_where_the_loaded_one_does() -> None:
    late, named, calls = LateVerifier(1, is_serial=True), ModelVerifier("demo"), []
    assert try_async(named) is None
    assert not is_serial(named)
    named.bind(late)
    both = Gate(Mean(named, lambda *_: calls.append(1) or 1.0), named, threshold=0.01)
    assert is_serial(both)
    flow = scoring_of(both, [request(*STEPS)])
    waited_for = next(flow)
    assert not waited_for.done()
    assert calls  # the function runs beside the model
    late.tick()
    assert waited_for.done()


def test_a_named_model_in_the_loop_runs_after_what_works_beside_it() -> None:
    late, named = LateVerifier(1, is_serial=False), ModelVerifier("demo")
    num_begun: list[int] = []
    named.bind(Counting(lambda *_: num_begun.append(late.most_at_once) or 0.5))
    assert try_async(named) is None
    next(Mean(named, late).score_async([request(*STEPS)]))
    assert set(num_begun) == {1}
