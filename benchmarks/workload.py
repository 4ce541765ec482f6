"""A workload of seeded step lengths and scores, for which the best possible schedule is known.

Step lengths are log-normal (mean 60 tokens, sigma 0.7), scores are correlated 0.5 with the
parent's; both are pure functions of the tree, so every arm of a benchmark does the same search.
"""

import functools
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from fasttts.backends.fake import BLANK_LINE, FakeGenerator
from fasttts.decoding.sampling import child_seed, derive_seed, root_seed
from fasttts.interfaces import (
    GenerationOutput,
    GenerationRequest,
    Verification,
    VerificationRequest,
)

MEAN_TOKENS, SIGMA, CORRELATION = 60, 0.7, 0.5
MIN_TOKENS = 4
_LETTERS = b"abcdefghijklmnopqrstuvwxyz"


def normal(*key: object) -> float:
    """A standard normal number from a key."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=16).digest()
    u, v = (int.from_bytes(digest[i : i + 8], "big") / 2**64 for i in (0, 8))
    return math.sqrt(-2 * math.log(u + 1e-12)) * math.cos(2 * math.pi * v)


@functools.lru_cache(maxsize=1 << 16)
def step_length(seed: int, start: int) -> int:
    """Tokens of the step that a sequence with `seed` begins at position `start`."""
    z = normal("length", seed, start)
    return max(MIN_TOKENS, int(MEAN_TOKENS * math.exp(SIGMA * z - SIGMA**2 / 2)))


def letters(seed: int, start: int, length: int) -> list[int]:
    """The step's tokens: letters that tell it from its siblings, then the separator."""
    digest = hashlib.blake2b(repr((seed, start)).encode(), digest_size=32).digest()
    text = [_LETTERS[byte % 26] for byte in digest]
    return [*(text[i % len(text)] for i in range(length - 1)), BLANK_LINE]


@functools.lru_cache(maxsize=1 << 18)
def latent_score(steps: tuple[str, ...]) -> float:
    """A standard normal score, correlated with the parent's."""
    own = normal("score", steps)
    if len(steps) == 1:
        return own
    return CORRELATION * latent_score(steps[:-1]) + math.sqrt(1 - CORRELATION**2) * own


class SeededVerifier:
    """Immediate scores in [0, 1]; counts each step once, as a perfect prefix cache would."""

    name = "seeded"

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        """The normal distribution's quantile of each unscored step's latent score."""
        return [self._score(request) for request in requests]

    def close(self) -> None:
        """Nothing to free."""

    def _score(self, request: VerificationRequest) -> Verification:
        ends = range(request.num_scored + 1, len(request.steps) + 1)
        latent = [latent_score(request.steps[:end]) for end in ends]
        return Verification(
            scores=tuple(0.5 * (1 + math.erf(z / math.sqrt(2))) for z in latent),
            num_computed_tokens=sum(len(step) for step in request.steps[request.num_scored :]),
        )


@dataclass(slots=True)
class _Stream:
    request: GenerationRequest
    pending: list[int]
    position: int


class SeededGenerator(FakeGenerator):
    """Emits steps of seeded lengths; an iteration costs next to nothing."""

    name = "seeded"

    def __init__(self, *, num_prompt_tokens: int, max_num_seqs: int) -> None:
        super().__init__(max_num_seqs=max_num_seqs, max_model_len=1 << 20)
        self._num_prompt_tokens = num_prompt_tokens
        self._streams: dict[str, _Stream] = {}

    def add(self, request: GenerationRequest) -> None:
        """Queues a request, in the middle of a step or at its beginning."""
        tokens = request.prompt_token_ids
        start = len(tokens)
        while start > self._num_prompt_tokens and tokens[start - 1] != BLANK_LINE:
            start -= 1
        step = letters(request.seed, start, step_length(request.seed, start))
        pending = step[len(tokens) - start :][::-1]
        self._streams[request.request_id] = _Stream(request, pending, len(tokens))

    def step(self) -> list[GenerationOutput]:
        """One token for each sequence."""
        return [self._emit(stream) for stream in self._streams.values()]

    def abort(self, request_ids: Sequence[str]) -> None:
        """Ends requests."""
        for request_id in request_ids:
            self._streams.pop(request_id, None)

    def num_unfinished(self) -> int:
        """Requests in flight."""
        return len(self._streams)

    def _emit(self, stream: _Stream) -> GenerationOutput:
        seed = stream.request.seed
        if not stream.pending:
            step = letters(seed, stream.position, step_length(seed, stream.position))
            stream.pending = step[::-1]
        stream.position += 1
        return GenerationOutput(
            request_id=stream.request.request_id,
            token_ids=(stream.pending.pop(),),
            is_finished=False,
        )


def oracle_iterations(paths: Sequence[tuple[int, ...]], search_seed: int, start: int) -> int:
    """Iterations when every node of the final tree starts the moment its parent ends."""
    ends: dict[tuple[int, ...], tuple[int, int]] = {(): (start, derive_seed(search_seed))}
    for path in sorted(paths, key=len):
        parent_end, parent_seed = ends[path[:-1]]
        if len(path) == 1:
            seed = root_seed(search_seed, path[0])
        else:
            seed = child_seed(parent_seed, len(path) - 1, path[-1])
        ends[path] = (parent_end + step_length(seed, parent_end), seed)
    return max(end for end, _ in ends.values()) - start
