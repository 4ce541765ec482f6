"""Sequences in vLLM's engine core, which is stepped directly.

`LLMEngine` makes objects of every sequence's output in every iteration, for texts, log
probabilities and statistics that the step loop does not read: at 256 sequences a seventh of what
the host does. So sequences go to the engine core itself.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fasttts.backends.vllm.distributions import read_distributions
from fasttts.backends.vllm.drafting import Drafting
from fasttts.backends.vllm.gentle_starts import GentleStarts
from fasttts.interfaces import GenerationOutput, MemoryPressure
from fasttts.types import Distribution, TokenLogprobs

if TYPE_CHECKING:
    from vllm import SamplingParams
    from vllm.v1.engine.llm_engine import LLMEngine


class Sequences:
    """The sequences of an engine whose core is in this process.

    Args:
        engine: The engine; nobody else adds or aborts sequences, or steps it.
        starts: Paces those that begin; None where that saves nothing.
        drafting: What drafts tokens; None where nothing does.
        has_distributions: Whether `distributions.report_distributions` did so.
    """

    def __init__(
        self,
        engine: "LLMEngine",
        starts: GentleStarts | None = None,
        *,
        drafting: Drafting | None = None,
        has_distributions: bool = False,
    ) -> None:
        self._engine = engine
        self._drafting = drafting
        self._has_distributions = has_distributions
        self._starts = starts
        self._client: Any = engine.engine_core
        self._core_ids: dict[str, str] = {}
        """The engine core's ids of the sequences in flight: vLLM makes each unique."""
        self._request_ids: dict[str, str] = {}
        """The same the other way round."""
        self._questions: dict[str, str] = {}
        """The request ids of questions in flight, by the engine core's."""
        self._num_preemptions = 0
        self._preemptions_of: dict[str, int] = {}

    def add(
        self,
        request_id: str,
        prompt_token_ids: Sequence[int],
        params: "SamplingParams",
        priority: int,
        *,
        may_take_long: bool = False,
    ) -> None:
        """Queues a sequence.

        Args:
            request_id: Names it.
            prompt_token_ids: Its prompt.
            params: Its parameters, without detokenisation.
            priority: Lower ones are scheduled first.
            may_take_long: Whether nobody waits for its first token.
        """
        core_id = self._queue(request_id, prompt_token_ids, params, priority)
        self._core_ids[request_id] = core_id
        if self._starts is not None:
            self._starts.added(core_id, may_take_long=may_take_long)
        self._request_ids[core_id] = request_id

    def by_core_id(self, numbers: Mapping[str, int]) -> dict[str, int]:
        """Numbers of sequences in flight, by vLLM's ids in place of requests.

        Args:
            numbers: By request.
        """
        core_ids = self._core_ids
        return {core_ids[i]: number for i, number in numbers.items() if i in core_ids}

    def ask(
        self,
        request_id: str,
        prompt_token_ids: Sequence[int],
        params: "SamplingParams",
        priority: int,
    ) -> None:
        """Queues a request whose last output `step` gives back as the engine core's own.

        Args:
            request_id: Names it.
            prompt_token_ids: Its prompt.
            params: Its parameters.
            priority: Lower ones are scheduled first.
        """
        core_id = self._queue(request_id, prompt_token_ids, params, priority)
        self._questions[core_id] = request_id

    def _queue(
        self,
        request_id: str,
        prompt_token_ids: Sequence[int],
        params: "SamplingParams",
        priority: int,
    ) -> str:
        """Adds a request to the engine core and returns its id there."""
        from vllm.inputs import TokensPrompt

        request = self._engine.input_processor.process_inputs(
            request_id,
            TokensPrompt(prompt_token_ids=list(prompt_token_ids)),
            params,
            supported_tasks=self._engine.get_supported_tasks(),
            priority=priority,
        )
        self._engine.input_processor.assign_request_id(request)
        self._client.add_request(request)
        return request.request_id

    def step(self) -> tuple[list[GenerationOutput], dict[str, Any]]:
        """Runs one iteration.

        Returns:
            New tokens of sequences, and the engine core's outputs of questions that ended, by the
            ids of these.
        """
        if self._starts is not None:
            self._starts.pace(0 if self._questions else len(self._core_ids))
        outputs = self._client.get_output().outputs
        answers = {}
        if self._questions:
            answers = {
                self._questions.pop(output.request_id): output
                for output in outputs
                if output.request_id in self._questions and output.finished
            }
        live = self._request_ids
        return [self._output(output) for output in outputs if output.request_id in live], answers

    def abort(self, request_ids: Iterable[str]) -> None:
        """Ends sequences and frees their blocks.

        Args:
            request_ids: Sequences in flight; others are ignored.
        """
        self._client.abort_requests([self._forget(i) for i in request_ids if i in self._core_ids])

    def pressure(self) -> MemoryPressure:
        """Reports how full the KV cache is, and counts preempted sequences.

        vLLM puts those in its queue until a later iteration, so only what is there is looked at.
        """
        scheduler = self._client.engine_core.scheduler
        for request in [*scheduler.waiting, *getattr(scheduler, "skipped_waiting", ())]:
            if request.num_preemptions:
                before = self._preemptions_of.get(request.request_id, 0)
                self._num_preemptions += request.num_preemptions - before
                self._preemptions_of[request.request_id] = request.num_preemptions
        return MemoryPressure(
            kv_cache_usage=scheduler.kv_cache_manager.usage, num_preemptions=self._num_preemptions
        )

    def _output(self, output: Any) -> GenerationOutput:
        prefill = output.prefill_stats
        core_id = output.request_id
        request_id = self._request_ids[core_id]
        if self._starts is not None:
            self._starts.begun(core_id)
        is_finished = output.finish_reason is not None
        if is_finished:
            self._forget(request_id)
        num_drafted = 0 if self._drafting is None else self._drafting.num_drafted(core_id)
        return GenerationOutput(
            request_id=request_id,
            token_ids=output.new_token_ids,
            is_finished=is_finished,
            num_cached_tokens=prefill.num_cached_tokens if prefill is not None else 0,
            logprobs=() if output.new_logprobs is None else self._logprobs(output.new_logprobs),
            num_drafted=num_drafted,
            num_kept_drafts=min(num_drafted, len(output.new_token_ids) - 1),
        )

    def _logprobs(self, found: Any) -> list[TokenLogprobs]:
        """vLLM's, [tokens, columns]: as many columns as any request asks for."""
        rows = zip(found.logprob_token_ids.tolist(), found.logprobs.tolist(), strict=True)
        wholes: Iterable[Distribution | None] = itertools.repeat(None)
        if self._has_distributions:
            wholes = read_distributions(found.sampled_token_ranks)
        return [
            TokenLogprobs(token_id, value, list(zip(token_ids, values, strict=True)), whole)
            for ((token_id, *token_ids), (value, *values)), whole in zip(rows, wholes, strict=False)
        ]

    def _forget(self, request_id: str) -> str:
        core_id = self._core_ids.pop(request_id)
        if self._starts is not None:
            self._starts.begun(core_id)
        del self._request_ids[core_id]
        self._preemptions_of.pop(core_id, None)
        return core_id
