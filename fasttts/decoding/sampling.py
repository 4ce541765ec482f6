"""The counter-based sampling rule: seeds of the tree and noise of a token, in one place.

The token at absolute position `p` of a sequence with seed `s` is

    argmax_v( filtered(penalized(logits) / T)_v + gumbel(s, p, v) )        T >= 1e-5
    argmax_v( penalized(logits)_v )                                        T < 1e-5

where `penalized` makes the tokens before `p` less likely, `filtered` applies min-p, top-k and top-p
in that order, and `gumbel` is a hash. By the Gumbel-max identity this samples from the filtered
softmax. Everything is a function of the prefix, the seed and the position; no generator state
exists: a sequence may be stopped, continued elsewhere or preempted without changing one token.

This file is the reference (NumPy); `backends/vllm/sampler.py` computes the same with torch.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

SEED_BITS = 63
SEED_MULTIPLIER = 0x9E3779B97F4A7C15
POSITION_MULTIPLIER = 0xBF58476D1CE4E5B9
TOKEN_MULTIPLIER = 0x632BE59BD9B4E019
MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
LAST_SHIFT = 31
UNIFORM_BITS = 52
_MASK = (1 << 64) - 1

MIN_TEMPERATURE = 1e-5
"""Lower temperatures are greedy, as in vLLM: float32 logits divided by them overflow."""

FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How one token is drawn.

    Attributes:
        temperature: Divides the logits; below `MIN_TEMPERATURE` the most likely token is taken and
            the filters are ignored.
        top_k: Keeps the k most likely tokens; 0 is off.
        top_p: Keeps the most likely tokens that reach this probability; 1 is off.
        min_p: Drops tokens below this share of the largest probability; 0 is off.
        repetition_penalty: Divides the positive and multiplies the negative logits of every token
            that occurs in the prompt or the answer so far; 1 is off.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    @property
    def is_greedy(self) -> bool:
        """Whether the most likely token is taken."""
        return self.temperature < MIN_TEMPERATURE

    @property
    def has_penalty(self) -> bool:
        """Whether tokens that occurred are penalized."""
        return self.repetition_penalty != 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSampling:
    """Values of `Sampling` that a model comes with; None where its authors name none.

    Attributes:
        temperature: 0 where they decode greedily.
        top_k: As in `Sampling`.
        top_p: As in `Sampling`.
        min_p: As in `Sampling`.
        repetition_penalty: As in `Sampling`.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None

    def unlike(self, sampling: Sampling) -> dict[str, float]:
        """The published values that differ from a sampling, by name."""
        own = asdict(self)
        return {
            name: own[name]
            for name in own
            if own[name] is not None and own[name] != getattr(sampling, name)
        }


def derive_seed(*key: int) -> int:
    """Derives a 63-bit seed from integers; equal keys give equal seeds on every platform.

    Args:
        key: Integers of any size and number.
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - SEED_BITS)


def root_seed(search_seed: int, index: int) -> int:
    """Seed of a root candidate.

    Args:
        search_seed: Seed of the search.
        index: Position among the root candidates.
    """
    return derive_seed(search_seed, index)


def child_seed(parent_seed: int, depth: int, index: int) -> int:
    """Seed of a child; child 0 continues its parent's stream.

    Args:
        parent_seed: Seed of the parent.
        depth: Depth of the parent, 1 for a root candidate.
        index: Position among its siblings.
    """
    return parent_seed if index == 0 else derive_seed(parent_seed, depth, index)


def noise_key(seed: int, position: int) -> int:
    """The 64-bit counter from which the noise of every token at one position is mixed.

    Args:
        seed: Seed of the sequence.
        position: Absolute position, prompt tokens included.
    """
    return (seed * SEED_MULTIPLIER + position * POSITION_MULTIPLIER) & _MASK


def gumbel_noise(seed: int, position: int, vocab_size: int) -> npt.NDArray[np.float64]:
    """Standard Gumbel noise for tokens `0 .. vocab_size - 1` at one position, shape [V].

    The hash is the finaliser of splitmix64 over `noise_key + token * odd constant`; its top 52
    bits, centred in their cell, are the uniform, so that both logarithms have positive arguments.

    Args:
        seed: Seed of the sequence.
        position: Absolute position, prompt tokens included.
        vocab_size: Number of tokens `V`.
    """
    tokens = np.arange(vocab_size, dtype=np.uint64)
    x = np.uint64(noise_key(seed, position)) + tokens * np.uint64(TOKEN_MULTIPLIER)
    for shift, multiplier in MIX:
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(multiplier)
    x ^= x >> np.uint64(LAST_SHIFT)
    uniform = ((x >> np.uint64(64 - UNIFORM_BITS)).astype(np.float64) + 0.5) / 2**UNIFORM_BITS
    noise: npt.NDArray[np.float64] = -np.log(-np.log(uniform))
    return noise


def penalize(logits: FloatArray, token_ids: Sequence[int], penalty: float) -> FloatArray:
    """Makes tokens that occurred less likely (Keskar et al., arXiv 1909.05858, as vLLM does it).

    A positive logit is divided by the penalty, a negative one multiplied, however often the token
    occurred, in the prompt or in the answer.

    Args:
        logits: Shape [V].
        token_ids: All tokens of the sequence so far, the prompt's among them.
        penalty: Above 0; more than 1 makes them less likely.
    """
    penalized = logits.copy()
    seen = np.unique(np.asarray(token_ids, dtype=np.int64))
    values = logits[seen]
    factor = logits.dtype.type(penalty)
    penalized[seen] = np.where(values > 0, values / factor, values * factor)
    return penalized


def filter_logits(logits: FloatArray, sampling: Sampling) -> FloatArray:
    """Computes `logits / T` with minus infinity for the tokens that the filters remove, shape [V].

    min-p keeps tokens with at least `min_p` times the largest probability; top-k the k largest
    logits (and their ties); top-p the smallest set of most likely tokens whose probability reaches
    `top_p`, including the one that crosses it.

    Args:
        logits: Shape [V].
        sampling: Temperature above 0, and the filters.
    """
    scaled = logits / sampling.temperature
    if sampling.min_p > 0:
        scaled = np.where(scaled < scaled.max() + np.log(sampling.min_p), -np.inf, scaled)
    if 0 < sampling.top_k < len(scaled):
        kth = np.partition(scaled, -sampling.top_k)[-sampling.top_k]
        scaled = np.where(scaled < kth, -np.inf, scaled)
    if sampling.top_p < 1:
        order = np.argsort(-scaled, kind="stable")
        weights = np.exp(scaled[order] - scaled.max())
        weights /= weights.sum()
        removed = np.cumsum(weights) - weights >= sampling.top_p
        scaled = scaled.copy()
        scaled[order[removed]] = -np.inf
    return scaled


def sample_token(
    logits: FloatArray, seed: int, position: int, sampling: Sampling, prefix: Sequence[int] = ()
) -> int:
    """Draws one token.

    Args:
        logits: Shape [V].
        seed: Seed of the sequence.
        position: Absolute position of the new token, prompt tokens included.
        sampling: How it is drawn.
        prefix: All tokens before it, prompt tokens included; only a penalty reads them.

    Returns:
        The token's id.
    """
    if sampling.has_penalty:
        logits = penalize(logits, prefix, sampling.repetition_penalty)
    if sampling.is_greedy:
        return int(np.argmax(logits))
    noise = gumbel_noise(seed, position, len(logits))
    return int(np.argmax(filter_logits(logits, sampling) + noise))
