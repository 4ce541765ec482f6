"""The protocols of a backend: a generator and a verifier.

Everything above this file is pure Python and runs on the fake backend as well as on vLLM.
`tests/contract` checks every implementation against these protocols.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, cast

from fasttts.decoding.sampling import PublishedSampling, Sampling
from fasttts.decoding.tokenizer import Tokenizer
from fasttts.errors import BackendError, ConfigurationError, shown
from fasttts.types import Numerics, ParsedOutput, TokenLogprobs


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One sequence to decode.

    Attributes:
        request_id: Unique among the requests in flight.
        prompt_token_ids: Everything before the first new token, earlier steps included.
        seed: Seed of the noise; the token at absolute position `p` depends on the prefix, `seed`
            and `p` alone.
        sampling: How tokens are drawn.
        max_tokens: New tokens after which the backend ends the request by itself.
        priority: Lower runs first and is preempted last; ties run in the order of arrival.
        grammar: A grammar from `StructuredOutputs.decoding_grammar` that masks the tokens; None
            allows all.
        num_answer_tokens: How many of the prompt's last tokens belong to the answer.
        may_start_late: Whether the backend may take several iterations over the prompt where that
            keeps the other requests fast: nobody waits for the first token.
        num_logprobs: How many of the likeliest tokens are reported beside each new one, with their
            log-probabilities before sampling options and grammars, its own, and the numbers of the
            whole distribution there; None reports none at all.
        draft_group: Requests of one group may have their next tokens drafted from each other's
            texts, prompts and answers; None drafts nothing.
    """

    request_id: str
    prompt_token_ids: Sequence[int]
    seed: int
    sampling: Sampling
    max_tokens: int
    priority: int = 0
    grammar: str | None = None
    num_answer_tokens: int = 0
    may_start_late: bool = False
    num_logprobs: int | None = None
    draft_group: int | None = None

    @property
    def answer_token_ids(self) -> Sequence[int]:
        """The answer before the first new token."""
        return self.prompt_token_ids[len(self.prompt_token_ids) - self.num_answer_tokens :]


