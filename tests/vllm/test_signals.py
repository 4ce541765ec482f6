"""Signals of real models: the values of their logits, and one tree under every schedule."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fasttts import ConfigurationError, FastTTS
from fasttts.backends.vllm import load_backends
from fasttts.config import PLAIN, SIGNALS, SchedulingConfig, engine_config, search_config
from fasttts.decoding.sampling import Sampling
from fasttts.demo import generator_path
from fasttts.demo.problems import generate_problems
from fasttts.interfaces import GenerationRequest, Generator, VerificationRequest
from fasttts.scheduling.loop import Loop
from fasttts.scheduling.run import SearchRun
from fasttts.types import TokenLogprobs
from fasttts.verifiers import Entropy, Mean, MeanConfidence, Perplexity, SelfCertainty, Signal
from fasttts.verifiers.resolve import as_verifier, joint_num_logprobs
from tests.searches import Recorder, drive, make_run, same_tree, snapshot

pytestmark = [pytest.mark.vllm, pytest.mark.usefixtures("unmeasured")]

FloatArray = npt.NDArray[np.float64]

NUM_SEARCHES = 10
PROBLEMS = generate_problems("test", 12, NUM_SEARCHES, min_operations=2, max_operations=6)
SEARCHES: list[dict[str, Any]] = [
    {"search": "beam_search"},
    {"search": "deepconf", "aggregation": "min", "keep": 0.5},
    {"search": "best_of_n", "selection": "weighted", "aggregation": "mean"},
    {"search": "dvts", "aggregation": "model"},
    {"search": "deepconf", "step_tokens": 8, "stop_below": 0.45},
]


def search_all(
    generator: Generator, signal: str, scheduling: SchedulingConfig, **options: Any
) -> list[SearchRun]:
    """Searches of several kinds, run together to their end."""
    verifier = as_verifier(signal)
    loop = Loop(generator, verifier, scheduling)
    runs, recorders = [], []
    for seed, problem in enumerate(PROBLEMS):
        own = {"max_tokens": 300, **SEARCHES[seed % len(SEARCHES)], **options}
        config = search_config(**own, n=8, seed=seed)
        runs.append(make_run(generator, problem.text, config, joint_num_logprobs(verifier)))
        recorders.append(Recorder())
        loop.submit(runs[-1], recorders[-1])
    drive(loop)
    assert all(recorder.outcomes == [None] for recorder in recorders)
    assert generator.num_unfinished() == 0
    return runs


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_optimisations_give_the_tree_of_the_plain_loop() -> None:
    generator, _ = load_backends(engine_config(verifier=None, max_num_seqs=64))
    try:
        for signal in SIGNALS:
            plain = search_all(generator, signal, PLAIN)
            fast = search_all(generator, signal, SchedulingConfig(slots=48))
            for expected, found in zip(plain, fast, strict=True):
                assert same_tree(found, snapshot(expected))
    finally:
        generator.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_short_memory_changes_no_score(tiny_generator: Path) -> None:
    """Sequences are preempted and computed again, on distributions that are nearly flat."""
    found, num_preemptions = [], []
    for arguments in ({}, {"num_gpu_blocks_override": 40}):
        config = engine_config(
            generator=str(tiny_generator), max_num_seqs=64, generator_args=arguments
        )
        generator, _ = load_backends(config)
        try:
            options = {"step_tokens": 12, "max_tokens": 60}
            scheduling = SchedulingConfig(slots=48, kv_usage_threshold=0.99)
            runs = search_all(generator, "entropy", scheduling, **options)
            found.append([snapshot(run) for run in runs])
            num_preemptions.append(generator.pressure().num_preemptions)
        finally:
            generator.close()
    assert found[0] == found[1]
    assert num_preemptions[0] == 0 < num_preemptions[1]


@pytest.fixture(scope="module")
def decoded() -> tuple[list[TokenLogprobs], FloatArray]:
    """What vLLM reports beside tokens, and the log-probabilities of transformers there, [T, V]."""
    import torch
    from transformers import AutoModelForCausalLM

    generator, _ = load_backends(engine_config(verifier=None, max_num_seqs=4))
    try:
        question = {"role": "user", "content": PROBLEMS[0].text}
        prompt = generator.tokenizer.encode_chat([question])
        request = GenerationRequest(
            request_id="a",
            prompt_token_ids=prompt,
            seed=3,
            sampling=Sampling(temperature=1.3, top_k=50),
            max_tokens=120,
            num_logprobs=20,
        )
        generator.add(request)
        token_ids: list[int] = []
        reported: list[TokenLogprobs] = []
        while generator.num_unfinished():
            for output in generator.step():
                token_ids += output.token_ids
                reported += output.logprobs
    finally:
        generator.close()
    model = AutoModelForCausalLM.from_pretrained(generator_path(), dtype=torch.float32)
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *token_ids]])).logits[0, len(prompt) - 1 : -1]
    logprobs_TV = torch.log_softmax(logits.double(), dim=-1).numpy()
    assert [found.token_id for found in reported] == token_ids
    return reported, logprobs_TV


def test_values_are_those_of_the_models_logits(
    decoded: tuple[list[TokenLogprobs], FloatArray],
) -> None:
    reported, logprobs_TV = decoded
    tokens = [found.token_id for found in reported]
    top_TK = np.maximum(-np.sort(-logprobs_TV, axis=1)[:, :20], -40)
    expected = {
        Perplexity(): math.exp(logprobs_TV[np.arange(len(tokens)), tokens].mean()),
        MeanConfidence(): -top_TK.mean() / 40,
        SelfCertainty(): (-logprobs_TV.mean() - math.log(logprobs_TV.shape[1])) / 40,
        Entropy(): math.exp((np.exp(logprobs_TV) * logprobs_TV).sum(axis=1).mean()),
    }
    for signal, value in expected.items():
        assert _score(signal, reported) == pytest.approx(value, abs=1e-5), signal.name


def _score(signal: Signal, tokens: list[TokenLogprobs]) -> float:
    request = VerificationRequest(problem="p", steps=("a",), logprobs=(tokens,))
    return signal.score([request])[0].scores[0]


def test_a_grammars_tokens_have_the_models_probabilities() -> None:
    with FastTTS.load(verifier="perplexity", max_num_seqs=16) as engine:
        free = engine.search(PROBLEMS[0].text, n=4, seed=1)
        forced = engine.search(PROBLEMS[0].text, n=4, structured_outputs={"regex": "zzz[xq]{4}"})
        assert engine.verifier_name == "perplexity"
    assert free.score is not None
    assert forced.score is not None
    assert forced.score < 0.01 < free.score


def test_a_judge_goes_with_no_likeliest_tokens() -> None:
    """vLLM's first model runner reports none in an iteration with a judge's question."""
    with pytest.raises(ConfigurationError, match="'judge' goes with no signal"):
        FastTTS.load(verifier=Mean("judge", "mean_confidence"))
