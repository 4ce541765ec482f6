"""Sequences in vLLM's engine core, which is stepped directly.

`LLMEngine` makes objects of every sequence's output in every iteration, for texts, log
probabilities and statistics that the step loop does not read: at 256 sequences a seventh of what
the host does. So sequences go to the engine core itself. Requests whose log probabilities are read
still go through `LLMEngine`, beside them.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from fasttts.interfaces import GenerationOutput, MemoryPressure

if TYPE_CHECKING:
    from vllm import SamplingParams
    from vllm.v1.engine.llm_engine import LLMEngine


class Sequences:
    """The sequences of an engine whose core is in this process.

    Args:
        engine: The engine; nobody else adds or aborts sequences, or steps it.
    """

    def __init__(self, engine: "LLMEngine") -> None:
        self._engine = engine
        self._client: Any = engine.engine_core
        self._core_ids: dict[str, str] = {}
        """The engine core's ids of the sequences in flight: vLLM makes each unique."""
        self._request_ids: dict[str, str] = {}
        """The same the other way round."""
        self._num_questions = 0
        self._num_preemptions = 0
        self._preemptions_of: dict[str, int] = {}

    def add(
        self,
        request_id: str,
        prompt_token_ids: Sequence[int],
        params: "SamplingParams",
        priority: int,
    ) -> None:
        """Queues a sequence.

        Args:
            request_id: Names it.
            prompt_token_ids: Its prompt.
            params: Its parameters, without detokenisation.
            priority: Lower ones are scheduled first.
        """
        request = self._engine.input_processor.process_inputs(
            request_id,
            _prompt(prompt_token_ids),
            params,
            supported_tasks=self._engine.get_supported_tasks(),
            priority=priority,
        )
        self._engine.input_processor.assign_request_id(request)
        self._client.add_request(request)
        self._core_ids[request_id] = request.request_id
        self._request_ids[request.request_id] = request_id

    def ask(
        self,
        request_id: str,
        prompt_token_ids: Sequence[int],
        params: "SamplingParams",
        priority: int,
    ) -> None:
        """Queues a request that `step` gives back as vLLM's own output.

        Args:
            request_id: Names it.
            prompt_token_ids: Its prompt.
            params: Its parameters.
            priority: Lower ones are scheduled first.
        """
        prompt = _prompt(prompt_token_ids)
        self._engine.add_request(request_id, prompt, params, priority=priority)
        self._num_questions += 1

    def step(self) -> tuple[list[GenerationOutput], list[Any]]:
        """Runs one iteration.

        Returns:
            New tokens of sequences, and vLLM's outputs of questions that ended.
        """
        outputs = self._client.get_output().outputs
        answers = self._answers(outputs) if self._num_questions else []
        return [self._output(output) for output in outputs if self._is_live(output)], answers

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

    def _is_live(self, output: Any) -> bool:
        return output.request_id in self._request_ids

    def _output(self, output: Any) -> GenerationOutput:
        prefill = output.prefill_stats
        request_id = self._request_ids[output.request_id]
        is_finished = output.finish_reason is not None
        if is_finished:
            self._forget(request_id)
        return GenerationOutput(
            request_id=request_id,
            token_ids=output.new_token_ids,
            is_finished=is_finished,
            num_cached_tokens=prefill.num_cached_tokens if prefill is not None else 0,
        )

    def _answers(self, outputs: list[Any]) -> list[Any]:
        """What `LLMEngine` makes of the outputs; it knows of the questions alone."""
        processed = self._engine.output_processor.process_outputs(outputs)
        ended = [answer for answer in processed.request_outputs if answer.finished]
        self._num_questions -= len(ended)
        return ended

    def _forget(self, request_id: str) -> str:
        core_id = self._core_ids.pop(request_id)
        del self._request_ids[core_id]
        self._preemptions_of.pop(core_id, None)
        return core_id


def _prompt(token_ids: Sequence[int]) -> Any:
    from vllm.inputs import TokensPrompt

    return TokensPrompt(prompt_token_ids=list(token_ids))