class GenerationOutput(NamedTuple):
    """New tokens of one request from one iteration; a tuple, as one is made for every token.

    Attributes:
        request_id: The request that the tokens belong to.
        token_ids: The new tokens only, in order; the end-of-turn token is among them.
        is_finished: Whether the backend ended the request (end of turn or `max_tokens`).
        num_cached_tokens: Prompt tokens the prefix cache supplied when the request was first
            scheduled.
        error: Why this request alone cannot go on, with no new tokens, after which it is finished;
            None while it works.
        logprobs: For each new token, where the request asks for them; else empty.
        num_drafted: Drafted tokens that were computed for the request, kept or not.
        num_kept_drafts: Those of them that are among `token_ids`.
    """

    request_id: str
    token_ids: Sequence[int]
    is_finished: bool
    num_cached_tokens: int = 0
    error: BackendError | None = None
    logprobs: Sequence[TokenLogprobs] = ()
    num_drafted: int = 0
    num_kept_drafts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPressure:
    """How full the generator's KV cache is.

    Attributes:
        kv_cache_usage: Share of its blocks that running sequences hold, 0 to 1.
        num_preemptions: Times a running sequence lost its blocks, since the engine started.
    """

    kv_cache_usage: float = 0.0
    num_preemptions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationRequest:
    """The steps of one path, of which the first `num_scored` have scores already.

    Attributes:
        problem: The text the steps answer.
        steps: All steps of the path, stripped of separators.
        num_scored: Leading steps whose score is known and not asked for.
        logprobs: For each of the other steps, the log-probabilities of its tokens as the generator
            reported them; None where the verifier asks for none (`num_logprobs`).
    """

    problem: str
    steps: tuple[str, ...]
    num_scored: int = 0
    logprobs: tuple[Sequence[TokenLogprobs], ...] | None = None

    def part(self, start: int, end: int) -> "VerificationRequest":
        """The request for the steps from `start` to `end` alone, with those before as scored.

        Args:
            start: The first step asked for; `num_scored` or more.
            end: The step behind the last one asked for.
        """
        own = self.logprobs
        if own is not None:
            own = own[start - self.num_scored : end - self.num_scored]
        return replace(self, steps=self.steps[:end], num_scored=start, logprobs=own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Scores of one request's unscored steps.

    Attributes:
        scores: One for each of `steps[num_scored:]`, in [0, 1].
        num_computed_tokens: Tokens that the verifier ran through its model.
        num_cached_tokens: Prompt tokens that its prefix cache supplied.
        is_nan: For each score, whether the model gave not-a-number, which counts as 0; empty where
            it gave a number for all.
    """

    scores: tuple[float, ...]
    num_computed_tokens: int = 0
    num_cached_tokens: int = 0
    is_nan: tuple[bool, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFormat:
    """JSON form of a model's tool calls, for calls that a grammar forces.

    A text is `prefix`, calls joined by `separator`, `suffix`; a call is `begin`, an object with
    "name" and `arguments_key`, `end`.

    Attributes:
        prefix: Text before the first call.
        begin: Text before each call's object.
        arguments_key: Key of the arguments in the object.
        end: Text after each call's object.
        separator: Text between two calls.
        suffix: Text after the last call.
    """

    prefix: str = ""
    begin: str = ""
    arguments_key: str
    end: str = ""
    separator: str
    suffix: str = ""


HERMES = CallFormat(
    begin="<tool_call>\n", arguments_key="arguments", end="\n</tool_call>", separator="\n"
)
"""The format of Hermes and Qwen 2.5, and of many models after them."""


class Generator(Protocol):
    """An engine that decodes many sequences, one token each per `step`, or several by drafts.

    One that can draft has an attribute `max_draft_tokens`, see the function of this name, and a
    method `set_draft_tokens`, see `DraftingGenerator`.
    """

    @property
    def name(self) -> str:
        """Model name or path, for results and logs."""
        ...

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        ...

    @property
    def max_model_len(self) -> int:
        """Longest prompt plus output, in tokens."""
        ...

    @property
    def max_num_seqs(self) -> int:
        """Sequences that can run in one iteration."""
        ...

    def compile_grammar(self, grammar: str) -> object:
        """Compiles a grammar for requests to come; may be called from any thread, at any time.

        Args:
            grammar: A grammar from `StructuredOutputs.decoding_grammar`.

        Returns:
            What keeps the grammar compiled: while it lives, `add` does not compile it again.

        Raises:
            ConfigurationError: The grammar does not fit the model's vocabulary, or no answer can
                begin.
        """
        ...

    def add(self, request: GenerationRequest) -> None:
        """Queues a request.

        Raises:
            CapacityError: Prompt plus one token is longer than the context.
        """
        ...

    def step(self) -> list[GenerationOutput]:
        """Runs one iteration: at most a few new tokens for each running request.

        An engine that schedules ahead may report tokens one iteration late.

        Raises:
            BackendError: The engine failed; every request in flight is lost.
        """
        ...

    def abort(self, request_ids: Sequence[str]) -> None:
        """Ends requests and frees their memory; unknown ids are ignored.

        No output of an aborted request appears in any later `step`.
        """
        ...

    def num_unfinished(self) -> int:
        """Counts the requests that were added and neither finished nor aborted."""
        ...

    def pressure(self) -> MemoryPressure:
        """Reports how full the KV cache is; cheap enough for every iteration."""
        ...

    @property
    def call_format(self) -> CallFormat | None:
        """How the model writes calls; None where no `CallFormat` describes it."""
        ...

    @property
    def call_marker(self) -> str | None:
        """Text that every tool call of this model begins with; None where there is no such text.

        The content of a parsed text with calls is the text before the first marker.
        """
        ...

    def parse_tool_calls(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedOutput:
        """Separates tool calls from text in the format of this model.

        Args:
            text: Generated text of one answer.
            tools: The tools of the conversation, in OpenAI's form.
        """
        ...

    def close(self) -> None:
        """Frees the engine's memory; safe to call twice."""
        ...


NOBODY: Mapping[str, int] = MappingProxyType({})
"""The sequences that get fewer drafted tokens, where all get as many."""


class DraftingGenerator(Protocol):
    """Further methods of a generator that can compute several tokens of a sequence at once.

    It drafts the next tokens from text at hand (`GenerationRequest.draft_group`) and computes them
    in one pass. Every position is drawn by the sampling rule from the logits of its prefix; the
    drafted tokens are kept while they are what was drawn, and one token more is kept. So the
    streams are, token for token, those of plain decoding, whatever was drafted, and whenever.
    """

    @property
    def max_draft_tokens(self) -> int:
        """Most tokens that it can draft for a sequence in an iteration."""
        ...

    def set_draft_tokens(self, number: int, fewer: Mapping[str, int]) -> None:
        """Sets how many tokens it drafts at most for each sequence, in iterations to come.

        It begins with 0. An engine that schedules ahead may have chosen the drafts of an iteration
        already.

        Args:
            number: 0 to `max_draft_tokens`; 0 drafts nothing.
            fewer: The sequences that get fewer, by request, and how many at most. It replaces
                what was said of them before; requests that are not in flight mean nothing.
        """
        ...


class Verifier(Protocol):
    """Scores steps; a process reward model, a judge or a function."""

    @property
    def name(self) -> str:
        """Model name or path, for results and logs."""
        ...

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        """Scores each request's unscored steps, in the order of the requests.

        Raises:
            BackendError: The engine failed or a prompt is longer than its context.
        """
        ...

    def close(self) -> None:
        """Frees the engine's memory; safe to call twice."""
        ...


def published_sampling(generator: Generator) -> PublishedSampling:
    """The sampling that a generator's model comes with, from an attribute of this name.

    A generator without the attribute has none, and plain decoding is greedy by default.
    """
    found = getattr(generator, "published_sampling", None)
    return found if isinstance(found, PublishedSampling) else PublishedSampling()


def fingerprint(part: object) -> str | None:
    """Returns the identity of a model or function, whatever its name; None where it is unknown.

    It is the text in an attribute `fingerprint`, which changes with everything that changes what
    the part computes. Backends compute theirs; a Python function has one if its author sets it.
    Only the key of the result cache uses it.
    """
    found = getattr(part, "fingerprint", None)
    return found if isinstance(found, str) and found else None


MAX_LOGPROBS = 20
"""The most likely tokens that a generator reports beside each new one; vLLM's own default."""


def num_logprobs(part: object) -> int | None:
    """How many of the likeliest tokens a verifier reads beside each of a step's tokens.

    It is in an attribute of this name: 0 reads the tokens' own log-probabilities alone. None, or no
    attribute, reads none.

    Raises:
        ConfigurationError: The attribute is no such number.
    """
    found = getattr(part, "num_logprobs", None)
    if found is None or (type(found) is int and 0 <= found <= MAX_LOGPROBS):
        return found
    raise ConfigurationError(
        f"a verifier has num_logprobs={shown(found)}: make it 0 to {MAX_LOGPROBS}, or None"
    )


def reads_distributions(part: object) -> bool:
    """Whether a verifier reads `TokenLogprobs.distribution`, by an attribute of this name."""
    return bool(getattr(part, "reads_distributions", False))


def max_draft_tokens(generator: object) -> int:
    """Most tokens that a generator can draft for a sequence in an iteration; 0 if it cannot.

    It is in an attribute of this name; one that is not 0 comes with a method `set_draft_tokens`.

    Raises:
        ConfigurationError: The attribute is no such number, or the method is missing or takes other
            arguments.
    """
    found = getattr(generator, "max_draft_tokens", 0)
    if type(found) is not int or found < 0:
        raise ConfigurationError(
            f"a generator has max_draft_tokens={shown(found)}: make it 0 or more, or leave it out"
        )
    if found:
        method: Any = getattr(generator, "set_draft_tokens", None)  # what is missing raises as well
        try:
            inspect.signature(method).bind(0, NOBODY)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"a generator has max_draft_tokens={found}, and no method set_draft_tokens(number, "
                "fewer) as fasttts.interfaces.DraftingGenerator says: add it"
            ) from error
    return found


def set_draft_tokens(generator: object, number: int, fewer: Mapping[str, int]) -> None:
    """Sets how many tokens a generator drafts at most; see `DraftingGenerator`.

    Args:
        generator: A generator whose `max_draft_tokens` are not 0.
        number: 0 to those.
        fewer: The sequences that get fewer, by request, and how many.
    """
    cast(DraftingGenerator, generator).set_draft_tokens(number, fewer)


def numerics(part: object) -> Numerics:
    """Returns the numerics of a generator or a verifier, from an attribute of this name.

    They are "deterministic" where equal inputs give equal tokens or scores, whatever else is in the
    batch. A part without the attribute promises nothing, which is "default".
    """
    found = getattr(part, "numerics", None)
    return "deterministic" if found == "deterministic" else "default"
