"""Seeded step lengths and scores on real engines: for benchmarks only.

Models without training, or with a workload of their own, do not end steps where a benchmark needs
them. This logits processor ends each step at its seeded length; the verifier runs for its cost and
its scores are replaced by seeded ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

from benchmarks.workload import SeededVerifier, step_length
from fasttts.backends.base import Verification, VerificationRequest, Verifier
from fasttts.backends.vllm.sampler import ARGUMENT

if TYPE_CHECKING:
    from vllm.config import VllmConfig

ARGUMENTS = "fasttts_benchmark"
"""Key in vLLM's `additional_config`: ids of the separator and of the tokens that end an answer, and
the length of every prompt."""


@dataclass(slots=True)
class _Row:
    seed: int
    prompt: Sequence[int]
    output: Sequence[int]
    end: int


class SeededSteps(LogitsProcessor):
    """Forces the step separator where a step has its seeded length, and forbids it elsewhere."""

    def __init__(
        self, vllm_config: "VllmConfig", device: torch.device, is_pin_memory: bool
    ) -> None:
        options = vllm_config.additional_config[ARGUMENTS]
        self._separator: int = options["separator"]
        self._forbidden: list[int] = [self._separator, *options["end"]]
        self._num_prompt_tokens: int = options["num_prompt_tokens"]
        self._rows: dict[int, _Row] = {}

    def is_argmax_invariant(self) -> bool:
        """False: it decides tokens."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follows requests that left, entered and moved."""
        if batch_update is None:
            return
        for index in batch_update.removed:
            self._rows.pop(index, None)
        for index, params, prompt, output in batch_update.added:
            self._rows[index] = self._row(params, prompt or [], output)
        for source, target, direction in batch_update.moved:
            moved, displaced = self._rows.pop(source, None), self._rows.pop(target, None)
            if moved is not None:
                self._rows[target] = moved
            if displaced is not None and direction is MoveDirectionality.SWAP:
                self._rows[source] = displaced

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Changes `logits` [rows, V] in place."""
        logits[:, self._forbidden] = float("-inf")
        ending = [index for index, row in self._rows.items() if self._ends_now(row)]
        logits[ending] = float("-inf")
        logits[ending, self._separator] = 0.0
        return logits

    def _row(self, params: SamplingParams, prompt: Sequence[int], output: Sequence[int]) -> _Row:
        seed, _ = (params.extra_args or {})[ARGUMENT]
        tokens = [*prompt, *output]
        start = len(tokens)
        while start > self._num_prompt_tokens and tokens[start - 1] != self._separator:
            start -= 1
        return _Row(seed, prompt, output, start + step_length(seed, start))

    def _ends_now(self, row: _Row) -> bool:
        position = len(row.prompt) + len(row.output)
        if position >= row.end:
            row.end = position + step_length(row.seed, position)
        return position == row.end - 1


class Rescoring:
    """Scores every step anew each time, as search-and-learn does.

    Args:
        inner: The verifier that scores.
    """

    name = "rescoring"

    def __init__(self, inner: Verifier) -> None:
        self._inner = inner

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        """The scores asked for, at the cost of all."""
        found = self._inner.score([replace(request, num_scored=0) for request in requests])
        return [
            replace(one, scores=one.scores[request.num_scored :])
            for one, request in zip(found, requests, strict=True)
        ]

    def close(self) -> None:
        """The inner verifier belongs to the caller."""


class CostlySeededVerifier:
    """Runs a real verifier for its cost and answers with seeded scores.

    Args:
        inner: The verifier whose time and tokens count.
        rescores: Whether every step is scored anew each time, as search-and-learn does.
    """

    name = "seeded"

    def __init__(self, inner: Verifier, *, rescores: bool) -> None:
        self._inner = inner
        self._rescores = rescores
        self._seeded = SeededVerifier()

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        """Seeded scores at the real cost."""
        asked = [replace(r, num_scored=0) if self._rescores else r for r in requests]
        costs = self._inner.score(asked)
        return [
            replace(cost, scores=seeded.scores)
            for cost, seeded in zip(costs, self._seeded.score(requests), strict=True)
        ]

    def close(self) -> None:
        """The inner verifier belongs to the caller."""
