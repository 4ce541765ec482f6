"""The sampling rule of `fasttts.decoding.sampling` in vLLM's first model runner.

vLLM decodes greedily; this logits processor replaces each sampled row of the logits by one that is
1 at the token `fasttts.decoding.sampling.sample_token` draws and 0 elsewhere. The host waits for no
copy to the device, so that vLLM's asynchronous scheduling prepares an iteration while the one
before is computed. `slot_sampler` is the same for the second runner.

Axes: B rows that sample, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from vllm import SamplingParams
from vllm.utils.torch_utils import async_tensor_h2d
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

from fasttts.backends.vllm.penalty import Penalties, SeenTokens
from fasttts.backends.vllm.row_sampling import Filters, RowSampler, forbid, options
from fasttts.decoding.grammar import Constraint
from fasttts.decoding.sampling import SEED_BITS, Sampling, noise_key

if TYPE_CHECKING:
    from vllm.config import VllmConfig

ARGUMENT = "fasttts"
"""Key of a request's seed, sampling and constraint in `SamplingParams.extra_args`."""

GROUP = "fasttts_draft_group"
"""Key of the group from whose texts a request's tokens are drafted."""

_POSITION_TERM = np.uint64(noise_key(0, 1))


def sampler_arguments(
    seed: int, sampling: Sampling, constraint: Constraint | None = None
) -> dict[str, Any]:
    """Makes `SamplingParams.extra_args` for one request.

    Args:
        seed: Seed of the sequence.
        sampling: How tokens are drawn.
        constraint: The sequence's grammar, passed by reference; None allows all tokens.
    """
    return {ARGUMENT: (seed, sampling, constraint)}


@dataclass(frozen=True, slots=True)
class _Row:
    """One request of the batch; `output` is vLLM's live list of its new tokens."""

    first_key: int
    """The noise counter behind its prompt."""
    sampling: Sampling
    constraint: Constraint | None
    output: Sequence[int]
    seen: SeenTokens | None
    """What a repetition penalty acts on; None without one."""


class _Rows:
    """The rows that sample, as tensors that stay valid until the batch changes."""

    def __init__(self, rows: dict[int, _Row], device: torch.device) -> None:
        indices = sorted(rows)
        values = [rows[index] for index in indices]
        self._device = device
        self._outputs = [row.output for row in values]
        self._keys_B = np.array([row.first_key for row in values], dtype=np.uint64)
        self.is_whole_batch = indices == list(range(len(indices)))
        self.indices_B = async_tensor_h2d(np.array(indices, dtype=np.int64), device=device)
        host_B = np.array([options(row.sampling) for row in values])
        self.filters = Filters.of(async_tensor_h2d(host_B, device=device), host_B)

    def __len__(self) -> int:
        return len(self._outputs)

    def keys_B(self) -> torch.Tensor:
        """The noise counter of each row at the position it samples now, int64 [B, 1]."""
        lengths = np.fromiter(map(len, self._outputs), dtype=np.uint64, count=len(self))
        keys = self._keys_B + lengths * _POSITION_TERM
        return async_tensor_h2d(keys.view(np.int64), device=self._device)[:, None]


class CounterSampler(LogitsProcessor):
    """Draws tokens by counter-based noise; holds no generator state.

    Requests without our arguments, or at temperature 0, keep their logits, except for tokens that a
    constraint forbids or a penalty makes less likely.
    """

    def __init__(
        self, vllm_config: "VllmConfig", device: torch.device, is_pin_memory: bool
    ) -> None:
        self._device = torch.device(device)
        is_cpu = self._device.type == "cpu"
        is_eager = is_cpu or vllm_config.model_config.enforce_eager
        self._sampler = RowSampler(self._device, compiles=not is_eager)
        self._by_index: dict[int, _Row] = {}
        self._rows: _Rows | None = None
        self._constrained: dict[int, tuple[Constraint, Sequence[int]]] = {}
        self._penalties: Penalties | None = None

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Checks the arguments of a request.

        Raises:
            ValueError: They were not made by `sampler_arguments`.
        """
        value = (sampling_params.extra_args or {}).get(ARGUMENT)
        if value is None:
            return
        is_triple = isinstance(value, tuple) and len(value) == 3
        if not (is_triple and isinstance(value[0], int) and isinstance(value[1], Sampling)):
            raise ValueError(f"extra_args[{ARGUMENT!r}] is not of sampler_arguments: {value!r}")
        if not 0 <= value[0] < 1 << SEED_BITS:
            raise ValueError(f"seed {value[0]} is outside 0 .. 2**{SEED_BITS} - 1")

    def is_argmax_invariant(self) -> bool:
        """Returns False: vLLM decodes greedily and this processor decides the largest logit."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Applies requests that left, entered and moved, in vLLM's order."""
        if batch_update is None:
            return
        for index in batch_update.removed:
            self._by_index.pop(index, None)
        for index, params, prompt, output in batch_update.added:
            self._add(index, params, prompt or (), output)
        for source, target, direction in batch_update.moved:
            self._move(source, target, direction)
        sampled = {i: row for i, row in self._by_index.items() if not row.sampling.is_greedy}
        self._rows = _Rows(sampled, self._device) if sampled else None
        self._constrained = {
            i: (row.constraint, row.output) for i, row in self._by_index.items() if row.constraint
        }
        penalized = {
            i: (row.seen, row.sampling.repetition_penalty)
            for i, row in self._by_index.items()
            if row.seen is not None
        }
        self._penalties = Penalties(penalized, self._device) if penalized else None

    def _add(
        self, index: int, params: SamplingParams, prompt: Sequence[int], output: list[int]
    ) -> None:
        self._by_index.pop(index, None)
        argument = (params.extra_args or {}).get(ARGUMENT)
        if argument is None:
            return
        seed, sampling, constraint = argument
        if constraint is not None:
            constraint = constraint.copy()  # a preempted request is added again with all its tokens
        seen = SeenTokens(prompt, output) if sampling.has_penalty else None
        if not sampling.is_greedy or constraint is not None or seen is not None:
            key = noise_key(seed, len(prompt))
            self._by_index[index] = _Row(key, sampling, constraint, output, seen)

    def _move(self, source: int, target: int, direction: MoveDirectionality) -> None:
        moved, displaced = self._by_index.pop(source, None), self._by_index.pop(target, None)
        if moved is not None:
            self._by_index[target] = moved
        if displaced is not None and direction is MoveDirectionality.SWAP:
            self._by_index[source] = displaced

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Masks and penalizes rows of `logits` [rows, V] and replaces sampled ones, in place."""
        if self._constrained:
            self._mask(logits)
        if self._penalties is not None:
            self._penalties.apply(logits)
        rows = self._rows
        if rows is None:
            return logits
        whole = rows.is_whole_batch and len(rows) == logits.shape[0]
        sampled = logits if whole else logits[rows.indices_B]
        tokens_B = self._sampler.draw(sampled, rows.keys_B(), rows.filters)
        if whole:
            return logits.zero_().scatter_(1, tokens_B, 1.0)
        logits[rows.indices_B] = torch.zeros_like(sampled).scatter_(1, tokens_B, 1.0)
        return logits

    def _mask(self, logits: torch.Tensor) -> None:
        """Sets the logits that the grammars forbid to minus infinity."""
        indices = np.array(list(self._constrained), dtype=np.int64)
        allowed_BV = np.stack([c.allowed(output) for c, output in self._constrained.values()])
        forbid(logits, indices, allowed_BV)
