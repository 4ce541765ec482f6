"""Findings and advice of a check: pure functions of measurements."""

from dataclasses import replace
from typing import Any

import pytest

from fasttts.check.advice import PRESET, Suggestion, suggest
from fasttts.check.estimates import expected_seconds
from fasttts.check.finding import Finding, flags
from fasttts.check.findings import find
from fasttts.check.measure import EngineFacts, Measured
from fasttts.check.problems import CheckProblem
from fasttts.check.quality import Separation
from fasttts.check.sampling import Sample
from fasttts.check.speed import Speed
from fasttts.check.step_rules import StepStatistics
from fasttts.check.summary import Accuracy, Summary, Threshold
from fasttts.check.template import TemplateFacts
from fasttts.config import SearchConfig, engine_config, search_config
from fasttts.memory import Workload, find_shape, named_device, plan_engines


def speed(wanted: int, tokens_per_s: float, **others: Any) -> Speed:
    return Speed(
        wanted=wanted,
        num_sequences=wanted,
        num_tokens=int(10 * tokens_per_s),
        seconds=10.0,
        **others,
    )


def rule(name: str = "a blank line", *, suits: bool = True, **options: Any) -> StepStatistics:
    return StepStatistics(
        name=name,
        options=options,
        num_steps=6 if suits else 1,
        num_tokens=20,
        single_share=0.0 if suits else 1.0,
        cut_share=0.0,
        suits=suits,
    )


def measured(**changes: Any) -> Measured:
    """What a check of a fast model with a verifier measures."""
    facts = {"verifier": "judge", "max_model_len": 4096, "max_num_seqs": 128}
    facts |= {name: changes.pop(name) for name in list(changes) if name in facts}
    template = dict.fromkeys(("system", "tools", "tool_replies"), "rendered")
    template |= changes.pop("template", {})
    values: dict[str, Any] = {
        "config": SearchConfig(search="best_of_n", n=1),
        "system": None,
        "problems": [CheckProblem(text="How much?", answer="1")],
        "limit_s": 120.0,
        "template": TemplateFacts(
            **template,  # type: ignore[arg-type]  # literals
            opens_thoughts=changes.pop("opens_thoughts", False),
        ),
        "prompt_tokens": 100,
        "speeds": [speed(1, 100), speed(16, 800), speed(64, 1600)],
        "rules": [rule()],
        "samples": [Sample(problem=0, text="1", num_tokens=100, ending="stop")],
        "num_planned": 1,
    }
    return Measured(facts=EngineFacts(generator="model", plan=None, **facts), **values | changes)


PROVEN = Separation(
    auc=0.8, low=0.7, high=0.9, within=0.75, num_right=50, num_wrong=50, num_problems=20
)
UNPROVEN = Separation(
    auc=0.55, low=0.4, high=0.7, within=0.5, num_right=50, num_wrong=50, num_problems=20
)


def accuracies(
    single: float, *, majority: float, best: float | None, solvable: float
) -> tuple[Accuracy, ...]:
    one = Accuracy(k=1, majority=single, best=single, weighted=single, solvable=single)
    widest = Accuracy(k=8, majority=majority, best=best, weighted=best, solvable=solvable)
    return one, widest


def summary(**changes: Any) -> Summary:
    """Numbers of a model that is often wrong, with a verifier that helps."""
    values: dict[str, Any] = {
        "num_ended": 256,
        "num_timed_out": 0,
        "mean_tokens": 150.0,
        "served_tokens": 200,
        "cut_share": 0.0,
        "announced_share": 1.0,
        "answered_share": 1.0,
        "num_graded": 256,
        "num_problems": 32,
        "num_groups": 32,
        "accuracies": accuracies(0.4, majority=0.5, best=0.6, solvable=0.8),
        "num_scored": 256,
        "score_quantiles": (0.1, 0.3, 0.5, 0.7, 0.9),
        "tied_share": 0.0,
        "separation": PROVEN,
        "seconds_a_score": 0.01,
        "threshold": None,
    }
    return Summary(**values | changes)


def advised(
    latency_s: float = 10.0, *, about: Measured | None = None, **changes: Any
) -> Suggestion:
    return suggest(about or measured(), summary(**changes), latency_s)


# --- advice ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("latency_s", "search", "n"),
    [
        (1.0, "none", None),
        (3.6, "beam_search", 8),
        (4.5, "beam_search", 16),
        (10.0, "beam_search", 64),
    ],
)
def test_the_largest_search_that_is_over_in_time(
    latency_s: float, search: str, n: int | None
) -> None:
    found = advised(latency_s)
    assert (found.options["search"], found.options.get("n")) == (search, n)


def test_seconds_are_those_of_tokens_and_scores() -> None:
    """64 answers of 200 tokens at 1,600 a second, and 64 scores."""
    assert expected_seconds(measured(), summary(), 64, scores=True) == pytest.approx(8.64)
    assert expected_seconds(measured(), summary(), 64, scores=False) == pytest.approx(8.0)
    few = measured(max_num_seqs=1)
    assert expected_seconds(few, summary(), 64, scores=False) == pytest.approx(128.0)
    assert expected_seconds(measured(speeds=[]), summary(), 1, scores=False) is None


