"""What each routing policy decides, from which signals, without an engine."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttts import ConfigurationError, Step, Usage
from fasttts.routing import (
    AllOf,
    Always,
    AnyOf,
    Cascade,
    Classifier,
    Decision,
    Draft,
    Heuristics,
    NeedsDraft,
    NeedsYesProbability,
    Never,
    RoutingContext,
    RoutingPolicy,
    Where,
)

SHORT = "What is 2 + 3?"
LONG = "Add 1, 2, 3, 4 and 5, " * 20
TOOL = {"type": "function", "function": {"name": "add"}}


def asked(text: str, **about: Any) -> RoutingContext:
    return RoutingContext(messages=({"role": "user", "content": text},), **about)


def draft(*scores: float, **about: Any) -> Draft:
    steps = tuple(Step(text="a step", score=score) for score in scores)
    return Draft(text="a reply", steps=steps, **{"is_complete": True, **about})


def decision(policy: RoutingPolicy, context: RoutingContext) -> Decision:
    found = policy.decide(context)
    assert isinstance(found, Decision)
    return found


def route(policy: RoutingPolicy, context: RoutingContext) -> str:
    return decision(policy, context).route


RESULT_OF_TOOL = RoutingContext(
    messages=(
        {"role": "user", "content": LONG},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]},
        {"role": "tool", "content": "300", "tool_call_id": "1"},
    )
)
ROUTINE = {
    "tool result": RESULT_OF_TOOL,
    "translation": asked(f"Translate this: {LONG}"),
    "form": asked(f"{LONG} Answer as JSON."),
    "schema": asked(LONG, is_constrained=True),
}


def test_always_and_never() -> None:
    for context in (asked(SHORT), asked(LONG), *ROUTINE.values()):
        assert route(Always(), context) == "search"
        assert route(Never(), context) == "plain"
    assert Always(with_draft=True).decide(asked(SHORT)) == NeedsDraft()
    assert route(Always(with_draft=True), asked(SHORT, draft=draft(1.0))) == "search"


@pytest.mark.parametrize("context", ROUTINE.values(), ids=ROUTINE)
@pytest.mark.parametrize("policy", [Heuristics(), Cascade(), Classifier()], ids=repr)
def test_routine_turns_stay_plain_unless_the_policy_says_otherwise(
    policy: Cascade, context: RoutingContext
) -> None:
    assert route(policy, context) == "plain"
    told = replace(policy, tool_results=True, formatting=True).decide(context)
    assert not isinstance(told, Decision) or told.route == "search"


def test_heuristics_tell_what_looked_hard() -> None:
    found = decision(Heuristics(keywords=("add",)), asked(LONG))
    assert found.route == "search"
    assert found.reason == "at least 60 words, at least 5 numbers, the word 'add'"
    signals = {"words": 140, "numbers": 100, "keyword": "add", "num_tools": 0, "role": "user"}
    assert found.signals == signals
    assert route(Heuristics(), asked(SHORT)) == "plain"
    assert route(Heuristics(min_words=None, min_numbers=None), asked(LONG)) == "plain"


def test_heuristics_leave_calls_with_tools_plain_unless_told() -> None:
    context = asked(LONG, tools=(TOOL,))
    assert decision(Heuristics(), context).reason.endswith("but tools are offered")
    assert route(Heuristics(with_tools=True), context) == "search"


@given(st.lists(st.integers(0, 10_000), min_size=1), st.integers(0, 10_000))
def test_a_cascade_accepts_by_the_lowest_score(scores: list[int], threshold: int) -> None:
    context = asked(SHORT, draft=draft(*(score / 10_000 for score in scores)))
    found = decision(Cascade(threshold=threshold / 10_000), context)
    assert found.route == ("plain" if min(scores) >= threshold else "search")
    assert found.signals["lowest_score"] == min(scores) / 10_000


def test_a_cascade_reads_the_draft_once_it_is_there() -> None:
    context = asked(SHORT)
    assert Cascade().decide(context) == NeedsDraft()
    assert route(Cascade(), replace(context, draft=draft(1.0, is_complete=False))) == "search"
    assert route(Cascade(), replace(context, draft=draft())) == "search"
    assert route(Cascade(), replace(context, draft=draft(0.1, calls_tools=True))) == "plain"
    assert route(Cascade(), replace(context, draft=draft(0.1), budget_tokens=0)) == "plain"


def test_a_classifier_asks_the_model_its_question() -> None:
    policy = Classifier(num_samples=4, threshold=0.5)
    context = asked(SHORT)
    assert policy.decide(context) == NeedsYesProbability(question=policy.question, num_samples=4)
    found = decision(policy, replace(context, yes_probabilities={policy.question: 0.5}))
    assert (found.route, found.signals["share"]) == ("search", 0.5)
    assert route(policy, replace(context, yes_probabilities={policy.question: 0.25})) == "plain"


def test_a_decision_explains_itself() -> None:
    cost = Usage(generated_tokens=12)
    found = decision(Cascade(), asked(SHORT, draft=draft(0.25, 0.9), cost=cost))
    text = "search: a step of the draft scores 0.2500, under 0.5 (Cascade, for 12 tokens)"
    assert str(found) == text
    document = found.to_dict()
    assert document["cost"]["generated_tokens"] == 12
    assert document["signals"]["threshold"] == 0.5


def test_combinations_ask_in_order() -> None:
    hard, easy = asked(LONG), asked(SHORT)
    either = AnyOf(Heuristics(), Cascade())
    assert decision(either, hard).policy == "AnyOf/Heuristics"
    assert either.decide(easy) == NeedsDraft()
    both = AllOf(Heuristics(), Cascade())
    assert decision(both, easy).policy == "AllOf/Heuristics"
    assert both.decide(hard) == NeedsDraft()
    assert route(both, replace(hard, draft=draft(0.1))) == "search"
    assert route(both, replace(hard, draft=draft(0.9))) == "plain"
    for_tools = Where(
        condition=lambda context: bool(context.tools), then=Never(), otherwise=Always()
    )
    assert decision(for_tools, asked(SHORT, tools=(TOOL,))).policy == "Where/Never"
    assert decision(for_tools, easy).policy == "Where/Always"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Cascade(threshold=1.5),
        lambda: Classifier(threshold=0.0),
        lambda: Classifier(num_samples=0),
        AnyOf,
        AllOf,
    ],
)
def test_policies_that_cannot_work_are_refused(make: Any) -> None:
    with pytest.raises(ConfigurationError):
        make()
