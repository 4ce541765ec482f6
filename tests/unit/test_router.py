"""A router on the fake engine: the same decision and reply on every path, and honest costs."""

import asyncio
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fasttts import Budget, ConfigurationError, FastTTS, Finished, SearchError, SearchResult
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.routing import (
    Always,
    Cascade,
    Classifier,
    Decided,
    Heuristics,
    Never,
    RoutedEvent,
    Router,
    RoutingPolicy,
)
from fasttts.routing.gain import Gain
from fasttts.routing.results import DRAFT_PATH
from fasttts.routing.threshold_store import (
    STORE,
    default_policy,
    save_threshold,
    try_calibration,
)
from fasttts.types import PrefixDelta, TextDelta
from tests.searches import UNTIMED

QUESTIONS = [f"Question {number}: how much is it?" for number in range(6)]
OPTIONS = {"n": 4, "max_tokens": 200, "seed": 3, "temperature": 0.8}
PLAIN = {**OPTIONS, "search": "none", "n": 1, "beam_width": 1}


def script(prompt: str) -> str | None:
    """The model finds the first question hard, and no other."""
    if "Reply with one word" in prompt:
        return "Yes" if "Question 0" in prompt else "No"
    return None


@pytest.fixture
def engine() -> Iterator[FastTTS]:
    with FastTTS(FakeGenerator(script), FakeVerifier(), scheduling=UNTIMED) as engine:
        yield engine


def same(result: SearchResult) -> dict[str, Any]:
    """All that depends on the call alone: seconds, and what is found in caches, do not."""
    document = json.loads(result.to_json())
    del document["timings"], document["occupancy"], document["record"]
    for costly in (document, document["routing"]):
        usage = costly.pop("usage", None) or costly.pop("cost")
        costly["tokens"] = (usage["generated_tokens"], usage["required_tokens"])
    return document


def told_text(events: list[RoutedEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta | PrefixDelta))


POLICIES: list[RoutingPolicy] = [
    Always(),
    Always(with_draft=True),
    Never(),
    Cascade(threshold=0.4),
    Heuristics(min_numbers=1),
    Classifier(num_samples=2),
]


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
async def test_every_path_decides_and_answers_alike(engine: FastTTS, policy: Any) -> None:
    router = Router(engine, policy)
    for question in QUESTIONS[:3]:
        whole = await asyncio.to_thread(router.search, question, **OPTIONS)
        streamed = await asyncio.to_thread(lambda q=question: list(router.stream(q, **OPTIONS)))
        astreamed = [event async for event in router.astream(question, **OPTIONS)]
        awaited = await router.asearch(question, **OPTIONS)
        for events in (streamed, astreamed):
            assert isinstance(events[-1], Finished)
            assert same(events[-1].result) == same(whole)
            assert told_text(events) == whole.text
            (decided,) = [event.decision for event in events if isinstance(event, Decided)]
            assert events[-1].result.routing == decided.to_dict()
        assert same(awaited) == same(whole)


def test_concurrent_calls_decide_alike(engine: FastTTS) -> None:
    async def all_at_once() -> list[SearchResult]:
        return await asyncio.gather(*(router.asearch(q, **OPTIONS) for q in QUESTIONS))

    router = Router(engine, Cascade(threshold=0.4))
    alone = [router.search(question, **OPTIONS) for question in QUESTIONS]
    together = asyncio.run(all_at_once())
    routes = [result.routing and result.routing["route"] for result in alone]
    assert set(routes) == {"plain", "search"}
    assert [result.text for result in together] == [result.text for result in alone]
    assert [result.routing and result.routing["route"] for result in together] == routes