@pytest.mark.parametrize(
    ("changes", "search", "reason"),
    [
        ({}, "beam_search", "the verifier separates right from wrong (0.80"),
        ({"separation": UNPROVEN}, "self_consistency", "does not separate right from wrong (0.55"),
        ({"separation": None}, "self_consistency", "too few right and wrong answers"),
        (
            {"accuracies": accuracies(0.98, majority=1.0, best=1.0, solvable=1.0)},
            "none",
            "98% of single answers are right already",
        ),
        (
            {"accuracies": accuracies(0.1, majority=0.1, best=0.1, solvable=0.11)},
            "none",
            "no choice could help",
        ),
        (
            {"accuracies": accuracies(0.1, majority=0.6, best=0.3, solvable=0.8)},
            "self_consistency",
            "votes do better: best of 8 30%",
        ),
        (
            {
                "separation": UNPROVEN,
                "accuracies": accuracies(0.4, majority=0.4, best=0.4, solvable=0.8),
            },
            "none",
            "votes do not help",
        ),
        (
            {"separation": None, "num_groups": 2, "accuracies": ()},
            "self_consistency",
            "votes remain",
        ),
        ({"separation": None, "answered_share": 0.0}, "none", "no answers to vote for"),
    ],
)
def test_the_search_follows_from_what_was_right(
    changes: dict[str, Any], search: str, reason: str
) -> None:
    found = advised(**changes)
    assert found.options["search"] == search
    assert found.uses_verifier == (search == "beam_search")
    assert reason in found.reasons[0]


def test_few_problems_are_no_reason_against_a_search() -> None:
    """None right in four problems happens to good models too."""
    nothing = accuracies(0.0, majority=0.0, best=0.0, solvable=0.0)
    found = advised(accuracies=nothing, num_groups=4, separation=None)
    assert found.options["search"] == "self_consistency"


def test_without_a_verifier_votes_remain() -> None:
    found = advised(about=measured(verifier=None), separation=None, seconds_a_score=None)
    assert found.options["search"] == "self_consistency"
    assert found.reasons[0].startswith("there is no verifier")
    assert found.threshold is None


def test_weighted_votes_where_they_were_best() -> None:
    one, widest = accuracies(0.4, majority=0.5, best=0.6, solvable=0.8)
    rows = (one, Accuracy(k=8, majority=0.5, best=0.6, weighted=0.7, solvable=0.8))
    assert advised(accuracies=rows).options["selection"] == "weighted"
    assert "selection" not in advised(accuracies=(one, widest)).options


def test_the_rule_that_suits_is_part_of_a_search_by_steps() -> None:
    rules = [rule(suits=False), rule("a line", step_pattern=r"\n")]
    found = advised(about=measured(rules=rules))
    assert found.options["step_pattern"] == r"\n"
    assert any("a line" in reason for reason in found.reasons)
    config = SearchConfig(step_tokens=32, max_step_tokens=64)
    own = advised(about=measured(rules=[rule("32 tokens")], config=config)).options
    assert (own["step_tokens"], own["max_step_tokens"]) == (32, 64)
    without = advised(about=measured(rules=[rule(suits=False)]))
    assert without.options["search"] == "best_of_n"
    assert "no steps" in without.reasons[0]


@pytest.mark.parametrize(
    ("changes", "max_tokens"),
    [
        ({}, 256),
        ({"served_tokens": 400}, 512),
        ({"served_tokens": 5000}, 3996),
        ({"served_tokens": None, "cut_share": 0.5}, 2048),
        ({"served_tokens": None, "cut_share": 0.0}, 1024),
    ],
)
def test_max_tokens_serve_most_answers(changes: dict[str, Any], max_tokens: int) -> None:
    assert advised(**changes).options["max_tokens"] == max_tokens


def test_a_latency_that_cannot_be_kept_is_said() -> None:
    found = advised(0.5)
    assert found.options["search"] == "none"
    assert found.expected_s == pytest.approx(2.0)
    assert "even one long answer takes about 2 s" in found.reasons[1]


def test_the_router_needs_scores() -> None:
    threshold = Threshold(threshold=0.25, searched_share=0.4, tokens_share=0.5, accuracy=0.6)
    found = advised(threshold=threshold)
    assert found.threshold == 0.25
    assert any("0.2500 or more needs no search" in reason for reason in found.reasons)
    assert advised(threshold=threshold, separation=UNPROVEN).threshold is None
    assert advised(0.5, threshold=threshold).threshold is None


@pytest.mark.parametrize(
    ("about", "announced", "system"),
    [
        ({}, 1.0, None),
        ({}, 0.3, PRESET),
        ({"system": "Be brief."}, 0.3, "Be brief."),
        ({"system": "Be brief."}, 1.0, "Be brief."),
    ],
)
def test_the_preset_where_answers_are_not_announced(
    about: dict[str, Any], announced: float, system: str | None
) -> None:
    assert advised(about=measured(**about), announced_share=announced).system == system


