"""What an engine does with a memory plan: scheduling, results, engines that are shared."""

import functools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fasttts import EngineConfig, FastTTS, SchedulingConfig, SearchResult, shared_engine
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.config import engine_config
from fasttts.memory import (
    DEVICES,
    MODELS,
    MemoryPlan,
    Workload,
    make_plan,
    planned_scheduling,
)
from tests.engines import OpenWith

PLAN = make_plan(
    DEVICES["rtx-4090"],
    MODELS["Qwen2.5-Math-1.5B-Instruct"],
    MODELS["Skywork-o1-Open-PRM-Qwen-2.5-1.5B"],
    Workload(num_beams=64),
)


def test_the_plan_is_kept_in_the_result() -> None:
    with FastTTS(FakeGenerator(), FakeVerifier(), plan=PLAN) as engine:
        assert engine.plan is PLAN
        result = engine.search("1 + 1?", search="none", max_tokens=4)
    read = SearchResult.from_json(result.to_json())
    assert read == result
    assert read.plan is not None
    assert MemoryPlan.from_dict(read.plan) == PLAN


def test_a_result_without_a_plan_says_so() -> None:
    with FastTTS(FakeGenerator()) as engine:
        assert engine.search("1 + 1?", search="none", max_tokens=4).plan is None


def test_an_engine_shows_its_backends() -> None:
    generator, verifier = FakeGenerator(), FakeVerifier()
    with FastTTS(generator, verifier) as engine:
        assert engine.generator is generator
        assert engine.verifier is verifier


def test_the_plan_says_which_batch_is_worth_verifying() -> None:
    assert PLAN.verification_batch_tokens is not None
    calibrated = replace(PLAN, is_measured=True)
    found = planned_scheduling(SchedulingConfig(slots=5), calibrated)
    assert found.verification_batch_tokens == PLAN.verification_batch_tokens
    assert found.slots == 5
    assert found.early_verification
    by_roofline = planned_scheduling(SchedulingConfig(), PLAN)
    assert by_roofline.verification_batch_tokens is None


def test_what_the_user_sets_stays() -> None:
    given = SchedulingConfig(verification_batch_tokens=256)
    assert planned_scheduling(given, PLAN) == given
    assert planned_scheduling(SchedulingConfig(), None) == SchedulingConfig()
    alone = replace(PLAN, verifier=None, verification_batch_tokens=None)
    assert planned_scheduling(SchedulingConfig(), alone) == SchedulingConfig()


def test_engines_that_take_turns_score_when_a_decision_waits() -> None:
    in_turns = replace(PLAN, kind="time_shared")
    assert not planned_scheduling(SchedulingConfig(), in_turns).early_verification
    explicit = SchedulingConfig(early_verification=True)
    assert planned_scheduling(explicit, in_turns).early_verification


def test_options_that_a_plan_fills_in_tell_shared_engines_apart(
    open_with: OpenWith,
) -> None:
    loaded: list[EngineConfig] = []

    def load(config: EngineConfig) -> FastTTS:
        loaded.append(config)
        return FastTTS(FakeGenerator())

    open_with(load)
    # Of no engine that other tests of this process share.
    own = functools.partial(engine_config, max_num_seqs=19)
    automatic = shared_engine(own())
    assert shared_engine(own(generator="demo")) is automatic
    assert shared_engine(own(scheduling=SchedulingConfig())) is automatic
    explicit = SchedulingConfig(verification_batch_tokens=256)
    other = shared_engine(own(scheduling=explicit))
    assert other is not automatic
    assert len(loaded) == 2
    for engine in (automatic, other):
        engine.close()


@given(
    context=st.integers(2, 10_000),
    step_tokens=st.integers(1, 500),
    depth=st.integers(1, 60),
    prompt_tokens=st.integers(1, 2000),
)
def test_a_workload_fits_into_any_context(
    context: int, step_tokens: int, depth: int, prompt_tokens: int
) -> None:
    workload = Workload(step_tokens=step_tokens, depth=depth, prompt_tokens=prompt_tokens)
    found = workload.within(context)
    assert found.longest_tokens <= context
    if workload.longest_tokens <= context // 2:
        assert found == workload
