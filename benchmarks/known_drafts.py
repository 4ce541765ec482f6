"""Drafts that are known to be right or wrong, in vLLM's first model runner: for benchmarks only.

A drafter proposes tokens of a known text, or other ones, and the sampling rule draws every drafted
position and keeps the drafts while they are what was drawn. The rule does all of its work; only
what it drew is then replaced by the known text, so that models without training keep right drafts.

Axes: B sequences of the batch, R rows of logits (a sequence has one for each of its drafts and one
more), V vocabulary.
"""

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from vllm.utils.torch_utils import async_tensor_h2d
from vllm.v1.outputs import SamplerOutput

from benchmarks.seeded_steps import seeded_words
from fasttts.backends.vllm.engine_lifecycle import open_engine
from fasttts.backends.vllm.row_sampling import Filters, RowSampler, options
from fasttts.backends.vllm.sampler import ARGUMENT
from fasttts.decoding.sampling import noise_key
from fasttts.errors import Role

if TYPE_CHECKING:
    from vllm import LLM
    from vllm.config import VllmConfig

Kind = Literal["right", "wrong"]
Comparison = Literal["ours", "vllm"]
"""What keeps the drafts: one comparison of tokens, or vLLM's rejection sampler, which looks for the
largest logits again."""

_WORDS = np.arange(100, 1100)
"""Tokens of the known text; no control token of the demonstration tokenizer is among them."""
_SEED_TERM, _POSITION_TERM = np.uint64(noise_key(1, 0)), np.uint64(noise_key(0, 1))


def runner_of(llm: "LLM") -> Any:
    """The model runner of an engine in this process.

    Args:
        llm: The engine.
    """
    core: Any = llm.llm_engine.engine_core
    return core.engine_core.model_executor.driver_worker.worker.model_runner


class GraphModes:
    """Counts the iterations of an engine by how CUDA graphs served them: FULL, PIECEWISE, NONE.

    Args:
        runner: A model runner of either kind.

    Attributes:
        counts: Iterations so far, by mode.
    """

    def __init__(self, runner: Any) -> None:
        self.counts: Counter[str] = Counter()
        is_first = hasattr(runner, "cudagraph_dispatcher")
        graphs = runner.cudagraph_dispatcher if is_first else runner.cudagraph_manager
        if graphs is None:  # the second runner of a CPU
            return
        dispatch = graphs.dispatch

        def counted(*arguments: Any, **options: Any) -> Any:
            chosen = dispatch(*arguments, **options)
            self.counts[(chosen[0] if is_first else chosen.cg_mode).name] += 1
            return chosen

        graphs.dispatch = counted


class KnownDrafter:
    """What vLLM asks for drafts.

    Args:
        vllm_config: The engine's.

    Attributes:
        runner: The model runner that it drafts for.
        kind: What the drafts are.
        seconds: What the host spent here.
    """

    def __init__(self, vllm_config: "VllmConfig") -> None:
        self.runner: Any = None
        self.kind: Kind = "right"
        self.seconds = 0.0
        speculative: Any = vllm_config.speculative_config
        self._offsets = np.arange(speculative.num_speculative_tokens)

    def load_model(self, model: object) -> None:
        """Loads nothing; vLLM's CPU runner calls it unasked.

        Args:
            model: The model.
        """

    def propose(
        self,
        sampled_token_ids: list[list[int]],
        num_tokens_no_spec: npt.NDArray[np.int32],
        token_ids_cpu: npt.NDArray[np.int32],
        slot_mappings: object = None,
    ) -> list[list[int]]:
        """Drafts the next tokens of each sequence.

        Args:
            sampled_token_ids: New tokens of each; none where a part of a prompt was computed.
            num_tokens_no_spec: Length of each, the new tokens included.
            token_ids_cpu: All tokens of each.
            slot_mappings: Not read.
        """
        started = time.perf_counter()
        num = len(sampled_token_ids)
        positions = num_tokens_no_spec[:num, None].astype(np.int64) + self._offsets
        tokens = seeded_words(_seeds_B(self.runner)[:, None], positions, _WORDS)
        if self.kind == "wrong":
            tokens = tokens + 1
        drafts: list[list[int]] = tokens.tolist()
        for number, new in enumerate(sampled_token_ids):
            if not new:
                drafts[number] = []
        self.seconds += time.perf_counter() - started
        return drafts


def _seeds_B(runner: Any) -> npt.NDArray[np.uint64]:
    """Seeds of the sequences, in the order of the batch."""
    params = (
        runner.requests[request_id].sampling_params for request_id in runner.input_batch.req_ids
    )
    return np.array([each.extra_args[ARGUMENT][0] for each in params], dtype=np.uint64)


@dataclass(frozen=True, slots=True)
class _Layout:
    """What stays the same while the sequences and the numbers of their drafts do."""

    request_ids: list[str]
    num_rows: list[int]
    seeds_R: npt.NDArray[np.uint64]
    sequences_R: npt.NDArray[np.int64]
    offsets_R: npt.NDArray[np.int64]
    filters: Filters
    cells_R: torch.Tensor
    """Where each row stands in a grid of B times the largest number of rows."""
    draft_cells: torch.Tensor
    """The same for the rows whose token has a draft."""


