"""The verifier on vLLM: `backends.base.Verifier` over an in-process pooling engine."""

import itertools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from fasttts.backends.base import Verification, VerificationRequest
from fasttts.backends.vllm.lifetime import close_engine
from fasttts.backends.vllm.translation import translate
from fasttts.errors import BackendError, CapacityError, ContractError, Role
from fasttts.verifiers.formats import StepPrompt, VerifierFormat

if TYPE_CHECKING:
    from vllm import LLM

_ROLE: Role = "verifier"

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What one prompt returned: `scores` of its last positions, and its cost in tokens."""

    num_prompt_tokens: int
    num_cached_tokens: int
    scores: Sequence[float]

    @property
    def num_computed_tokens(self) -> int:
        return self.num_prompt_tokens - self.num_cached_tokens

    def at(self, position: int) -> float | None:
        """The score at a position; None where the prefix cache hid it."""
        if position < self.num_prompt_tokens - len(self.scores):
            return None
        return self.scores[position - self.num_prompt_tokens]


class VLLMVerifier:
    """Scores steps with a process reward model.

    vLLM computes only positions that its prefix cache does not hold, and returns values for those
    alone. Prompts end at the newest step, so a new step's value is always among them. Where a step
    that is asked for lies inside a cached prefix (another path shares it), it is read by a second
    prompt that ends there: the last position of a prompt is always computed.

    Args:
        llm: A pooling engine that returns every position's value; this object closes it.
        name: Model name or path, for results and logs.
        prompt_format: How steps are laid out for this model.

    Attributes:
        reads_prefix_cache: False computes every prompt anew, for comparison.
        block_size: Tokens of a block of the prefix cache, which holds whole blocks only.
    """

    def __init__(self, llm: "LLM", *, name: str, prompt_format: VerifierFormat) -> None:
        self._llm: LLM | None = llm
        self._engine = llm.llm_engine
        self._name = name
        self._format = prompt_format
        self._max_model_len = int(self._engine.vllm_config.model_config.max_model_len)
        self._request_ids = map(str, itertools.count())
        self._failure: BackendError | None = None
        self.reads_prefix_cache = True
        self.block_size = int(self._engine.vllm_config.cache_config.block_size)

    @property
    def name(self) -> str:
        """Model name or path, for results and logs."""
        return self._name

    @property
    def max_model_len(self) -> int:
        """Longest prompt, in tokens."""
        return self._max_model_len

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        """Scores each request's unscored steps; see `base.Verifier.score`.

        Raises:
            CapacityError: A prompt is longer than the context; nothing has been computed then.
            ContractError: The model gave no probability where one was due.
        """
        self._check_usable()
        prompts = [self._prompt(request) for request in requests]
        asked = [(i, s) for i, r in enumerate(requests) for s in range(r.num_scored, len(r.steps))]
        whole = self._read({i: prompts[i].token_ids for i, _ in asked})
        hidden = {
            (i, s): prompts[i].token_ids[: prompts[i].positions[s] + 1]
            for i, s in asked
            if whole[i].at(prompts[i].positions[s]) is None
        }
        parts = self._read(hidden)
        readings: list[list[_Reading]] = [[] for _ in requests]
        scores: list[list[float]] = [[] for _ in requests]
        for i, reading in whole.items():
            readings[i].append(reading)
        for (i, _), reading in parts.items():
            readings[i].append(reading)
        for i, s in asked:
            reading = parts.get((i, s), whole[i])
            scores[i].append(self._probability(reading.at(prompts[i].positions[s]), i, s))
        return [_verification(*both) for both in zip(scores, readings, strict=True)]

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

    def _prompt(self, request: VerificationRequest) -> StepPrompt:
        prompt = self._format.prompt(request.problem, request.steps)
        if len(prompt.token_ids) > self._max_model_len:
            raise CapacityError(
                f"{len(request.steps)} steps make a verifier prompt of {len(prompt.token_ids)} "
                f"tokens where its context holds {self._max_model_len}: lower max_tokens or "
                "max_depth, or choose a verifier with a longer context",
                role=_ROLE,
            )
        return prompt

    def _read(self, prompts: Mapping[Key, Sequence[int]]) -> dict[Key, _Reading]:
        """Runs prompts through the engine together."""
        try:
            return self._run(prompts)
        except ContractError:
            raise
        except Exception as error:
            failure = translate(error, _ROLE, "the verifier's engine failed")
            if isinstance(failure, BackendError):
                self._failure = failure
            raise failure from error

    def _run(self, prompts: Mapping[Key, Sequence[int]]) -> dict[Key, _Reading]:
        from vllm import PoolingParams
        from vllm.inputs import TokensPrompt

        waiting: dict[str, Key] = {}
        for key, token_ids in prompts.items():
            request_id = next(self._request_ids)
            params = PoolingParams(
                task="token_classify", skip_reading_prefix_cache=not self.reads_prefix_cache
            )
            prompt = TokensPrompt(prompt_token_ids=list(token_ids))
            self._engine.add_request(request_id, prompt, params)
            waiting[request_id] = key
        readings: dict[Key, _Reading] = {}
        while waiting:
            for output in self._engine.step():
                key = waiting.pop(output.request_id)
                readings[key] = _reading(output)
        return {key: readings[key] for key in prompts}

    def _probability(self, score: float | None, request: int, step: int) -> float:
        if score is not None and 0.0 <= score <= 1.0:
            return score
        raise ContractError(
            f"{self._name!r} gave {score} for step {step} of request {request} where a "
            "probability was due: its weights or its dtype are broken",
            role=_ROLE,
        )


def _reading(output: Any) -> _Reading:
    """An engine's output: values are [positions, 2], softmaxed by vLLM's pooler."""
    values = output.outputs.data
    num_prompt_tokens, cached = len(output.prompt_token_ids), output.num_cached_tokens or 0
    if values.ndim != 2 or values.shape[1] != 2 or len(values) < num_prompt_tokens - cached:
        raise ContractError(
            f"the verifier returned values of shape {tuple(values.shape)} for "
            f"{num_prompt_tokens} prompt tokens of which {cached} were cached",
            role=_ROLE,
        )
    return _Reading(num_prompt_tokens, cached, values[:, 1].tolist())


def _verification(scores: Sequence[float], readings: Sequence[_Reading]) -> Verification:
    return Verification(
        scores=tuple(scores),
        num_computed_tokens=sum(reading.num_computed_tokens for reading in readings),
        num_cached_tokens=sum(reading.num_cached_tokens for reading in readings),
    )
