"""The generator as its own verifier: scores, equal tokens, reserved sequences, one model."""

import gc
import itertools
import logging
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fasttts import FastTTS
from fasttts.backends.vllm.judge import GeneratorJudge
from fasttts.backends.vllm.loader import load_planned
from fasttts.config import engine_config
from fasttts.decoding.sampling import Sampling
from fasttts.errors import BackendError
from fasttts.interfaces import GenerationRequest, VerificationRequest
from fasttts.verifiers import Gate, Mean
from fasttts.verifiers.judge_formats import JudgeFormat
from fasttts.verifiers.registry import judge_family
from tests.vllm.inside import model_of

pytestmark = pytest.mark.vllm

BUILDER = "fasttts.backends.vllm.builder"
SLOTS = 8
STEPS = ("3 + 4 = 7.", "7 - 2 = 5, so 5 are left.", "So 5.")


@pytest.fixture(scope="module")
def backends(tiny_generator: Path) -> Iterator[tuple[Any, Any]]:
    config = engine_config(generator=str(tiny_generator), verifier="judge", max_num_seqs=SLOTS)
    loaded = load_planned(config)
    assert loaded.verifier is None
    yield loaded.generator, loaded.judge
    loaded.generator.close()


def expected_scores(folder: Path, tokenizer: Any, steps: tuple[str, ...]) -> list[float]:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    layout = JudgeFormat(tokenizer, "tiny")
    found = []
    for end in range(1, len(steps) + 1):
        token_ids = layout.prompt("How many?", steps[:end]).token_ids
        with torch.no_grad():
            logits = model(torch.tensor([token_ids])).logits[0, -1]
        found.append(logits[list(layout.choices)].softmax(-1)[0].item())
    return found


def requests(generator: Any, count: int, max_tokens: int) -> list[GenerationRequest]:
    prompt = generator.tokenizer.encode_chat([{"role": "user", "content": "How many?"}])
    return [
        GenerationRequest(
            request_id=f"r{seed}",
            prompt_token_ids=prompt,
            seed=seed,
            sampling=Sampling(temperature=0.8),
            max_tokens=max_tokens,
        )
        for seed in range(count)
    ]


def decode(generator: Any, asked: list[GenerationRequest], judge: Any = None) -> dict[str, Any]:
    for one in asked:
        generator.add(one)
    tokens: dict[str, list[int]] = {one.request_id: [] for one in asked}
    for iteration in itertools.count():
        if not generator.num_unfinished():
            return tokens
        for output in generator.step():
            tokens[output.request_id].extend(output.token_ids)
        if judge is not None and iteration % 3 == 0:
            question = VerificationRequest(problem=f"{iteration}?", steps=STEPS[:2], num_scored=1)
            assert len(judge.score([question] * 3)) == 3
    raise AssertionError


def test_the_judge_has_the_scores_of_transformers(
    backends: tuple[Any, Any], tiny_generator: Path
) -> None:
    generator, judge = backends
    expected = expected_scores(tiny_generator, generator.tokenizer, STEPS)
    request = VerificationRequest(problem="How many?", steps=STEPS)
    (whole,) = judge.score([request])
    assert list(whole.scores) == pytest.approx(expected, abs=1e-5)
    for end in range(1, 4):
        request = VerificationRequest(problem="How many?", steps=STEPS[:end], num_scored=end - 1)
        (found,) = judge.score([request])
        assert found.scores == (pytest.approx(expected[end - 1], abs=1e-5),)
        assert found.num_computed_tokens <= 32 + 32, "what follows the steps, and one block"


