"""Measures the time of decoding and prefilling on the present device, in a few seconds.

Works on any implementation of `interfaces.py`. Every request gets a text of its own, so that no
prefix cache shortens the work, and every timing is the median of several repetitions.
"""

import itertools
import secrets
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from fasttts.decoding.sampling import Sampling, derive_seed
from fasttts.decoding.tokenizer import Tokenizer
from fasttts.errors import BackendError, Role
from fasttts.interfaces import (
    GenerationRequest,
    Generator,
    Verification,
    VerificationRequest,
    Verifier,
)

Clock = Callable[[], float]
Point = tuple[int, float]
"""A size (sequences, or tokens) and seconds."""

BUDGET_S = 10.0
_LARGEST_BATCH = 1024
_LARGEST_PREFILL = 4096
_SMALLEST_PREFILL = 32
_NUM_ITERATIONS = 8
_NUM_REPEATS = 3
_SAMPLING = Sampling(temperature=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Measured times of one model on one device.

    Attributes:
        device: The device's name.
        model: The model's name or path.
        role: The role in which the model was measured.
        decode: Sequences in the batch, and seconds of one iteration; empty for a verifier.
        prefill: New tokens, and seconds to compute them.
        context_tokens: Mean context of a sequence while decoding was measured.
    """

    device: str
    model: str
    role: Role
    decode: tuple[Point, ...] = ()
    prefill: tuple[Point, ...] = ()
    context_tokens: int = 0


def calibrate_generator(
    generator: Generator,
    device: str,
    *,
    clock: Clock = time.perf_counter,
    budget_s: float = BUDGET_S,
) -> Calibration:
    """Times iterations of 1, 2, 4, ... sequences, and prompts of 32, 64, ... tokens.

    Args:
        generator: An idle engine; it has no requests afterwards.
        device: The device's name.
        clock: Returns seconds; replaced by tests.
        budget_s: Seconds after which no larger size is tried.

    Raises:
        BackendError: The engine failed, or nothing could be timed.
    """
    half_s = budget_s / 2
    decode, context_tokens = _time_decoding(generator, clock, clock() + half_s)
    return Calibration(
        device=device,
        model=generator.name,
        role="generator",
        decode=decode,
        prefill=_time_prompts(generator, clock, clock() + half_s),
        context_tokens=context_tokens,
    )


def calibrate_verifier(
    verifier: Verifier,
    device: str,
    *,
    clock: Clock = time.perf_counter,
    budget_s: float = BUDGET_S / 2,
) -> Calibration:
    """Times batches of 1, 2, 4, ... one-step paths.

    Args:
        verifier: An idle verifier.
        device: The device's name.
        clock: Returns seconds; replaced by tests.
        budget_s: Seconds after which no larger size is tried.

    Raises:
        BackendError: The verifier failed, or reports no computed tokens.
    """
    texts = _texts()
    points: list[Point] = []
    deadline_s, batch = clock() + budget_s, 1
    _score(verifier, texts, batch)
    while clock() < deadline_s and (not points or points[-1][0] < _LARGEST_PREFILL):
        tokens, seconds = [], []
        for _ in range(_NUM_REPEATS):
            started_s = clock()
            done = _score(verifier, texts, batch)
            seconds.append(clock() - started_s)
            tokens.append(sum(each.num_computed_tokens for each in done))
        if min(tokens) == 0:
            raise BackendError("the verifier reports no computed tokens", role="verifier")
        points.append((statistics.median_low(tokens), statistics.median(seconds)))
        batch *= 2
    return Calibration(
        device=device, model=verifier.name, role="verifier", prefill=_positive(points)
    )


def _time_decoding(
    generator: Generator, clock: Clock, deadline_s: float
) -> tuple[tuple[Point, ...], int]:
    """Points of decoding, and the mean context of their measurement."""
    points: dict[int, list[float]] = defaultdict(list)
    texts = _texts()
    prompt_tokens = 0
    for batch in _batch_sizes(min(generator.max_num_seqs, _LARGEST_BATCH)):
        prompts = [_chat(generator.tokenizer, next(texts)) for _ in range(batch)]
        prompt_tokens = len(prompts[0])
        for size, elapsed_s in _iterations(generator, prompts, clock):
            points[size].append(elapsed_s)
        if clock() >= deadline_s:
            break
    if not points:
        raise BackendError("no iteration of the generator could be timed", role="generator")
    return _medians(points), prompt_tokens + _NUM_ITERATIONS // 2


def _batch_sizes(most: int) -> Iterator[int]:
    """1, 2, 4, ... and the largest; extrapolation beyond the measured sizes is pessimistic."""
    yield from (1 << shift for shift in range((most - 1).bit_length()))
    yield most


def _iterations(
    generator: Generator, prompts: list[list[int]], clock: Clock
) -> Iterator[tuple[int, float]]:
    """Decodes some tokens after each prompt; sizes and seconds of iterations without prompts.

    A sequence that ends early leaves a smaller batch, which is timed as well.
    """
    waiting = {str(index) for index in range(len(prompts))}
    for request_id, prompt in zip(sorted(waiting, key=int), prompts, strict=True):
        generator.add(_request(request_id, prompt, max_tokens=_NUM_ITERATIONS + 2))
    request_ids, num_timed = sorted(waiting), 0
    try:
        while generator.num_unfinished() and num_timed < _NUM_ITERATIONS:
            started_s = clock()
            outputs = generator.step()
            elapsed_s = clock() - started_s
            if outputs and not waiting:
                num_timed += 1
                yield len(outputs), elapsed_s
            waiting.difference_update(output.request_id for output in outputs)
    finally:
        generator.abort(request_ids)


def _time_prompts(generator: Generator, clock: Clock, deadline_s: float) -> tuple[Point, ...]:
    """Points of prefilling: one prompt and its first token."""
    points: dict[int, list[float]] = defaultdict(list)
    texts = _texts()
    most = min(_LARGEST_PREFILL, generator.max_model_len - 1)
    size = min(_SMALLEST_PREFILL, most)
    _first_token_s(generator, _tokens(generator.tokenizer, texts, size), clock)
    while size <= most:
        for _ in range(_NUM_REPEATS):
            prompt = _tokens(generator.tokenizer, texts, size)
            points[size].append(_first_token_s(generator, prompt, clock))
        if clock() >= deadline_s:
            break
        size *= 2
    return _medians(points)


def _first_token_s(generator: Generator, prompt: list[int], clock: Clock) -> float:
    generator.add(_request("prompt", prompt, max_tokens=1))
    started_s = clock()
    while generator.num_unfinished():
        generator.step()
    return clock() - started_s


def _request(request_id: str, prompt: list[int], max_tokens: int) -> GenerationRequest:
    return GenerationRequest(
        request_id=request_id,
        prompt_token_ids=prompt,
        seed=derive_seed(len(prompt), *map(ord, request_id)),
        sampling=_SAMPLING,
        max_tokens=max_tokens,
    )


def _score(verifier: Verifier, texts: Iterator[str], batch: int) -> list[Verification]:
    return verifier.score(
        [VerificationRequest(problem=next(texts), steps=(next(texts),)) for _ in range(batch)]
    )


def _texts() -> Iterator[str]:
    """Sentences that differ in their first words from all others and from those of other runs."""
    run = secrets.token_hex(4)
    for index in itertools.count(1):
        a, b, c = (derive_seed(index, part) % 90 + 10 for part in range(3))
        yield f"{run}-{index}: Tom has {a} bags of {b} pens and gives {c} away. How many are left?"


def _chat(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode_chat([{"role": "user", "content": text}])


def _tokens(tokenizer: Tokenizer, texts: Iterator[str], num_tokens: int) -> list[int]:
    token_ids: list[int] = []
    while len(token_ids) < num_tokens:
        token_ids += tokenizer.encode(next(texts))
    return token_ids[:num_tokens]


def _medians(points: dict[int, list[float]]) -> tuple[Point, ...]:
    return _positive((size, statistics.median(points[size])) for size in sorted(points))


def _positive(points: Iterable[Point]) -> tuple[Point, ...]:
    """Removes points that a coarse clock could not time."""
    return tuple((size, seconds) for size, seconds in points if seconds > 0)
