"""The sampling rule for rows of logits on a device, which both of vLLM's model runners share.

A row is drawn from its logits, its noise counter and its options alone, in float64, so that it
depends neither on vLLM's dtype nor on the rows around it. On a GPU the noise is compiled into one
kernel, unless compilation is off (`enforce_eager`): a dozen passes over rows and vocabulary would
take longer than the model. No rounding depends on that: the only sums and products before the
logarithms are exact.

Axes: B rows, V vocabulary.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from vllm.utils.torch_utils import async_tensor_h2d

from fasttts.backends.vllm import gumbel
from fasttts.decoding.sampling import Sampling

_CHUNK_ELEMENTS_CPU = 1 << 15
"""Rows times vocabulary per pass: in cache, and below the size at which torch starts threads."""
_CHUNK_ELEMENTS_DEVICE = 1 << 24
"""The same elsewhere, where only the memory of the int64 and float64 copies limits it."""

NUM_OPTIONS = 5
"""Values that `options` makes of a `Sampling`."""


def options(sampling: Sampling) -> tuple[float, ...]:
    """The options of one row: temperature, top-p, top-k, min-p and its logarithm."""
    log_min_p = math.log(sampling.min_p) if sampling.min_p else -math.inf
    return (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p, log_min_p)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Temperatures of the rows, and what removes tokens from them.

    Attributes:
        temperature_B: Float32 [B, 1].
        top_p_B: Float64 [B, 1]; None where no row has one.
        top_k_B: Int64 [B, 1]; None where no row has one.
        largest_k: The largest top-k.
        log_min_p_B: Logarithms of min-p, float64 [B, 1]; None where no row has one.
    """

    temperature_B: torch.Tensor
    top_p_B: torch.Tensor | None
    top_k_B: torch.Tensor | None
    largest_k: int
    log_min_p_B: torch.Tensor | None

    @classmethod
    def of(cls, options_B: torch.Tensor, host_B: npt.NDArray[np.float64]) -> Self:
        """Takes the filters from the options of the rows.

        Args:
            options_B: What `options` makes of each row's sampling, float64 [B, 5].
            host_B: The same on the host.
        """
        columns = options_B[:, :, None]
        has_top_p = bool((host_B[:, 1] < 1).any())
        largest_k = int(host_B[:, 2].max())
        has_min_p = bool((host_B[:, 3] > 0).any())
        return cls(
            temperature_B=columns[:, 0].to(torch.float32),
            top_p_B=columns[:, 1] if has_top_p else None,
            top_k_B=columns[:, 2].to(torch.int64) if largest_k else None,
            largest_k=largest_k,
            log_min_p_B=columns[:, 4] if has_min_p else None,
        )

    def apply(self, logits_BV: torch.Tensor, part: slice) -> torch.Tensor:
        """Computes `decoding.sampling.filter_logits` for the rows in `part`.

        Args:
            logits_BV: The logits of those rows.
            part: Which of the rows they are.
        """
        scaled = logits_BV / self.temperature_B[part]
        if self.log_min_p_B is not None:
            scaled = gumbel.keep_min_p(scaled, self.log_min_p_B[part])
        if self.top_k_B is not None:
            scaled = gumbel.keep_top_k(scaled, self.top_k_B[part], self.largest_k)
        if self.top_p_B is not None:
            scaled = gumbel.keep_top_p(scaled, self.top_p_B[part])
        return scaled


class RowSampler:
    """Draws a token for each row of logits; holds no state of a sequence.

    Args:
        device: The device of the logits.
        compiles: Whether the noise is compiled into one kernel.
    """

    def __init__(self, device: torch.device, *, compiles: bool) -> None:
        is_cpu = device.type == "cpu"
        self._device = device
        self._chunk_elements = _CHUNK_ELEMENTS_CPU if is_cpu else _CHUNK_ELEMENTS_DEVICE
        self._pick = torch.compile(gumbel.pick, dynamic=True) if compiles else gumbel.pick
        self._terms_V = torch.empty(0, dtype=torch.int64)

    def draw(self, logits_BV: torch.Tensor, keys_B: torch.Tensor, filters: Filters) -> torch.Tensor:
        """Draws the token of each row, int64 [B, 1].

        Args:
            logits_BV: Masked and penalized logits.
            keys_B: Noise counters, int64 [B, 1].
            filters: Temperatures and filters of the rows.
        """
        num_rows, vocab_size = logits_BV.shape
        if len(self._terms_V) != vocab_size:
            self._terms_V = gumbel.token_terms(vocab_size, self._device)
        step = max(1, self._chunk_elements // vocab_size)
        drawn = []
        for start in range(0, num_rows, step):
            part = slice(start, start + step)
            scaled = filters.apply(logits_BV[part], part)
            drawn.append(self._pick(scaled, keys_B[part], self._terms_V))
        return torch.cat(drawn)


def forbid(
    logits: torch.Tensor, indices: npt.NDArray[np.int64], allowed_BV: npt.NDArray[np.bool_]
) -> None:
    """Sets the logits of forbidden tokens to minus infinity, in place.

    Args:
        logits: Shape [rows, V].
        indices: The rows that have a mask, [B].
        allowed_BV: The tokens that each of them may take.
    """
    indices_B = async_tensor_h2d(indices, device=logits.device)
    forbidden_BV = async_tensor_h2d(~allowed_BV, device=logits.device)
    logits[indices_B] = logits[indices_B].masked_fill_(forbidden_BV, -torch.inf)
