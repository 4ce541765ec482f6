"""Drafted tokens in vLLM's second model runner: who drafts them, and which of them are kept.

vLLM's runner has all that speculation needs: rows of logits for every drafted position, positions
and seeds of the rows on the device, and a place for a speculator that drafts there. It knows
speculators that are models alone, and compares by probabilities. Here drafts are looked up in texts
(`draft_index`), and a row's token is drawn by our sampling rule whatever was drafted: drafts are
kept while they are what was drawn, and one token more is. So the stream is that of plain decoding,
token for token, and no result depends on what was drafted.

Fits vLLM 0.24, whose configuration refuses any speculator of this kind for this runner. For vLLM it
is `ngram_gpu`, with which it schedules asynchronously.
"""

import contextlib
import importlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import numpy as np
import torch
from vllm.utils.torch_utils import async_tensor_h2d
from vllm.v1.worker.gpu.input_batch import get_num_sampled_and_rejected
from vllm.v1.worker.gpu.sample.output import SamplerOutput
from vllm.v1.worker.gpu.sample.states import NO_LOGPROBS
from vllm.v1.worker.gpu.spec_decode.speculator import BaseSpeculator

from fasttts.backends.vllm.distributions import distribution_ranks
from fasttts.backends.vllm.draft_index import NO_GROUP, DraftIndex, states_of
from fasttts.backends.vllm.sampler import GROUP
from fasttts.backends.vllm.slot_chain import SlotChain, places
from fasttts.decoding.drafts import MAX_DRAFTED_BATCH, draft_lengths

_logprob: Any = importlib.import_module("vllm.v1.worker.gpu.sample.logprob")

_RUNNER = "vllm.v1.worker.gpu.model_runner"
_METHOD = "ngram_gpu"

_lock = threading.Lock()
"""Held while vLLM's names are replaced."""


def speculative_config(num_drafts: int) -> dict[str, Any]:
    """Value of vLLM's `speculative_config` for an engine that is opened in `drafting_runner`.

    Args:
        num_drafts: Most drafted tokens of a sequence in an iteration.
    """
    return {"method": _METHOD, "num_speculative_tokens": num_drafts}