def test_an_accepted_draft_is_the_plain_reply(engine: FastTTS) -> None:
    found = Router(engine, Cascade(threshold=0.0)).search(QUESTIONS[0], **OPTIONS)
    plain = engine.search(QUESTIONS[0], **PLAIN)
    assert found.text == plain.text
    assert found.usage.required_tokens == plain.usage.required_tokens
    assert found.routing is not None
    assert found.routing["route"] == "plain"
    assert found.routing["cost"]["generated_tokens"] == found.usage.generated_tokens


def test_a_rejected_draft_joins_the_candidates(engine: FastTTS) -> None:
    found = Router(engine, Always(with_draft=True)).search(QUESTIONS[0], **OPTIONS)
    searched = engine.search(QUESTIONS[0], **OPTIONS)
    others = [one for one in found.candidates if one.path != DRAFT_PATH]
    assert len(others) == len(found.candidates) - 1
    assert tuple(others) == searched.candidates
    scores = [candidate.score or 0.0 for candidate in found.candidates]
    assert scores == sorted(scores, reverse=True)


def test_the_search_begins_with_the_steps_that_are_not_in_doubt(engine: FastTTS) -> None:
    draft = engine.search(QUESTIONS[0], **{**PLAIN, "search": "best_of_n"}).candidates[0]
    scores = [step.score or 0.0 for step in draft.steps]
    doubtful = next(i for i, score in enumerate(scores) if i and score < min(scores[:i]))
    router = Router(engine, Cascade(threshold=min(scores[:doubtful])))
    found = router.search(QUESTIONS[0], **OPTIONS)
    assert found.routing is not None
    assert found.routing["kept_steps"] == doubtful
    for candidate in found.candidates:
        assert candidate.steps[:doubtful] == draft.steps[:doubtful]
    anew = Router(engine, Cascade(threshold=min(scores[:doubtful]), keeps_steps=False))
    others = anew.search(QUESTIONS[0], **OPTIONS).candidates
    assert any(candidate.steps[:1] != draft.steps[:1] for candidate in others)


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_costs_add_up_to_the_engines(engine: FastTTS, policy: Any) -> None:
    results = [Router(engine, policy).search(question, **OPTIONS) for question in QUESTIONS]
    for name in ("generated_tokens", "required_tokens", "num_verifications"):
        parts = sum(getattr(result.usage, name) for result in results)
        assert parts == getattr(engine.usage, name), name


def test_a_classifier_pays_for_its_question(engine: FastTTS) -> None:
    router = Router(engine, Classifier())
    hard, easy = (router.search(question, **OPTIONS) for question in QUESTIONS[:2])
    for result, route in ((hard, "search"), (easy, "plain")):
        assert result.routing is not None
        assert result.routing["route"] == route
        assert 2 <= result.routing["cost"]["generated_tokens"] <= 4


def test_a_budget_holds_for_draft_and_search_together(engine: FastTTS) -> None:
    router = Router(engine, Always(with_draft=True))
    whole = router.search(QUESTIONS[0], **OPTIONS)
    budget = Budget(tokens=whole.usage.required_tokens - 5)
    found = router.search(QUESTIONS[0], **OPTIONS, budget=budget)
    assert found.stop_reason == "tokens"
    assert budget.tokens is not None
    assert found.usage.required_tokens <= budget.tokens + budget.grace_tokens


def test_a_draft_that_does_not_end_is_searched(engine: FastTTS) -> None:
    router = Router(engine, Cascade(threshold=0.0))
    length = engine.search(QUESTIONS[0], **PLAIN).usage.required_tokens
    found = router.search(QUESTIONS[0], **{**OPTIONS, "n": 16, "max_tokens": length - 1})
    assert found.routing is not None
    assert found.routing["reason"] == "the draft does not end"
    assert found.usage.required_tokens == engine.usage.required_tokens - length
    with pytest.raises(SearchError, match="finished within max_tokens"):
        router.search(QUESTIONS[0], n=4, max_tokens=1, on_cut="raise")


