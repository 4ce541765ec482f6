"""The verifier on vLLM: `interfaces.Verifier` over an engine of its own."""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fasttts.backends.vllm.engine_lifecycle import close_engine
from fasttts.backends.vllm.error_translation import translate
from fasttts.backends.vllm.fingerprint import model_fingerprint
from fasttts.backends.vllm.score_outputs import score_query
from fasttts.backends.vllm.written_thoughts import WrittenThought, thought_params, with_thought
from fasttts.errors import BackendError, ContractError, Role
from fasttts.interfaces import Verification, VerificationRequest
from fasttts.types import Numerics
from fasttts.verifiers.prompt_formats import VerifierFormat
from fasttts.verifiers.step_reader import Place, Reading, StepReader
from fasttts.verifiers.thought import Thought

if TYPE_CHECKING:
    from vllm import LLM, PoolingParams, SamplingParams
    from vllm.v1.engine import EngineCoreRequest

_ROLE: Role = "verifier"


class VLLMVerifier:
    """Scores steps with a model of any family in `verifiers.registry`.

    Args:
        llm: An engine built with `verifier_arguments`; this object closes it.
        name: Model name or path, for results and logs.
        prompt_format: Prompt format of the model.
        settings: Options of the model, for its fingerprint; None leaves it without one.
        numerics: What the engine gives.

    Attributes:
        numerics: The same; see `interfaces.numerics`.
        reads_prefix_cache: False computes every prompt anew, for comparison.
        block_size: Tokens of a block of the prefix cache, which holds whole blocks only.
    """

    def __init__(
        self,
        llm: "LLM",
        *,
        name: str,
        prompt_format: VerifierFormat,
        settings: Mapping[str, Any] | None = None,
        numerics: Numerics = "default",
    ) -> None:
        self.numerics = numerics
        self._llm: LLM | None = llm
        self._engine = llm.llm_engine
        self._name = name
        self._settings = settings
        self._score_query = score_query(prompt_format.choices)
        self._thought = prompt_format.thought
        self._max_model_len = int(self._engine.vllm_config.model_config.max_model_len)
        self._reader = StepReader(
            name=name,
            prompt_format=prompt_format,
            max_prompt_tokens=self._max_model_len - self._score_query.num_new_tokens,
        )
        self._request_ids = map(str, itertools.count())
        self._failure: BackendError | None = None
        self.reads_prefix_cache = True
        self.block_size = int(self._engine.vllm_config.cache_config.block_size)

    @property
    def name(self) -> str:
        """Model name or path, for results and logs."""
        return self._name

    @property
    def fingerprint(self) -> str | None:
        """See `fingerprint.model_fingerprint`, which reads the model's files."""
        if self._llm is None or self._settings is None:
            return None
        return model_fingerprint(self._llm, self._settings)

    @property
    def max_model_len(self) -> int:
        """The model's context in tokens."""
        return self._max_model_len

    @property
    def fault(self) -> BackendError | None:
        """The error that ended the engine; None while it works."""
        return self._failure

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        """Scores each request's unscored steps; see `interfaces.Verifier.score`.

        Raises:
            CapacityError: A prompt is longer than the context; nothing has been computed then.
            ContractError: The model gave no probability.
        """
        self._check_usable()
        return self._reader.score(requests, self._read)

    def reset_prefix_cache(self) -> None:
        """Empties the prefix cache."""
        self._check_usable()
        self._engine.reset_prefix_cache()

    def close(self) -> None:
        """Frees the engine's memory; safe to call twice."""
        llm, self._llm = self._llm, None
        if llm is None:
            return
        self._failure = BackendError("the verifier is closed", role=_ROLE)
        del self._engine
        close_engine(llm)

    def _check_usable(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _read(self, prompts: Mapping[Place, Sequence[int]]) -> dict[Place, Reading]:
        """Runs prompts through the engine together."""
        try:
            return self._run(prompts)
        except ContractError:
            raise
        except Exception as error:  # vLLM raises many types; each becomes one of ours
            failure = translate(error, _ROLE, "the verifier's engine failed")
            if isinstance(failure, BackendError):
                self._failure = failure
            raise failure from error

    def _run(self, prompts: Mapping[Place, Sequence[int]]) -> dict[Place, Reading]:
        asked = list(prompts.values())
        thought = self._thought
        readings = self._scored(asked) if thought is None else self._judged(asked, thought)
        return dict(zip(prompts, readings, strict=True))

    def _scored(self, prompts: Sequence[Sequence[int]]) -> list[Reading]:
        """Reads the scores in or behind prompts."""
        params = self._score_query.params(reads_prefix_cache=self.reads_prefix_cache)
        lengths = [len(token_ids) for token_ids in prompts]
        return self._score_query.readings(lengths, self._outputs(prompts, params))

    def _judged(self, prompts: Sequence[Sequence[int]], thought: Thought) -> list[Reading]:
        """Lets the model write behind prompts, and reads the scores behind that."""
        written = self._thoughts(prompts, thought)
        pairs = zip(prompts, written, strict=True)
        closed = [[*token_ids, *thought.closed(own.token_ids)] for token_ids, own in pairs]
        verdicts = self._scored(closed)
        return list(itertools.starmap(with_thought, zip(prompts, written, verdicts, strict=True)))

    def _thoughts(self, prompts: Sequence[Sequence[int]], thought: Thought) -> list[WrittenThought]:
        """Lets the model write behind prompts, each until its thought is over."""
        core = self._engine.engine_core
        requests = self._requests(prompts, thought_params(thought, self.reads_prefix_cache))
        written = {request.request_id: WrittenThought() for request in requests}
        for request in requests:
            core.add_request(request)
        open_ids = set(written)
        while open_ids:
            for output in core.get_output().outputs:
                if output.request_id in open_ids:
                    own = written[output.request_id]
                    own.add(output)
                    if output.finished:
                        open_ids.remove(output.request_id)
                    elif thought.is_over(own.token_ids):
                        open_ids.remove(output.request_id)
                        core.abort_requests([output.request_id])
        return list(written.values())

    def _outputs(
        self, prompts: Sequence[Sequence[int]], params: "PoolingParams | SamplingParams"
    ) -> list[Any]:
        """Steps the engine core, not `LLMEngine`, whose objects of every request nobody reads."""
        core = self._engine.engine_core
        requests = self._requests(prompts, params)
        for request in requests:
            core.add_request(request)
        outputs: dict[str, Any] = dict.fromkeys(request.request_id for request in requests)
        while None in outputs.values():
            outputs |= {
                output.request_id: output
                for output in core.get_output().outputs
                if output.finished and output.request_id in outputs
            }
        return list(outputs.values())

    def _requests(
        self, prompts: Sequence[Sequence[int]], params: "PoolingParams | SamplingParams"
    ) -> "list[EngineCoreRequest]":
        """Has vLLM make a request of the first prompt; the others differ in name and tokens."""
        from msgspec.structs import replace
        from vllm.inputs import TokensPrompt

        first = self._engine.input_processor.process_inputs(
            "",
            TokensPrompt(prompt_token_ids=list(prompts[0])),
            params,
            supported_tasks=self._engine.get_supported_tasks(),
        )
        return [
            replace(first, request_id=next(self._request_ids), prompt_token_ids=list(token_ids))
            for token_ids in prompts
        ]
