"""The protocols of a backend: what the scheduler needs of a generator and of a verifier.

Everything above this file is pure Python and runs on the fake backend as well as on vLLM.
`tests/contract` holds every implementation to these promises.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fasttts.decoding.sampling import Sampling
from fasttts.decoding.tokenizer import Tokenizer
from fasttts.types import ParsedOutput


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
        grammar: What the answer must follow, as `StructuredOutputs.decoding_grammar` gives it:
            tokens that it does not allow are not drawn. None allows all.
        num_answer_tokens: How many of the prompt's last tokens belong to the answer.
    """

    request_id: str
    prompt_token_ids: Sequence[int]
    seed: int
    sampling: Sampling
    max_tokens: int
    priority: int = 0
    grammar: str | None = None
    num_answer_tokens: int = 0

    @property
    def answer_token_ids(self) -> Sequence[int]:
        """The answer before the first new token."""
        return self.prompt_token_ids[len(self.prompt_token_ids) - self.num_answer_tokens :]


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationOutput:
    """What one request gained in one iteration.

    Attributes:
        request_id: Whose tokens these are.
        token_ids: The new tokens only, in order; the end-of-turn token is among them.
        is_finished: Whether the backend ended the request (end of turn or `max_tokens`).
        num_cached_tokens: Prompt tokens the prefix cache supplied when the request was first
            scheduled.
    """

    request_id: str
    token_ids: Sequence[int]
    is_finished: bool
    num_cached_tokens: int = 0


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
    """

    problem: str
    steps: tuple[str, ...]
    num_scored: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Scores of `steps[num_scored:]`, one each in [0, 1], and what they cost."""

    scores: tuple[float, ...]
    num_computed_tokens: int = 0
    num_cached_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFormat:
    """How a model writes tool calls as JSON, for calls that a grammar forces.

    A text is `prefix`, calls joined by `separator`, `suffix`; a call is `begin`, an object with
    "name" and `arguments_key`, `end`.
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
    """An engine that decodes many sequences, one token each per `step`."""

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

    def add(self, request: GenerationRequest) -> None:
        """Queues a request.

        Raises:
            CapacityError: Prompt plus one token is longer than the context.
        """
        ...

    def step(self) -> list[GenerationOutput]:
        """One iteration: at most a few new tokens for each running request.

        Raises:
            BackendError: The engine failed; every request in flight is lost.
        """
        ...

    def abort(self, request_ids: Sequence[str]) -> None:
        """Ends requests and frees what they hold; unknown ids are ignored.

        No output of an aborted request appears in any later `step`.
        """
        ...

    def num_unfinished(self) -> int:
        """Requests added and neither finished nor aborted."""
        ...

    def pressure(self) -> MemoryPressure:
        """How full the KV cache is; cheap enough to ask at every iteration."""
        ...

    @property
    def call_format(self) -> CallFormat | None:
        """How calls are written where that is one of ours; None where it is another way."""
        ...

    @property
    def call_marker(self) -> str | None:
        """What every tool call of this model begins with; None where calls begin in other ways.

        The content of a parsed text with calls is the text before the first marker.
        """
        ...

    def parse_tool_calls(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedOutput:
        """Separates tool calls from text in the format of this model."""
        ...

    def close(self) -> None:
        """Frees the engine's memory; safe to call twice."""
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


def fingerprint(part: object) -> str | None:
    """Who a model or a function is, whatever it is called; None where that is not known.

    It is the text in an attribute `fingerprint`, which changes with everything that changes what
    the part computes. Backends work theirs out; a Python function has one if its author gives it.
    Only the result cache asks.
    """
    found = getattr(part, "fingerprint", None)
    return found if isinstance(found, str) and found else None
