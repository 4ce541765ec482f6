"""The counter-based rule: determinism, distribution, filters."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttts.decoding.sampling import (
    Sampling,
    child_seed,
    derive_seed,
    filter_logits,
    gumbel_noise,
    noise_key,
    penalize,
    root_seed,
    sample_token,
)

SEEDS = st.integers(0, 2**63 - 1)
LOGITS = np.array([2.0, 1.0, 0.0, -1.0, 1.0])


def test_seeds_are_the_same_on_every_platform() -> None:
    assert derive_seed(0, 0) == 1350176041220068806
    assert root_seed(7, 3) == derive_seed(7, 3)
    assert noise_key(1, 2) == (0x9E3779B97F4A7C15 + 2 * 0xBF58476D1CE4E5B9) % 2**64


@given(SEEDS, st.integers(1, 40), st.integers(1, 64))
def test_child_zero_continues_its_parents_stream(seed: int, depth: int, index: int) -> None:
    assert child_seed(seed, depth, 0) == seed
    assert child_seed(seed, depth, index) == derive_seed(seed, depth, index) != seed


@given(SEEDS, st.integers(0, 10**6))
def test_noise_of_a_token_does_not_depend_on_the_vocabulary_size(seed: int, position: int) -> None:
    long = gumbel_noise(seed, position, 300)
    assert np.isfinite(long).all()
    assert (long[:100] == gumbel_noise(seed, position, 100)).all()


def test_noise_is_standard_gumbel() -> None:
    noise = np.concatenate([gumbel_noise(s, p, 1000) for s in range(10) for p in range(100)])
    assert noise.mean() == pytest.approx(np.euler_gamma, abs=5 * 1.283 / math.sqrt(len(noise)))
    assert noise.var() == pytest.approx(math.pi**2 / 6, rel=0.01)
    ranks = np.exp(-np.exp(-noise))
    assert np.histogram(ranks, 20, (0, 1))[0] / len(ranks) == pytest.approx(0.05, abs=0.0012)


def test_neighbouring_positions_and_seeds_are_uncorrelated() -> None:
    rows = [gumbel_noise(seed, position, 5000) for seed in (1, 2) for position in (5, 6)]
    correlation = np.corrcoef(rows) - np.eye(4)
    assert np.abs(correlation).max() < 5 / math.sqrt(5000)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_penalty_divides_positive_and_multiplies_negative_logits_once(dtype: type) -> None:
    logits = np.array([2.0, -2.0, 3.0, -np.inf, 0.0], dtype=dtype)
    penalized = penalize(logits, [0, 1, 0, 0, 3, 4], 2.0)
    assert penalized.dtype == logits.dtype
    assert penalized.tolist() == [1.0, -4.0, 3.0, -np.inf, 0.0]
    assert logits[0] == 2.0


@pytest.mark.parametrize("temperature", [0.0, 1e-5])
def test_a_penalty_acts_before_the_temperature(temperature: float) -> None:
    sampling = Sampling(temperature=temperature, repetition_penalty=4.0)
    assert sample_token(LOGITS, 1, 9, sampling, [0]) in {1, 4}
    assert sample_token(LOGITS, 1, 9, sampling, []) == 0


@pytest.mark.parametrize("temperature", [5e-324, 1e-40, 1e-30, 9.9e-6])
def test_temperatures_that_overflow_are_greedy(temperature: float) -> None:
    logits = np.array([1e4, 2e4, -3e4], dtype=np.float32)
    sampling = Sampling(temperature=temperature, top_p=0.5, top_k=2, min_p=0.1)
    assert sampling.is_greedy
    assert {sample_token(logits, seed, 3, sampling) for seed in range(20)} == {1}
    assert not Sampling(temperature=1e-5).is_greedy


def test_temperature_zero_takes_the_most_likely_token_whatever_the_seed() -> None:
    assert {sample_token(LOGITS, seed, 3, Sampling()) for seed in range(50)} == {0}


@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        (Sampling(temperature=1.0), {0, 1, 2, 3, 4}),
        (Sampling(temperature=1.0, top_k=1), {0}),
        (Sampling(temperature=1.0, top_k=2), {0, 1, 4}),  # ties with the second are kept
        (Sampling(temperature=1.0, top_k=9), {0, 1, 2, 3, 4}),
        (Sampling(temperature=1.0, top_p=0.5), {0}),
        (Sampling(temperature=1.0, top_p=0.6), {0, 1}),
        (Sampling(temperature=1.0, top_p=1e-9), {0}),
        (Sampling(temperature=1.0, min_p=0.3), {0, 1, 4}),
        (Sampling(temperature=1.0, min_p=1.0), {0}),
        (Sampling(temperature=10.0, min_p=0.8), {0, 1, 2, 4}),
    ],
)
def test_filters_keep(sampling: Sampling, kept: set[int]) -> None:
    filtered = filter_logits(LOGITS, sampling)
    assert set(np.flatnonzero(np.isfinite(filtered))) == kept
    drawn = {sample_token(LOGITS, seed, 0, sampling) for seed in range(300)}
    assert drawn <= kept


def test_frequencies_match_the_softmax() -> None:
    sampling = Sampling(temperature=0.7)
    expected = np.exp(LOGITS / 0.7) / np.exp(LOGITS / 0.7).sum()
    tokens = [sample_token(LOGITS, 11, position, sampling) for position in range(20_000)]
    observed = np.bincount(tokens, minlength=5)
    chi_square = ((observed - 20_000 * expected) ** 2 / (20_000 * expected)).sum()
    assert chi_square < 18.47  # 4 degrees of freedom, error probability 0.001