def drafting_graphs(num_drafts: int) -> dict[str, Any]:
    """Value of vLLM's `compilation_config`: CUDA graphs for few sequences, as drafts are for.

    Args:
        num_drafts: Most drafted tokens of a sequence in an iteration.
    """
    numbers = _sizes_up_to(-(-MAX_DRAFTED_BATCH // (1 + num_drafts)))
    return {"cudagraph_capture_sizes": [(1 + num_drafts) * number for number in numbers]}


@contextlib.contextmanager
def drafting_runner() -> Iterator[None]:
    """Has engines that are opened in the body look drafts up in texts."""
    from vllm.config import VllmConfig

    refused = VllmConfig._get_v2_model_runner_unsupported_features

    def unsupported(config: Any) -> list[str]:
        return [feature for feature in refused(config) if _METHOD not in feature]

    runner = importlib.import_module(_RUNNER)
    graphs = _graphs_of_each_length(runner.ModelCudaGraphManager)
    with (
        _lock,
        mock.patch.object(VllmConfig, refused.__name__, unsupported),
        mock.patch.object(runner, "init_speculator", TextSpeculator),
        mock.patch.object(runner, "ModelCudaGraphManager", graphs),
    ):
        yield


def _graphs_of_each_length(base: Any) -> type:
    """Makes CUDA graphs for iterations without drafts, and with drafts of each length."""
    from vllm.v1.worker.gpu.cudagraph_utils import BatchExecutionDescriptor

    class GraphsOfEachLength(base):  # type: ignore[misc]  # found at run time
        def _init_candidates(self) -> None:
            super()._init_candidates()
            if self.decode_query_len == 1 or not self._candidates:  # nothing drafts, or no graphs
                return
            if not self.cudagraph_mode.separate_routine():
                return
            mode = self.cudagraph_mode.decode_mode()
            for num_tokens in (1, *(1 + each for each in draft_lengths(self.decode_query_len - 1))):
                longest = self.compilation_config.max_cudagraph_capture_size // num_tokens
                sizes = _sizes_up_to(min(longest, self.max_num_reqs))
                self._add(mode, num_tokens, sizes)
            self._capture_descs[mode].sort(key=lambda d: d.num_tokens, reverse=True)

        def _add(self, mode: Any, num_tokens: int, sizes: Sequence[int]) -> None:
            """Graphs of iterations in which each sequence computes so many tokens.

            vLLM has some for the longest drafts, of which the largest number may be missing.
            """
            there = {
                graph.num_reqs
                for graph in self._capture_descs.get(mode, ())
                if graph.uniform_token_count == num_tokens
            }
            before = max((size for size in there if size < sizes[-1]), default=0) * num_tokens
            for size in sizes[-1:] if there else sizes:
                if size in there:
                    continue
                graph = BatchExecutionDescriptor(
                    cg_mode=mode,
                    num_tokens=num_tokens * size,
                    num_reqs=size,
                    uniform_token_count=num_tokens,
                )
                self._capture_descs.setdefault(mode, []).append(graph)
                for number in range(before + 1, graph.num_tokens + 1):
                    self._candidates[number, 0] = [graph, *self._candidates.get((number, 0), [])]
                before = graph.num_tokens

    return GraphsOfEachLength


def _sizes_up_to(most: int) -> list[int]:
    """Numbers of sequences with a CUDA graph of their own."""
    sizes = (1, 2, 4, *range(8, 256, 8), *range(256, 512, 16), *range(512, 4096, 64))
    return [*(size for size in sizes if size < most), most]


class TextSpeculator(BaseSpeculator):
    """Drafts the next tokens of each slot from the texts of its group.

    Args:
        vllm_config: The engine's.
        device: The runner's.

    Attributes:
        model: An empty one: vLLM looks for layers of its own in every speculator's.
        draft_logits: None: nothing is kept by probabilities.
        supports_mm_inputs: Whether it reads anything but tokens.
    """

    model = torch.nn.Module()
    draft_logits = None
    supports_mm_inputs = False

    def __init__(self, vllm_config: Any, device: torch.device) -> None:
        self._num_drafts = int(vllm_config.num_speculative_tokens)
        self._has_graph = not vllm_config.model_config.enforce_eager
        self._index = DraftIndex(
            num_slots=int(vllm_config.scheduler_config.max_num_seqs),
            max_len=int(vllm_config.model_config.max_model_len),
            num_drafts=self._num_drafts,
            device=device,
        )
        self._runner: Any = None
        self._is_on, self._is_behind = False, True
        self._groups: dict[int, int] = {}
        """Groups of all slots that a request has begun in."""
        self._begun: set[int] = set()
        """The slots whose texts are not in the index."""
        self._advance: Callable[[], None] = self._compute

    def init_cudagraph_manager(self, cudagraph_mode: object) -> None:
        """Nothing: there is no model.

        Args:
            cudagraph_mode: Not read.
        """

    def capture(self, *others: object) -> None:
        """Nothing: what runs here is captured once it has an engine.

        Args:
            others: Not read.
        """

    def follow(self, runner: Any) -> None:
        """Begins to draft for a runner, whose slots are empty.

        Args:
            runner: vLLM's second model runner.
        """
        self._runner = runner
        states = runner.req_states
        add_request = states.add_request

        def add(*, req_id: str, all_token_ids: Sequence[int], **others: Any) -> None:
            add_request(req_id=req_id, all_token_ids=all_token_ids, **others)
            slot = states.req_id_to_index[req_id]
            # Where the last part of a prompt is computed together with drafts, the runner takes
            # the token before them from here.
            states.last_sampled_tokens[slot : slot + 1] = all_token_ids[-1]

        states.add_request = add
        begin = runner.sampler.add_request

        def begin_request(req_idx: int, prompt_len: int, params: Any) -> None:
            begin(req_idx, prompt_len, params)
            group = (params.extra_args or {}).get(GROUP)
            self._groups[req_idx] = NO_GROUP if group is None else group
            self._begun.add(req_idx)

        runner.sampler.add_request = begin_request
        if self._has_graph:
            self._advance = self._captured()

    def turn(self, *, is_on: bool) -> None:
        """Begins to draft, or stops; while nothing is drafted, this costs nothing.

        Args:
            is_on: Whether drafts are wanted.
        """
        self._is_on = is_on

    def close(self) -> None:
        """Lets go of the runner."""
        self._runner, self._is_on = None, False
        self._advance = self._compute

    def propose(self, input_batch: Any, *others: Any, **options: Any) -> torch.Tensor:
        """Drafts for the sequences of an iteration, whose new tokens the runner has written.

        Args:
            input_batch: The iteration's.
            others: Not read.
            options: `dummy_run` alone is read.

        Returns:
            Tokens [B, K], int64.
        """
        is_large = 2 * input_batch.num_reqs > MAX_DRAFTED_BATCH  # with the shortest drafts
        if options.get("dummy_run") or not self._is_on or is_large:
            self._is_behind = True
            return self._index.drafts_SK[: input_batch.num_reqs]
        if self._is_behind:
            self._index.clear()
            self._begun = set(self._runner.req_states.index_to_req_id)
            self._is_behind = False
        if self._begun:
            states = self._runner.req_states
            groups = {slot: self._groups[slot] for slot in self._begun}
            computed = states.num_computed_tokens_np[list(groups)].max()
            longest = max(int(states.prefill_len.np[list(groups)].max()), int(computed))
            self._index.begin(groups, longest + 2 * self._num_drafts + 2, *states_of(self._runner))
            self._begun.clear()
        self._advance()
        return self._index.drafts_SK[input_batch.idx_mapping]

    def _compute(self) -> None:
        self._index.advance(*states_of(self._runner))

    def _captured(self) -> Callable[[], None]:
        """The work of an iteration as one CUDA graph."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.inference_mode(), torch.cuda.stream(stream):
            self._compute()  # what is allocated once is allocated here
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(graph):
            self._compute()
        return graph.replay


class DraftedRows:
    """The sampling rule at every row of an iteration with drafts; takes the place of vLLM's.

    Args:
        runner: vLLM's second model runner.
        chain: Processors, and our sampling rule behind them.
        process: The sampler's own processing of logits, without them.
    """

    def __init__(self, runner: Any, chain: SlotChain, process: Callable[..., Any]) -> None:
        self._sampler = runner.sampler
        self._states = runner.req_states
        self._chain = chain
        self._process = process
        self._rows_K1 = torch.arange(runner.num_speculative_steps + 1, device=runner.device)

    def __call__(
        self, logits: torch.Tensor, input_batch: Any, draft_logits: object = None
    ) -> SamplerOutput:
        """Draws the token of each row, and keeps drafts that were drawn.

        Args:
            logits: Shape [rows, V]; each sequence has a row for each of its drafts and one more.
            input_batch: vLLM's description of the iteration.
            draft_logits: Not read.
        """
        rows = input_batch.logits_indices
        read = input_batch.input_ids[rows]
        positions = input_batch.positions[rows]
        num_rows_B = np.diff(input_batch.cu_num_logits_np)
        host_slots = np.repeat(input_batch.idx_mapping_np, num_rows_B)
        slots = input_batch.expanded_idx_mapping
        processed = self._process(
            logits,
            slots,
            input_batch.idx_mapping_np,
            positions,
            read,
            input_batch.expanded_local_pos,
            skip_top_k_top_p=True,
        )
        where = places(slots, host_slots, positions)
        if self._chain.draws(input_batch.idx_mapping_np):
            drawn = self._chain.draw(processed, where)
        else:
            drawn = self._chain.apply(processed, where).argmax(dim=-1)
        sampled, num_kept = self._kept(drawn, read, input_batch)
        num_sampled, num_rejected = get_num_sampled_and_rejected(
            num_kept,
            input_batch.seq_lens,
            input_batch.cu_num_logits,
            input_batch.idx_mapping,
            self._states.prefill_len.gpu,
        )
        return SamplerOutput(
            sampled_token_ids=sampled,
            logprobs_tensors=self._logprobs(logits, drawn, input_batch),
            num_nans=None,
            num_sampled=num_sampled,
            num_rejected=num_rejected,
        )

    def _kept(
        self, drawn: torch.Tensor, read: torch.Tensor, input_batch: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The tokens drawn for each sequence, [B, K + 1], and how many of them are kept, [B]."""
        bounds = input_batch.cu_num_logits.to(torch.int64)
        rows_BK1 = bounds[:-1, None] + self._rows_K1
        is_row_BK1 = rows_BK1 < bounds[1:, None]
        rows_BK1 = rows_BK1.clamp(max=len(drawn) - 1)
        sampled_BK1 = drawn[rows_BK1]
        is_kept_BK = (sampled_BK1[:, :-1] == read[rows_BK1[:, 1:]]) & is_row_BK1[:, 1:]
        limits = self._chain.draft_limits(input_batch.idx_mapping_np)
        if limits is not None:
            limits_B = async_tensor_h2d(limits, device=drawn.device)
            is_kept_BK &= limits_B[:, None]
        num_kept_B = 1 + is_kept_BK.to(torch.int32).cumprod(dim=1).sum(dim=1, dtype=torch.int32)
        return sampled_BK1, num_kept_B.to(torch.int32)

    def _logprobs(self, logits: torch.Tensor, drawn: torch.Tensor, input_batch: Any) -> Any:
        """Log-probabilities of every row's token, where a request asks for them."""
        sampler, host_slots = self._sampler, input_batch.idx_mapping_np
        num = sampler.sampling_states.max_num_logprobs(host_slots)
        num_given = sampler.logprob_token_ids_state.max_num_token_ids(host_slots)
        if num == NO_LOGPROBS and not num_given:
            return None
        found = _logprob.compute_topk_logprobs(
            logits,
            max(num, 0),
            drawn,
            input_batch.cu_num_logits_np.tolist(),
            logprob_token_ids_state=sampler.logprob_token_ids_state,
            expanded_idx_mapping=input_batch.expanded_idx_mapping,
            max_per_req_token_ids=num_given,
        )
        ranks = distribution_ranks(sampler, logits)
        return found if ranks is None else found._replace(selected_token_ranks=ranks)