@pytest.mark.parametrize("name", ["judge-panel", "judge-grades"])
def test_a_panel_and_grades_have_the_scores_of_transformers(
    backends: tuple[Any, Any], tiny_generator: Path, name: str
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    generator, _ = backends
    judge = GeneratorJudge(generator, judge_family(name))
    assert judge.name == f"{name}({generator.name})"
    model = AutoModelForCausalLM.from_pretrained(tiny_generator).eval()
    (found,) = judge.score([VerificationRequest(problem="How many?", steps=STEPS, num_scored=1)])
    layout = judge_family(name).build(generator.tokenizer, "tiny")
    worths = torch.linspace(1, 0, len(layout.choices))
    for score, end in zip(found.scores, (2, 3), strict=True):
        expected = []
        for one in layout.variants:
            token_ids = one.prompt("How many?", STEPS[:end]).token_ids
            with torch.no_grad():
                logits = model(torch.tensor([token_ids])).logits[0, -1]
            worth = float(logits[list(layout.choices)].softmax(-1) @ worths)
            expected.append(1 - worth if one.is_inverted else worth)
        assert score == pytest.approx(sum(expected) / len(expected), abs=1e-5)


def test_questions_change_no_token_of_what_decodes(backends: tuple[Any, Any]) -> None:
    generator, judge = backends
    alone = decode(generator, requests(generator, 12, 40))
    assert decode(generator, requests(generator, 12, 40), judge) == alone


def distributions(generator: Any, asked: list[GenerationRequest], judge: Any) -> dict[str, Any]:
    """Self-certainty and entropy of each token, with a question in every third iteration."""
    found: dict[str, Any] = {one.request_id: [] for one in asked}
    for one in asked:
        generator.add(replace(one, num_logprobs=0))
    for iteration in itertools.count():
        if not generator.num_unfinished():
            return found
        for output in generator.step():
            found[output.request_id] += (one.distribution for one in output.logprobs)
        if judge is not None and iteration % 3 == 0:
            judge.score([VerificationRequest(problem=f"{iteration}?", steps=STEPS[:1])])
    raise AssertionError


def test_questions_leave_the_numbers_of_distributions(backends: tuple[Any, Any]) -> None:
    """vLLM reports the tokens of a question in place of the likeliest ones then."""
    generator, judge = backends
    asked = requests(generator, 3, 20)
    beside, alone = (distributions(generator, asked, each) for each in (judge, None))
    assert all(len(found) > 3 for found in beside.values())
    for name, found in beside.items():
        np.testing.assert_allclose(found, alone[name], atol=1e-4)


def test_questions_find_a_seat_in_a_full_batch(backends: tuple[Any, Any]) -> None:
    generator, judge = backends
    assert generator.max_num_seqs == SLOTS
    for one in requests(generator, 2 * SLOTS, 200):
        generator.add(one)
    generator.step()
    judge.score([VerificationRequest(problem="full?", steps=STEPS)])
    gained = [len(output.token_ids) for output in generator.step()]
    assert 0 < max(gained) <= 4, "the question waited for no sequence to end"
    generator.abort([f"r{seed}" for seed in range(2 * SLOTS)])
    assert generator.step() == []


def test_what_is_aborted_between_is_not_handed_out(backends: tuple[Any, Any]) -> None:
    generator, judge = backends
    for one in requests(generator, 2, 50):
        generator.add(one)
    generator.step()
    judge.score([VerificationRequest(problem="between?", steps=STEPS)])
    generator.abort(["r0"])
    assert {output.request_id for output in generator.step()} == {"r1"}
    generator.abort(["r1"])


def test_the_tokens_of_yes_and_no_have_to_differ(backends: tuple[Any, Any]) -> None:
    class OneToken:
        def encode(self, text: str) -> list[int]:
            return [7]

    with pytest.raises(ValueError, match="Yes and No begin alike"):
        JudgeFormat(OneToken(), "odd")


def test_after_close_everything_is_refused(backends: tuple[Any, Any]) -> None:
    """Last of those that share the backends."""
    _, judge = backends
    judge.close()
    with pytest.raises(BackendError, match="closed") as caught:
        judge.score([VerificationRequest(problem="late", steps=STEPS)])
    assert caught.value.role == "verifier"


def half(problem: str, steps: tuple[str, ...]) -> float:
    return 0.5


@pytest.mark.parametrize(
    ("verifier", "name"),
    [
        ("judge", "judge(demo)"),
        (half, "half"),
        ([half, "judge"], "mean(half, judge(demo))"),
    ],
)
def test_one_model_in_memory(verifier: Any, name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger=BUILDER)
    with FastTTS.load(verifier=verifier) as engine:
        said = [vars(record) for record in caplog.records if record.name == BUILDER]
        opened = [fields["role"] for fields in said if "seconds" in fields]
        assert opened == ["generator"]
        model = weakref.ref(model_of(engine.generator))
        result = engine.search("Tom has 2 apples and buys 3. How many?", n=4, max_tokens=80)
        assert (engine.verifier_name, result.verifier) == (name, name)
    gc.collect()
    assert model() is None


def test_models_functions_and_the_judge_together() -> None:
    combination = Gate(half, Mean("demo", "judge", weights=(3, 1)), threshold=0.4)
    with FastTTS.load(verifier=combination) as engine:
        result = engine.search("Tom has 2 apples and buys 3. How many?", n=4, max_tokens=80)
        assert result.verifier == "gate(half >= 0.4, mean(demo, judge(demo)))"
        again = engine.search("Tom has 2 apples and buys 3. How many?", n=4, max_tokens=80)
        assert again.candidates == result.candidates
