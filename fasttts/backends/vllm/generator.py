"""The generator on vLLM: `interfaces.Generator` over an in-process engine."""

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fasttts.backends.vllm.drafting import Drafting
from fasttts.backends.vllm.engine_lifecycle import close_engine
from fasttts.backends.vllm.error_translation import translate
from fasttts.backends.vllm.fingerprint import model_fingerprint
from fasttts.backends.vllm.gentle_starts import GentleStarts
from fasttts.backends.vllm.sequences import Sequences
from fasttts.backends.vllm.tokenizer import ChatTokenizer
from fasttts.backends.vllm.tool_parsers import CALL_FORMATS, call_marker, parse_tool_calls
from fasttts.config import option_name
from fasttts.decoding.grammar import Constraint, Constraints
from fasttts.decoding.sampling import PublishedSampling
from fasttts.errors import BackendError, CapacityError, Role
from fasttts.interfaces import (
    NOBODY,
    CallFormat,
    GenerationOutput,
    GenerationRequest,
    MemoryPressure,
)
from fasttts.types import Numerics, ParsedOutput

if TYPE_CHECKING:
    from vllm import LLM, SamplingParams

_ROLE: Role = "generator"
_FIRST = -1
"""Priority of `ask`: before every other request."""


class VLLMGenerator:
    """Decodes many sequences, one token each per step.

    Args:
        llm: An engine built with `generator_arguments`; this object closes it.
        name: Model name or path, for results and logs.
        tool_call_parser: vLLM's name of the model's tool call format.
        num_reserved_seqs: Sequences of the engine that are reserved for `ask`.
        allow_control_tokens: Whether control tokens in contents stay control tokens.
        settings: Options of the model, for its fingerprint; None leaves it without one.
        published_sampling: The sampling of the model's `generation_config.json`.
        vllm_penalizes: Whether vLLM applies repetition penalties; else the sampler does.
        starts: Paces sequences that begin; None where that saves nothing.
        drafting: What drafts tokens; None where nothing does.
        has_distributions: Whether the engine reports numbers of whole distributions.
        numerics: What the engine gives.
        is_spread: Whether ranks compute the model in processes of their own.

    Attributes:
        published_sampling: The sampling that the model comes with.
        numerics: What the engine gives; see `interfaces.numerics`.
    """

    def __init__(
        self,
        llm: "LLM",
        *,
        name: str,
        tool_call_parser: str = "hermes",
        num_reserved_seqs: int = 0,
        allow_control_tokens: bool = False,
        settings: Mapping[str, Any] | None = None,
        published_sampling: PublishedSampling = PublishedSampling(),  # noqa: B008, immutable
        vllm_penalizes: bool = False,
        starts: GentleStarts | None = None,
        drafting: Drafting | None = None,
        has_distributions: bool = False,
        numerics: Numerics = "default",
        is_spread: bool = False,
    ) -> None:
        self.numerics = numerics
        self._is_spread = is_spread
        self.published_sampling = published_sampling
        self._llm: LLM | None = llm
        self._engine = llm.llm_engine
        self._drafting = drafting
        self._sequences = Sequences(
            self._engine, starts, drafting=drafting, has_distributions=has_distributions
        )
        self._name = name
        self._settings = settings
        self._vllm_penalizes = vllm_penalizes
        self._tool_call_parser = tool_call_parser
        self._max_model_len = int(self._engine.vllm_config.model_config.max_model_len)
        num_seqs = int(self._engine.vllm_config.scheduler_config.max_num_seqs)
        self._max_num_seqs = num_seqs - num_reserved_seqs
        self._tokenizer = ChatTokenizer(
            llm.get_tokenizer(),
            name,
            _configured_eos(llm),
            allow_control_tokens=allow_control_tokens,
        )
        self._call_marker = call_marker(self._tokenizer.backend, tool_call_parser)
        self._stop_token_ids = sorted(self._tokenizer.eos_token_ids)
        self._vocab_size = int(self._engine.vllm_config.model_config.get_vocab_size())
        vocabulary = functools.partial(self._tokenizer.vocabulary, self._vocab_size)
        self._constraints = Constraints(vocabulary, self._vocab_size)
        self._live: dict[str, Constraint | None] = {}
        """The requests in flight, with their grammars."""
        self._late: list[GenerationOutput] = []
        """Outputs of iterations that `ask` ran, for the next `step`."""
        self._question_ids = (f"question-{number}" for number in itertools.count())
        self._failure: BackendError | None = None

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
    def tokenizer(self) -> ChatTokenizer:
        """The model's tokenizer."""
        return self._tokenizer

    @property
    def vocab_size(self) -> int:
        """Width of the logits."""
        return self._vocab_size

    @property
    def max_model_len(self) -> int:
        """Longest prompt plus output, in tokens."""
        return self._max_model_len

    @property
    def max_num_seqs(self) -> int:
        """Sequences that can run in one iteration."""
        return self._max_num_seqs

    @property
    def max_draft_tokens(self) -> int:
        """Most tokens that can be drafted for a sequence; see `interfaces.max_draft_tokens`."""
        return 0 if self._drafting is None else self._drafting.most

    def set_draft_tokens(self, number: int, fewer: Mapping[str, int] = NOBODY) -> None:
        """Sets how many tokens are drafted for each sequence in the iterations to come.

        Args:
            number: Most tokens; the next smaller power of two is taken, or `max_draft_tokens`.
            fewer: The sequences that get fewer, by request, and how many at most.
        """
        if self._drafting is not None:
            self._drafting.set(number, self._sequences.by_core_id(fewer))

    def compile_grammar(self, grammar: str) -> object:
        """Compiles a grammar, once for all requests; see `interfaces.Generator`."""
        return self._constraints.compile(grammar)

    def add(self, request: GenerationRequest) -> None:
        """Queues a request; see `interfaces.Generator.add`.

        Raises:
            BackendError: A request of this id is in flight, or the engine failed.
            CapacityError: Prompt plus one token is longer than the context.
        """
        self._check_usable()
        if request.request_id in self._live:
            raise BackendError(f"request {request.request_id!r} is in flight already", role=_ROLE)
        num_prompt_tokens = len(request.prompt_token_ids)
        if num_prompt_tokens + 1 > self._max_model_len:
            raise CapacityError(
                f"a prompt of {num_prompt_tokens} tokens leaves no room for an answer in a "
                f"context of {self._max_model_len}: shorten it or raise "
                f"{option_name('max_model_len')}",
                role=_ROLE,
            )
        constraint = self._constraint(request)
        params = self._params(request, constraint)
        token_ids, priority = request.prompt_token_ids, request.priority
        try:
            self._sequences.add(
                request.request_id,
                token_ids,
                params,
                priority,
                may_take_long=request.may_start_late,
            )
        except Exception as error:  # vLLM raises many types; each becomes one of ours
            raise translate(error, _ROLE, f"request {request.request_id!r}") from error
        self._live[request.request_id] = constraint

    def _params(
        self, request: GenerationRequest, constraint: Constraint | None
    ) -> "SamplingParams":
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        from fasttts.backends.vllm.sampler import GROUP, sampler_arguments

        penalty = request.sampling.repetition_penalty if self._vllm_penalizes else 1.0
        arguments = sampler_arguments(request.seed, request.sampling, constraint)
        if self._drafting is not None and request.draft_group is not None:
            arguments[GROUP] = request.draft_group
        return SamplingParams(
            temperature=0.0,
            repetition_penalty=penalty,
            max_tokens=request.max_tokens,
            stop_token_ids=self._stop_token_ids,
            logprobs=request.num_logprobs,
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
            extra_args=arguments,
            skip_clone=True,
        )

    def _constraint(self, request: GenerationRequest) -> Constraint | None:
        if request.grammar is None:
            return None
        return self._constraints.start(request.grammar, request.answer_token_ids)

    def step(self) -> list[GenerationOutput]:
        """Runs one iteration; see `interfaces.Generator.step`."""
        self._check_usable()
        new, self._late = self._late or self._iterate({}), []
        if any(self._live.values()):
            new = [self._checked(output) for output in new]
        for output in new:
            if output.is_finished:
                del self._live[output.request_id]
        return new

    def _checked(self, output: GenerationOutput) -> GenerationOutput:
        """Ends a request whose grammar cannot go on; its new tokens may come of no grammar."""
        constraint = self._live[output.request_id]
        if constraint is not None and self._is_spread and not output.is_finished:
            constraint.take(output.token_ids)  # the ranks' own copies fail out of sight
        if constraint is None or constraint.failure is None:
            return output
        if not output.is_finished:
            self._sequences.abort([output.request_id])
        return output._replace(token_ids=(), is_finished=True, error=constraint.failure)

    def ask(self, prompts: Sequence[Sequence[int]], params: "SamplingParams") -> list[Any]:
        """Runs prompts to their end, ahead of the queue and together with running sequences.

        Args:
            prompts: Token ids, each shorter than the context.
            params: Parameters of all of them.

        Returns:
            The engine core's last output for each.

        Raises:
            BackendError: The engine failed; every request in flight is lost.
        """
        self._check_usable()
        answers: dict[str, Any] = {next(self._question_ids): None for _ in prompts}
        for request_id, token_ids in zip(answers, prompts, strict=True):
            try:
                self._sequences.ask(request_id, token_ids, params, _FIRST)
            except Exception as error:  # whatever it is, the engine is lost
                raise self._fail(error) from error
        while None in answers.values():
            self._late = _merged([*self._late, *self._iterate(answers)])
        return list(answers.values())

    def _iterate(self, answers: dict[str, Any]) -> list[GenerationOutput]:
        """Runs one iteration of the engine and stores finished questions in `answers`."""
        try:
            outputs, ended = self._sequences.step()
        except Exception as error:  # whatever it is, the engine is lost
            raise self._fail(error) from error
        answers |= ended
        return outputs

    def abort(self, request_ids: Sequence[str]) -> None:
        """Ends requests and frees their blocks; unknown ids are ignored.

        Raises:
            BackendError: The engine failed; every request in flight is lost.
        """
        known = [request_id for request_id in request_ids if request_id in self._live]
        if not known:
            return
        self._check_usable()
        for request_id in known:
            del self._live[request_id]
        self._late = [output for output in self._late if output.request_id in self._live]
        try:
            self._sequences.abort(known)
        except Exception as error:  # whatever it is, the engine is lost
            raise self._fail(error) from error

    def num_unfinished(self) -> int:
        """Counts the requests that were added and neither finished nor aborted."""
        return len(self._live)

    def pressure(self) -> MemoryPressure:
        """Reports how full the KV cache is; see `interfaces.Generator.pressure`."""
        self._check_usable()
        return self._sequences.pressure()

    def preempt_all(self) -> None:
        """Sends every running sequence back to the queue and empties the prefix cache.

        Running sequences lose their KV blocks and are computed again; by the sampling rule no token
        changes.
        """
        self._check_usable()
        self._engine.reset_prefix_cache(reset_running_requests=True)

    def reset_prefix_cache(self) -> None:
        """Empties the prefix cache; has no effect while a sequence is in flight."""
        self._check_usable()
        self._engine.reset_prefix_cache()

    @property
    def call_format(self) -> CallFormat | None:
        """How the model writes calls; None where no `CallFormat` describes it."""
        return CALL_FORMATS.get(self._tool_call_parser)

    @property
    def call_marker(self) -> str | None:
        """Text that every tool call of this model begins with; None where it is unknown."""
        return self._call_marker

    def parse_tool_calls(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedOutput:
        """Separates tool calls from text in the format of this model."""
        return parse_tool_calls(text, tools, self._tokenizer.backend, self._tool_call_parser)

    def close(self) -> None:
        """Frees the engine's memory; safe to call twice."""
        llm, self._llm = self._llm, None
        if llm is None:
            return
        self._live.clear()
        self._late.clear()
        self._failure = BackendError("the generator is closed", role=_ROLE)
        if self._drafting is not None:
            self._drafting.close()
        self._drafting = None
        del self._engine, self._sequences
        close_engine(llm)

    def _check_usable(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _fail(self, error: Exception) -> BackendError:
        """Records that the engine is lost, so that later calls fail at once."""
        translated = translate(error, _ROLE, "the generator's engine failed")
        if not isinstance(translated, BackendError):
            translated = BackendError(str(translated), role=_ROLE)
        self._failure = translated
        self._live.clear()
        self._late.clear()
        return translated


def _configured_eos(llm: "LLM") -> tuple[int, ...]:
    """End tokens that the model's `generation_config.json` (or configuration) names."""
    configured = llm.llm_engine.model_config.try_get_generation_config().get("eos_token_id")
    if configured is None:
        return ()
    return tuple(configured) if isinstance(configured, list) else (int(configured),)


def _merged(outputs: Iterable[GenerationOutput]) -> list[GenerationOutput]:
    """One output for each request, in the order of its first one."""
    merged: dict[str, GenerationOutput] = {}
    for new in outputs:
        old = merged.get(new.request_id)
        merged[new.request_id] = new if old is None else _joined(old, new)
    return list(merged.values())


def _joined(old: GenerationOutput, new: GenerationOutput) -> GenerationOutput:
    token_ids = [*old.token_ids, *new.token_ids]
    logprobs = [*old.logprobs, *new.logprobs]
    return old._replace(
        token_ids=token_ids,
        logprobs=logprobs,
        is_finished=new.is_finished,
        num_drafted=old.num_drafted + new.num_drafted,
        num_kept_drafts=old.num_kept_drafts + new.num_kept_drafts,
    )