class DraftRule:
    """The sampling rule at every row of an iteration; replaces the runner's `_sample`.

    Args:
        runner: The first model runner of an engine with a drafter.
        is_eager: Whether the noise is not compiled.

    Attributes:
        comparison: What keeps the drafts.
        seconds: What the host spent on seeds, positions and what to copy.
    """

    def __init__(self, runner: Any, *, is_eager: bool) -> None:
        self.comparison: Comparison = "ours"
        self.seconds = 0.0
        self._runner = runner
        self._stock = runner._sample  # all logits of the first runner pass here, and here alone
        runner._sample = self._sample
        self._sampler = RowSampler(runner.device, compiles=not is_eager)
        self._layout: _Layout | None = None

    def _sample(self, logits: torch.Tensor, metadata: Any) -> SamplerOutput:
        started = time.perf_counter()
        layout = self._current(metadata)
        batch = self._runner.input_batch
        lengths_B = batch.num_tokens_no_spec[: len(layout.request_ids)].astype(np.int64)
        positions_R = lengths_B[layout.sequences_R] + layout.offsets_R
        with np.errstate(over="ignore"):  # noise counters wrap around
            keys_R = layout.seeds_R * _SEED_TERM + positions_R.astype(np.uint64) * _POSITION_TERM
        known_R = seeded_words(layout.seeds_R, positions_R, _WORDS)
        sent = async_tensor_h2d(np.stack([keys_R.view(np.int64), known_R]), device=logits.device)
        self.seconds += time.perf_counter() - started
        drawn_R = self._sampler.draw(logits, sent[0][:, None], layout.filters)
        drawn_R = sent[1].reshape(drawn_R.shape)
        if self.comparison == "vllm":
            logits.zero_().scatter_(1, drawn_R, 1.0)
            return cast(SamplerOutput, self._stock(logits, metadata))
        return SamplerOutput(
            sampled_token_ids=_kept(drawn_R, metadata, layout), logprobs_tensors=None
        )

    def _current(self, metadata: Any) -> _Layout:
        request_ids: list[str] = self._runner.input_batch.req_ids
        drafts = [0] * len(request_ids) if metadata is None else metadata.num_draft_tokens
        num_rows = [1 + num for num in drafts]
        layout = self._layout
        if layout is None or layout.num_rows != num_rows or layout.request_ids != request_ids:
            layout = self._layout = self._made(list(request_ids), num_rows)
        return layout

    def _made(self, request_ids: list[str], num_rows: list[int]) -> _Layout:
        runner = self._runner
        arguments = [
            runner.requests[each].sampling_params.extra_args[ARGUMENT] for each in request_ids
        ]
        sequences_R = np.repeat(np.arange(len(num_rows)), num_rows)
        offsets_R = np.concatenate([np.arange(num) for num in num_rows])
        host_R = np.array([options(sampling) for _, sampling, _ in arguments])[sequences_R]
        cells_R = sequences_R * max(num_rows) + offsets_R
        has_draft_R = offsets_R < np.array(num_rows)[sequences_R] - 1
        return _Layout(
            request_ids=request_ids,
            num_rows=num_rows,
            seeds_R=_seeds_B(runner)[sequences_R],
            sequences_R=sequences_R,
            offsets_R=offsets_R,
            filters=Filters.of(async_tensor_h2d(host_R, device=runner.device), host_R),
            cells_R=async_tensor_h2d(cells_R, device=runner.device),
            draft_cells=async_tensor_h2d(cells_R[has_draft_R], device=runner.device),
        )


def _kept(drawn_R: torch.Tensor, metadata: Any, layout: _Layout) -> torch.Tensor:
    """What was drawn up to the first draft that is another token, then -1; int32 [B, most rows]."""
    shape = len(layout.num_rows), max(layout.num_rows)
    grid = drawn_R.new_full(shape, -1)
    grid.view(-1)[layout.cells_R] = drawn_R[:, 0]
    if metadata is not None:
        drafts = drawn_R.new_full(shape, -2)  # equal to nothing that is drawn
        drafts.view(-1)[layout.draft_cells] = metadata.draft_token_ids.to(drafts.dtype)
        are_kept = (drafts == grid).cumprod(1, dtype=torch.int64)[:, :-1]
        grid[:, 1:].masked_fill_(are_kept == 0, -1)
    return grid.to(torch.int32)


def open_with_drafts(
    role: Role, *, num_drafts: int, found: dict[str, Any], **arguments: Any
) -> "LLM":
    """Opens an engine whose sequences are drafted, as `engine_lifecycle.open_engine` does others.

    Args:
        role: As there.
        num_drafts: Drafts of each sequence in each iteration.
        found: Gets the engine's "drafter" and "rule".
        arguments: As there; logits processors are left out, which vLLM refuses beside drafts.
    """
    arguments.pop("logits_processors")
    speculative = {
        "method": "custom_class",
        "model": f"{__name__}.{KnownDrafter.__name__}",
        "num_speculative_tokens": num_drafts,
    }
    llm = open_engine(role, speculative_config=speculative, **arguments)
    runner = runner_of(llm)
    runner.drafter.runner = runner
    is_eager = runner.device.type == "cpu" or llm.llm_engine.model_config.enforce_eager
    found["drafter"], found["rule"] = runner.drafter, DraftRule(runner, is_eager=is_eager)
    return llm
