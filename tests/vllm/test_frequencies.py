"""What the demonstration generator samples follows the softmax of its logits.

Counts of single tokens over fixed seeds are compared with the probabilities that transformers
computes for the same model, by Pearson's chi-square; each comparison would reject a correct sampler
with probability 1e-6.
"""

import math
from collections import Counter
from collections.abc import Iterator
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from fasttts import demo
from fasttts.backends.vllm import load_backends
from fasttts.config import engine_config
from fasttts.decoding.sampling import Sampling, filter_logits
from fasttts.interfaces import GenerationRequest, Generator

pytestmark = pytest.mark.vllm

ERROR_PROBABILITY = 1e-6
NUM_DRAWS = 2000
OPTIONS = [
    Sampling(temperature=0.4),
    Sampling(temperature=1.0),
    Sampling(temperature=2.0),
    Sampling(temperature=1.5, top_k=3),
    Sampling(temperature=1.5, top_p=0.7),
    Sampling(temperature=1.5, min_p=0.1),
    Sampling(temperature=1.2, top_k=20, top_p=0.9, min_p=0.01),
]


@pytest.fixture(scope="module")
def generator() -> Iterator[Generator]:
    generator, verifier = load_backends(engine_config(verifier=None, max_num_seqs=128))
    assert verifier is None
    yield generator
    generator.close()


@pytest.fixture(scope="module")
def context(generator: Generator) -> tuple[list[int], Any]:
    """The place of some sampled answers where the model is least certain, and its logits there."""
    start = generator.tokenizer.encode_chat(
        [{"role": "user", "content": "Ann has 3 apples and buys 4 more. How many has she now?"}]
    )
    answers = draw(generator, start, Sampling(temperature=1.2), range(8), max_tokens=40)
    places = [place for answer in answers for place in uncertain_places(start, answer)]
    _, prompt, logits = max(places, key=lambda place: place[0])
    return prompt, logits


def uncertain_places(start: list[int], answer: list[int]) -> list[tuple[float, list[int], Any]]:
    """Entropy, prefix and logits at each place of an answer."""
    logits = reference_logits([*start, *answer])[len(start) - 1 : -1]
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    entropies = -(probabilities * np.log(probabilities + 1e-30)).sum(axis=1)
    return [(float(entropies[i]), [*start, *answer[:i]], logits[i]) for i in range(len(answer))]


@cache
def reference_model() -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(demo.generator_path(), dtype=torch.float32)


def reference_logits(token_ids: list[int]) -> Any:
    import torch

    with torch.no_grad():
        return reference_model()(torch.tensor([token_ids])).logits[0].numpy()


def draw(
    generator: Generator, prompt: list[int], sampling: Sampling, seeds: range, max_tokens: int = 1
) -> list[list[int]]:
    tokens: dict[str, list[int]] = {}
    for seed in seeds:
        tokens[str(seed)] = []
        generator.add(
            GenerationRequest(
                request_id=str(seed),
                prompt_token_ids=prompt,
                seed=seed,
                sampling=sampling,
                max_tokens=max_tokens,
            )
        )
    while generator.num_unfinished():
        for output in generator.step():
            tokens[output.request_id] += output.token_ids
    return list(tokens.values())


def chi_square_limit(degrees: int) -> float:
    """The quantile of chi-square at `1 - ERROR_PROBABILITY`, by Wilson and Hilferty's formula."""
    z = NormalDist().inv_cdf(1 - ERROR_PROBABILITY)
    return degrees * (1 - 2 / (9 * degrees) + z * math.sqrt(2 / (9 * degrees))) ** 3


def pooled(expected: Any, observed: Any) -> tuple[Any, Any]:
    """Cells with fewer than five expected draws as one cell."""
    rare = expected < 5
    if not rare.any():
        return expected, observed
    return (
        np.append(expected[~rare], max(expected[rare].sum(), 1e-9)),
        np.append(observed[~rare], observed[rare].sum()),
    )


@pytest.mark.parametrize("sampling", OPTIONS, ids=str)
def test_frequencies_match_the_softmax(
    generator: Generator, context: tuple[list[int], Any], sampling: Sampling
) -> None:
    prompt, logits = context
    filtered = filter_logits(logits.astype(np.float64), sampling)
    probabilities = np.exp(filtered - filtered.max())
    probabilities /= probabilities.sum()
    counts = Counter(token for (token,) in draw(generator, prompt, sampling, range(NUM_DRAWS)))
    observed = np.array([counts[token] for token in range(len(probabilities))])
    assert observed[probabilities == 0].sum() == 0, "a filtered token was drawn"
    kept = probabilities > 0
    expected, seen = pooled(NUM_DRAWS * probabilities[kept], observed[kept])
    if len(expected) > 1:
        statistic = float(((seen - expected) ** 2 / expected).sum())
        assert statistic < chi_square_limit(len(expected) - 1)


def test_the_place_is_uncertain(context: tuple[list[int], Any]) -> None:
    _, logits = context
    probabilities = np.exp(logits - logits.max())
    assert probabilities.max() / probabilities.sum() < 0.95