def test_a_template_without_system_messages_gets_no_preset() -> None:
    refusing = measured(template={"system": "ignored"})
    assert advised(about=refusing, announced_share=0.3).system is None


@pytest.mark.parametrize("latency_s", [0.01, 1.0, 3.0, 30.0])
@pytest.mark.parametrize("separation", [None, PROVEN, UNPROVEN])
@pytest.mark.parametrize("suits", [True, False])
def test_every_suggestion_is_a_search(
    latency_s: float, separation: Separation | None, suits: bool
) -> None:
    about = measured(rules=[rule(suits=suits)])
    found = advised(latency_s, about=about, separation=separation)
    assert search_config(**found.options).max_tokens == 256
    assert found.expected_s is not None
    assert found.expected_s <= latency_s or found.options["search"] == "none"


# --- findings -------------------------------------------------------------------------------------


def finding(name: str, about: Measured | None = None, **changes: Any) -> Finding:
    lines = find(about or measured(), summary(**changes), 10.0)
    (found,) = [line for line in lines if line.name == name]
    return found


def test_nothing_changes_where_all_is_well() -> None:
    assert {line.verdict for line in find(measured(), summary(num_ended=1), 10.0)} == {"fine"}


@pytest.mark.parametrize(
    ("name", "changes", "advice"),
    [
        ("announced", {"announced_share": 0.5}, "--system preset:math"),
        ("cut off", {"cut_share": 0.5}, "--max-tokens 256"),
        ("any of 8", {"accuracies": accuracies(0, majority=0, best=0, solvable=0)}, "model"),
        ("scores", {"score_quantiles": (0.5, 0.5, 0.5, 0.5, 0.51)}, "another --verifier"),
        ("ties", {"tied_share": 0.5, "separation": UNPROVEN}, "--selection weighted"),
        ("right from wrong", {"separation": UNPROVEN}, "--search self_consistency"),
        ("1 sequence", {"served_tokens": 5000}, "--latency 10"),
    ],
)
def test_numbers_that_call_for_a_change(name: str, changes: dict[str, Any], advice: str) -> None:
    assert finding(name).verdict == "fine"
    found = finding(name, **changes)
    assert found.verdict == "change"
    assert advice in found.advice


@pytest.mark.parametrize(
    ("name", "about", "verdict", "advice"),
    [
        ("KV cache", {"num_preemptions": 3}, "change", "FASTTTS_KV_CACHE_MEMORY_BYTES"),
        ("context", {"prompt_tokens": 4000}, "change", "FASTTTS_MAX_MODEL_LEN=5024"),
        ("system messages", {"template": {"system": "ignored"}}, "change", "in the question"),
        ("tools", {"template": {"tools": "ignored"}}, "note", "--no-tools"),
        ("results of tools", {"template": {"tool_replies": "refused"}}, "note", "bind no tools"),
        ("thoughts", {"opens_thoughts": True}, "change", "--thinking"),
        ("16 sequences", {"speeds": [speed(1, 100), speed(16, 120)]}, "note", "keep -n small"),
        ("64 sequences", {"speeds": [speed(1, 100)]}, "unknown", ""),
        (
            "rule",
            {"rules": [rule(suits=False), rule("a line", step_pattern=r"\n")]},
            "change",
            r"--step-pattern '\n'",
        ),
        ("rule", {"rules": [rule(suits=False)]}, "change", "--search best_of_n"),
        ("single steps", {"rules": [rule(suits=False)]}, "note", "before they end"),
        ("verifier", {"verifier": None}, "note", "--verifier judge"),
    ],
)
def test_properties_that_call_for_a_change(
    name: str, about: dict[str, Any], verdict: str, advice: str
) -> None:
    found = finding(name, measured(**about))
    assert found.verdict == verdict
    assert advice in found.advice


def test_the_planned_kv_cache_is_shown() -> None:
    device = named_device("rtx-4090")
    shape = find_shape("Qwen2.5-Math-1.5B-Instruct")
    plan = plan_engines(engine_config(generator="model"), device, shape, None, Workload())
    about = measured()
    about.facts = replace(about.facts, plan=plan.generator)
    tokens = plan.generator.num_blocks * plan.generator.block_size
    assert f"GiB, {tokens:,} tokens; 0% in use" in finding("KV cache", about).value


def test_rows_from_less_than_planned_are_marked() -> None:
    about = measured(num_planned=256, speeds=[speed(1, 100, is_cut=True)])
    partial = {line.name for line in find(about, summary(), 10.0) if line.is_partial}
    assert {"1 sequence", "16 sequences", "samples", "announced", "scores", "ties"} <= partial
    assert partial.isdisjoint({"context", "tools"})


def test_options_are_written_as_flags() -> None:
    assert flags({"search": "dvts", "n": 8, "step_pattern": r"\n", "thinking": True}) == (
        r"--search dvts -n 8 --step-pattern '\n' --thinking"
    )
