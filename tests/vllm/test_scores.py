"""Scores of the vLLM verifier against the same model computed by transformers and torch."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fasttts.backends.vllm import load_backends
from fasttts.config import engine_config
from fasttts.errors import BackendError, CapacityError
from fasttts.interfaces import Verification, VerificationRequest
from fasttts.verifiers.prompt_formats import ProcessRewardFormat
from tests.vllm.inside import lose_device, model_of

pytestmark = pytest.mark.vllm

STEPS = tuple(f"Step {i}: {i} + {i} = {2 * i}, so we have {2 * i} apples." for i in range(9))


@pytest.fixture(scope="module")
def backends(tiny_generator: Path, tiny_verifier: Path) -> Iterator[tuple[Any, Any]]:
    config = engine_config(generator=str(tiny_generator), verifier=str(tiny_verifier))
    generator, verifier = load_backends(config)
    assert verifier is not None
    yield generator, verifier
    verifier.close()
    generator.close()


@pytest.fixture
def verifier(backends: tuple[Any, Any]) -> Any:
    return backends[1]


def request(problem: str, steps: tuple[str, ...] = STEPS, num_scored: int = 0) -> Any:
    return VerificationRequest(problem=problem, steps=steps, num_scored=num_scored)


def num_prompt_tokens(found: Verification) -> int:
    return found.num_computed_tokens + found.num_cached_tokens


def torch_scores(folder: Path, token_ids: tuple[int, ...], positions: tuple[int, ...]) -> Any:
    """Softmax class 1 of the two-layer score head on Qwen2's hidden states."""
    import torch
    from safetensors.torch import load_file
    from transformers import Qwen2Config, Qwen2Model

    model = Qwen2Model(Qwen2Config(**json.loads((folder / "config.json").read_text()))).eval()
    weights = load_file(folder / "model.safetensors")
    prefix = "model."
    body = {name[len(prefix) :]: w for name, w in weights.items() if name.startswith(prefix)}
    model.load_state_dict(body)
    with torch.no_grad():
        states = model(torch.tensor([token_ids])).last_hidden_state[0]
        hidden = torch.relu(states @ weights["score.0.weight"].T + weights["score.0.bias"])
        logits = hidden @ weights["score.2.weight"].T + weights["score.2.bias"]
    return logits.softmax(dim=-1)[list(positions), 1].tolist()


@pytest.mark.parametrize("num_steps", [1, 4, 9])
def test_scores_equal_an_independent_computation(
    verifier: Any, backends: tuple[Any, Any], tiny_verifier: Path, num_steps: int
) -> None:
    steps = STEPS[:num_steps]
    layout = ProcessRewardFormat(backends[0].tokenizer, "tiny")
    prompt = layout.prompt("How many?", steps)
    expected = torch_scores(tiny_verifier, prompt.token_ids, prompt.positions)
    assert max(expected) - min(expected) > 0.01 or num_steps == 1
    for attempt in ("cold", "warm"):
        (found,) = verifier.score([request("How many?", steps)])
        assert list(found.scores) == pytest.approx(expected, abs=1e-4), attempt


def test_one_new_step_computes_little_more_than_itself(verifier: Any) -> None:
    problem = "A problem that is new here. " * 3
    (first,) = verifier.score([request(problem, STEPS[:8])])
    (second,) = verifier.score([request(problem, STEPS, 8)])
    added = num_prompt_tokens(second) - num_prompt_tokens(first)
    assert added <= second.num_computed_tokens < added + 32, "at most one block besides the step"


def test_hidden_steps_are_read_by_prompts_of_their_own(verifier: Any) -> None:
    problem = "Another problem that is new here. " * 3
    (cold,) = verifier.score([request(problem)])
    (warm,) = verifier.score([request(problem)])
    assert warm.scores == pytest.approx(cold.scores, abs=1e-4)
    assert warm.num_computed_tokens < cold.num_computed_tokens
    assert num_prompt_tokens(warm) > num_prompt_tokens(cold), "several prompts were read"


def test_the_prefix_cache_can_be_left_unread_and_emptied(
    verifier: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = "A problem read twice. " * 4
    (first,) = verifier.score([request(problem)])
    with monkeypatch.context() as patch:
        patch.setattr(verifier, "reads_prefix_cache", False)
        (unread,) = verifier.score([request(problem)])
    verifier.reset_prefix_cache()
    (emptied,) = verifier.score([request(problem)])
    for found in (unread, emptied):
        assert found.num_cached_tokens == 0
        assert found.scores == pytest.approx(first.scores, abs=1e-4)


def test_a_prompt_longer_than_the_context_is_refused_alone(verifier: Any) -> None:
    long = request("too long", STEPS * 30)
    with pytest.raises(CapacityError, match=r"context holds 1024: lower max_tokens") as caught:
        verifier.score([request("fits"), long])
    assert caught.value.role == "verifier"
    (found,) = verifier.score([request("fits")])
    assert len(found.scores) == len(STEPS)


def test_a_prompt_as_long_as_the_context_fits(verifier: Any, backends: tuple[Any, Any]) -> None:
    layout = ProcessRewardFormat(backends[0].tokenizer, "tiny")
    space = verifier.max_model_len - len(layout.prompt("exact", ("",)).token_ids)
    (found,) = verifier.score([request("exact", ("x" * space,))])
    assert num_prompt_tokens(found) == verifier.max_model_len


def test_many_requests_at_once(verifier: Any) -> None:
    requests = [request(f"problem {i}", STEPS[: 1 + i % 4]) for i in range(300)]
    found = verifier.score(requests)
    assert [len(one.scores) for one in found] == [1 + i % 4 for i in range(300)]
    (alone,) = verifier.score([requests[299]])
    assert alone.scores == pytest.approx(found[299].scores, abs=1e-4)


def test_not_a_number_counts_as_0_and_is_reported(verifier: Any) -> None:
    bias = model_of(verifier).score[2].bias
    saved = bias.data.clone()
    bias.data.fill_(float("nan"))
    try:
        (broken,) = verifier.score([request("nan")])
    finally:
        bias.data.copy_(saved)
    assert set(broken.scores) == {0.0}
    assert broken.is_nan == (True,) * len(broken.scores)
    (sound,) = verifier.score([request("a number again")])
    assert sound.is_nan == ()


def test_a_failed_engine_refuses_further_work(
    verifier: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Last in this file: the verifier is of no use afterwards."""
    lose_device(verifier, monkeypatch)
    for _ in range(2):
        with pytest.raises(BackendError, match="device lost") as caught:
            verifier.score([request("failing")])
        assert caught.value.role == "verifier"