def test_a_search_that_its_budget_ends_without_an_answer_falls_back(engine: FastTTS) -> None:
    router = Router(engine, Always())
    budget = Budget(tokens=2, grace_tokens=0)
    found = router.search(QUESTIONS[0], **OPTIONS, budget=budget)
    assert found.text == engine.search(QUESTIONS[0], **PLAIN).text
    assert found.routing is not None
    assert found.routing["route"] == "plain"
    assert found.routing["reason"] == "the budget ended the search before it had an answer"
    events = list(router.stream(QUESTIONS[0], **OPTIONS, budget=budget))
    routes = [event.decision.route for event in events if isinstance(event, Decided)]
    assert routes == ["search", "plain"]
    assert told_text(events) == found.text


def test_what_cannot_be_routed_is_refused(engine: FastTTS) -> None:
    with pytest.raises(ConfigurationError, match="leaves nothing to decide"):
        Router(engine).search("A question?", search="none")
    with (
        FastTTS(FakeGenerator()) as unverified,
        pytest.raises(ConfigurationError, match="needs a verifier"),
    ):
        Router(unverified).search("A question?", n=4)


def test_a_draft_stands_in_for_a_search_that_finds_nothing(engine: FastTTS) -> None:
    question = QUESTIONS[0]
    router = Router(engine, Always(with_draft=True))
    plain = engine.search(question, **PLAIN)
    spent = plain.usage.required_tokens
    budget = Budget(tokens=spent + 1, grace_tokens=0)
    found = router.search(question, **OPTIONS, budget=budget)
    assert found.text == plain.text
    assert found.candidates[0].path == (0,)
    assert spent <= found.usage.required_tokens <= spent + 1
    assert found.usage.generated_tokens == engine.usage.generated_tokens - spent


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_thresholds_are_kept_for_each_pair_of_models(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert try_calibration("a", "b") is None
    path = save_threshold("a", "b", 0.75)
    assert path.parent == cache / "fasttts" / "router"
    assert default_policy("a", "b") == Cascade(threshold=0.75)
    assert default_policy("a", "c") == Cascade()
    known = {"version": STORE.version, "key": ["a", "b"]}
    gain = {"num_problems": 1, "num_draft_right": 2, "num_won": 0, "num_lost": 0}
    for broken in (
        '{"version": 0}',
        json.dumps(known | {"threshold": 7, "gain": None}),
        json.dumps(known | {"threshold": 0.5}),
        json.dumps(known | {"threshold": 0.5, "gain": gain}),
        json.dumps(known | {"threshold": math.nan, "gain": None}),
        json.dumps(known | {"threshold": 0.5, "gain": gain | {"num_problems": math.inf}}),
        json.dumps(known | {"threshold": 0.5, "gain": [1]}),
        json.dumps(known | {"key": ["a", "c"], "threshold": 0.5, "gain": None}),
        "nonsense",
    ):
        path.write_text(broken, encoding="utf-8")
        assert try_calibration("a", "b") is None
        assert "calibrate-router" in caplog.text
        caplog.clear()


def test_models_are_not_searched_where_that_was_found_not_to_help(
    engine: FastTTS, cache: Path
) -> None:
    names = engine.generator_name, engine.verifier_name
    helps = Gain(num_problems=100, num_draft_right=20, num_won=50, num_lost=0)
    save_threshold(*names, 1.0, gain=helps)
    assert default_policy(*names) == Cascade(threshold=1.0)
    useless = Gain(num_problems=100, num_draft_right=20, num_won=1, num_lost=2)
    save_threshold(*names, 1.0, gain=useless)
    found = Router(engine).search(QUESTIONS[0], **OPTIONS)
    assert found.routing is not None
    assert found.routing["route"] == "plain"
    assert found.routing["reason"] == (
        "calibration found search no better than the draft (on 100 problems search solved 19 and "
        "the draft 20: -1.0 points, 95 % interval -4.8 to +2.9)"
    )
    assert found.usage.verifier_computed_tokens == 0
