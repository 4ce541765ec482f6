"""Which model runner an engine gets, and how the sampling rule gets into the second one."""

import os
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fasttts import demo
from fasttts.backends.vllm.environment import RUNNER_VARIABLE
from fasttts.decoding.sampling import Sampling

pytestmark = pytest.mark.vllm


@pytest.fixture(params=[False, True], ids=["first", "second"])
def is_second(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


class Other:
    """A processor before the rule: forbids token 0."""

    def __init__(self, *_: Any) -> None:
        self.diary: list[str] = []

    def add_request(self, slot: int, params: Any) -> bool:
        self.diary.append(f"add {slot}")
        return False

    def begin_iteration(self) -> None:
        self.diary.append("begin")

    def apply(self, logits: Any, places: Any) -> Any:
        logits[:, 0] = float("-inf")
        return logits


ARGUMENTS = {"model": str(demo.generator_path()), "max_model_len": 64}


def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm import platforms

    monkeypatch.setattr(platforms.current_platform, "is_cpu", lambda: False)


@pytest.mark.parametrize(("said", "expected"), [("0", False), ("1", True), ("", False)])
def test_the_user_chooses_the_runner(
    said: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fasttts.backends.vllm import model_runner

    monkeypatch.setenv(RUNNER_VARIABLE, said)
    assert model_runner.uses_second_runner(ARGUMENTS) is expected


def test_a_cpu_has_the_first_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    from fasttts.backends.vllm import model_runner

    monkeypatch.delenv(RUNNER_VARIABLE, raising=False)
    assert not model_runner.uses_second_runner(ARGUMENTS)


@pytest.mark.parametrize("accepts", [True, False])
def test_a_gpu_has_the_second_runner_where_vllm_accepts_it(
    accepts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vllm.engine import arg_utils

    from fasttts.backends.vllm import model_runner

    def create(arguments: Any) -> None:
        assert os.environ[RUNNER_VARIABLE] == "1"
        assert arguments.max_model_len == 64
        if not accepts:
            raise ValueError("Model Runner V2 does not yet support: something")

    monkeypatch.delenv(RUNNER_VARIABLE, raising=False)
    on_a_gpu(monkeypatch)
    monkeypatch.setattr(arg_utils.EngineArgs, "create_engine_config", create)
    assert model_runner.uses_second_runner(ARGUMENTS) is accepts
    assert RUNNER_VARIABLE not in os.environ


def test_processors_have_the_interface_of_the_runner(is_second: bool) -> None:
    from vllm.v1.sample.logits_processor import LogitsProcessor as First
    from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as Second

    from fasttts.backends.vllm import model_runner

    *before, rule = model_runner.sampler_processors([Other], is_second=is_second)
    assert issubclass(rule, Second if is_second else First)
    assert before == ([] if is_second else [Other])


def test_bad_arguments_are_refused_by_either(is_second: bool) -> None:
    from vllm import SamplingParams

    from fasttts.backends.vllm import model_runner
    from fasttts.backends.vllm.sampler import ARGUMENT, sampler_arguments

    rule: Any = model_runner.sampler_processors([], is_second=is_second)[-1]
    rule.validate_params(SamplingParams(extra_args=sampler_arguments(1, Sampling())))
    with pytest.raises(ValueError, match="extra_args"):
        rule.validate_params(SamplingParams(extra_args={ARGUMENT: 3}))


def states() -> Any:
    import torch

    return SimpleNamespace(
        device=torch.device("cpu"),
        max_num_reqs=4,
        prompt_len=SimpleNamespace(np=np.zeros(4, dtype=np.int32)),
    )


def test_what_comes_before_acts_before_the_rule() -> None:
    import torch
    from vllm import SamplingParams

    from fasttts.backends.vllm import model_runner
    from fasttts.backends.vllm.sampler import sampler_arguments

    rule: Any = model_runner.sampler_processors([Other], is_second=True)[-1](None, states())
    params = SamplingParams(extra_args=sampler_arguments(1, Sampling(temperature=1.0)))
    assert rule.add_request(2, params)
    assert not rule.add_request(3, SamplingParams())
    rule.apply_staged_writes()
    context = SimpleNamespace(
        idx_mapping=torch.tensor([3, 2]),
        idx_mapping_np=np.array([3, 2]),
        pos=torch.tensor([5, 5]),
    )
    logits = torch.zeros((2, 9))
    logits[:, 0] = 50.0
    applied = rule.apply(logits, context)
    assert applied[0].tolist() == [float("-inf"), *[0.0] * 8]
    assert applied[1].sum() == 1.0
    assert applied[1, 0] == 0.0


class OldSampler:
    """The methods of the second runner's sampler in vLLM 0.24."""

    def __init__(self) -> None:
        self.diary: list[Any] = []

    def add_request(self, req_idx: int, prompt_len: int, params: Any) -> None:
        self.diary.append(("add", req_idx, prompt_len))

    def apply_staged_writes(self) -> None:
        self.diary.append("flush")

    def apply_sampling_params(
        self, logits: Any, slots: Any, host_slots: Any, positions: Any, *others: Any, **_: Any
    ) -> Any:
        self.diary.append(("process", others))
        return logits + 1

    def sample(self, *rows: Any, return_logprobs: bool = False) -> tuple[Any, Any]:
        self.diary.append("take the largest")
        processed = self.apply_sampling_params(*rows, skip_top_k_top_p=True)
        return processed.argmax(dim=1), processed


def test_a_sampler_without_processors_follows_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from vllm import SamplingParams

    from fasttts.backends.vllm import model_runner
    from fasttts.backends.vllm.sampler import sampler_arguments

    monkeypatch.setattr(model_runner, "_PROCESSORS", "vllm.no_such_module")
    assert model_runner.sampler_processors([Other], is_second=True) == []
    sampler, config = OldSampler(), SimpleNamespace(model_config=None)
    runner = SimpleNamespace(sampler=sampler, req_states=states(), vllm_config=config)
    worker = SimpleNamespace(worker=SimpleNamespace(model_runner=runner))
    executor = SimpleNamespace(collective_rpc=lambda call, args: call(worker, *args))
    core = SimpleNamespace(model_executor=executor)
    engine = SimpleNamespace(engine_core=SimpleNamespace(engine_core=core))
    llm: Any = SimpleNamespace(llm_engine=engine)
    model_runner.install_sampler(llm, [Other])
    params = SamplingParams(extra_args=sampler_arguments(1, Sampling(temperature=1.0)))
    added: Any = sampler
    added.add_request(0, 3, params)
    sampler.apply_staged_writes()
    slots = torch.tensor([0])
    logits = sampler.apply_sampling_params(
        torch.zeros((1, 9)), slots, np.array([0]), torch.tensor([3]), "ids", skip_top_k_top_p=True
    )
    assert sampler.diary == [("add", 0, 3), "flush", ("process", ("ids",))]
    assert logits.sum() == 1.0

    # Where all rows are the rule's, its tokens are taken as they are.
    sampler.diary.clear()
    rows = (torch.zeros((1, 9)), slots, np.array([0]), torch.tensor([3]), "ids")
    tokens, processed = sampler.sample(*rows)
    assert sampler.diary == [("process", ("ids",))]
    assert processed[0].tolist() == [-torch.inf, *[1.0] * 8]
    assert tokens.tolist() == logits.argmax(dim=1).tolist()
    with_probabilities, _ = sampler.sample(*rows, return_logprobs=True)
    assert sampler.diary[1:] == ["take the largest", ("process", ("ids",))]
    assert torch.equal(with_probabilities, tokens)
    added.add_request(1, 3, SamplingParams())  # a question, which vLLM answers
    both = (torch.zeros((2, 9)), torch.tensor([0, 1]), np.array([0, 1]), torch.tensor([3, 3]))
    (first, _), _ = sampler.sample(*both)
    assert first == tokens[0]
    assert sampler.diary[-2] == "take the largest"


@pytest.mark.parametrize("poolings", [{"embed"}, {"embed", "token_classify"}])
def test_a_reward_model_gets_a_runner_that_can_score(
    poolings: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fasttts.backends.vllm import model_runner

    monkeypatch.setenv(RUNNER_VARIABLE, "1")
    monkeypatch.setattr(model_runner, "_second_runner_poolings", lambda: poolings)
    found = model_runner.uses_second_runner({**ARGUMENTS, "runner": "pooling"})
    assert found is ("token_classify" in poolings)
    assert model_runner.uses_second_runner({**ARGUMENTS, "runner": "generate"})


@pytest.mark.parametrize("said", ["0", "1"])
def test_an_engine_is_opened_with_the_variable_of_its_runner(
    is_second: bool, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fasttts.backends.vllm import model_runner

    monkeypatch.setenv(RUNNER_VARIABLE, said)
    expected = {RUNNER_VARIABLE: "1" if is_second else "0"}
    is_said = said == expected[RUNNER_VARIABLE]
    found = model_runner.runner_environment(is_second=is_second)
    assert found == ({} if is_said else expected)  # a CPU reads nothing again without need
    on_a_gpu(monkeypatch)
    assert model_runner.runner_environment(is_second=is_second) == expected
