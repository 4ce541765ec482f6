"""Self-certainty and entropy of the whole vocabulary, a number of each for every token.

vLLM reports log-probabilities of a few tokens. Both numbers need all of them, so they are computed
on the device, by `decoding.distribution`'s formulas, where vLLM has the logits at hand anyway: in
iterations in which a request asks for log-probabilities. They leave the device in place of the
sampled tokens' ranks, which nobody reads here: two float32 in the bits of one int64. So nothing is
copied that was not before, and no tensor of vLLM's has another shape.

Fits vLLM 0.24 to 0.32. In the first model runner the sampler's `gather_logprobs` and
`gather_specific_token_logprobs` are given the log-probabilities of all tokens, before anything
changes the logits; in the second the sampler is given the model's logits, and changes a copy.

A row's numbers depend on that row alone: on a CPU torch sums each of several rows in one order; on
a GPU the mean and the softmax are of vLLM's batch-invariant kernels where `numerics` is
"deterministic".

Axes: B rows of logits, V vocabulary.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fasttts.backends.vllm.arguments import RAW_LOGPROBS
from fasttts.decoding.distribution import FLOOR
from fasttts.types import Distribution

if TYPE_CHECKING:
    from vllm import LLM

_GATHERS = ("gather_logprobs", "gather_specific_token_logprobs")
"""Methods of the first runner's sampler; the first argument is the log-probabilities, [B, V]."""

_CHUNK_ELEMENTS = 1 << 24
"""Rows times vocabulary per pass, which bounds the memory of the copies."""


def report_distributions(llm: "LLM", *, is_second: bool) -> bool:
    """Has an engine report the numbers of distributions with its log-probabilities.

    Args:
        llm: A generator's engine.
        is_second: Whether it has the second model runner.

    Returns:
        Whether it does; not where its sampler is in another process or is no sampler of vLLM's that
        is known here.
    """
    core: Any = getattr(llm.llm_engine.engine_core, "engine_core", None)
    executor = getattr(core, "model_executor", None)
    worker = getattr(getattr(executor, "driver_worker", None), "worker", None)
    sampler = getattr(getattr(worker, "model_runner", None), "sampler", None)
    if sampler is None or sampler.logprobs_mode != RAW_LOGPROBS:
        return False
    return _follow_second(sampler) if is_second else _follow_first(sampler)


def read_distributions(ranks: Any) -> list[Distribution]:
    """Reads what stands in place of the ranks of an output.

    Args:
        ranks: `sampled_token_ranks` of vLLM's `LogprobsLists`, int64 [tokens].
    """
    numbers = np.ascontiguousarray(ranks).view(np.float32).reshape(-1, 2)
    return [Distribution(*pair) for pair in numbers.tolist()]


def distribution_ranks(sampler: Any, logits_BV: torch.Tensor) -> torch.Tensor | None:
    """What the second runner's sampler reports in place of ranks, int64 [B].

    Args:
        sampler: The runner's sampler.
        logits_BV: The model's own logits.

    Returns:
        None where the sampler reports vLLM's ranks.
    """
    if not getattr(sampler, "reports_distributions", False):
        return None
    return _numbers(logits_BV, lambda part: part.to(torch.float32).log_softmax(dim=-1))


def _follow_first(sampler: Any) -> bool:
    if not all(hasattr(sampler, name) for name in _GATHERS):
        return False
    for name in _GATHERS:
        setattr(sampler, name, _beside(getattr(sampler, name)))
    return True


def _beside(gather: Callable[..., Any]) -> Callable[..., Any]:
    """A method of the first runner's sampler that reports the numbers as well."""

    def gathered(logprobs: torch.Tensor, *others: Any, **options: Any) -> Any:
        found = gather(logprobs, *others, **options)
        return found._replace(selected_token_ranks=_numbers(logprobs, lambda part: part))

    return gathered


def _follow_second(sampler: Any) -> bool:
    base: Any = type(sampler)
    if not hasattr(sampler, "logprob_token_ids_state"):
        return False

    class ReportingSampler(base):  # type: ignore[misc]  # found at run time
        reports_distributions = True

        def __call__(self, logits: torch.Tensor, *others: Any, **options: Any) -> Any:
            output = super().__call__(logits, *others, **options)
            if (found := output.logprobs_tensors) is not None:
                ranks = distribution_ranks(self, logits)
                output.logprobs_tensors = found._replace(selected_token_ranks=ranks)
            return output

    sampler.__class__ = ReportingSampler
    return True


def _numbers(
    scores_BV: torch.Tensor, logprobs: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Self-certainty and entropy of each row in the bits of one number, int64 [B].

    Args:
        scores_BV: Logits, or log-probabilities.
        logprobs: Makes float32 log-probabilities of some rows.
    """
    num_rows, vocab_size = scores_BV.shape
    found_B2 = torch.empty((num_rows, 2), dtype=torch.float32, device=scores_BV.device)
    step = max(1, _CHUNK_ELEMENTS // vocab_size)
    for start in range(0, num_rows, step):
        part = slice(start, min(start + step, num_rows))
        kept = logprobs(scores_BV[part]).clamp(min=FLOOR)
        if len(kept) == 1:
            kept = kept.expand(2, -1)  # torch sums a row that is alone in parts, a thread each
        certainty = -kept.mean(dim=1) - math.log(vocab_size)
        entropy = kept.exp().mul_(kept).mean(dim=1) * -vocab_size
        found_B2[part] = torch.stack((certainty, entropy), dim=1)[: part.stop - start]
    return found_B2.view(torch.int64)[:, 0]
