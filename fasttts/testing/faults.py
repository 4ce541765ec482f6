"""Backends that fail at chosen calls.

    generator = FaultyGenerator(FakeGenerator(), {5: BackendError("lost", role="generator")})

The keys are numbers of calls, 1 for the first. docs/engine.md describes what each fault does to the
calls in flight.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from fasttts.decoding.tokenizer import Tokenizer
from fasttts.interfaces import (
    CallFormat,
    GenerationOutput,
    GenerationRequest,
    Generator,
    MemoryPressure,
    Verification,
    VerificationRequest,
    Verifier,
    max_draft_tokens,
    set_draft_tokens,
)
from fasttts.scheduling.recovery import is_retryable
from fasttts.types import ParsedOutput

BadScores = Literal["nan", "range", "few scores", "few answers"]
"""Scores that are not a number, or above 1; too few of them for a path, or for the batch."""


class FaultyGenerator:
    """A generator whose iterations raise.

    Args:
        inner: The generator that decodes otherwise; it loses its requests with each fault.
        faults: Errors by the number of the call of `step`.
        dies: Whether every call after a fault that is not retryable raises the same.
    """

    def __init__(
        self, inner: Generator, faults: Mapping[int, Exception], *, dies: bool = False
    ) -> None:
        self._inner = inner
        self._faults = dict(faults)
        self._dies = dies
        self._dead: Exception | None = None
        self._request_ids: set[str] = set()
        self.num_steps = 0

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def tokenizer(self) -> Tokenizer:
        return self._inner.tokenizer

    @property
    def max_model_len(self) -> int:
        return self._inner.max_model_len

    @property
    def max_num_seqs(self) -> int:
        return self._inner.max_num_seqs

    @property
    def call_format(self) -> CallFormat | None:
        return self._inner.call_format

    @property
    def call_marker(self) -> str | None:
        return self._inner.call_marker

    @property
    def max_draft_tokens(self) -> int:
        return max_draft_tokens(self._inner)

    def set_draft_tokens(self, number: int, fewer: Mapping[str, int]) -> None:
        set_draft_tokens(self._inner, number, fewer)

    def compile_grammar(self, grammar: str) -> object:
        return self._inner.compile_grammar(grammar)

    def add(self, request: GenerationRequest) -> None:
        self._check_alive()
        self._inner.add(request)
        self._request_ids.add(request.request_id)

    def step(self) -> list[GenerationOutput]:
        self._check_alive()
        self.num_steps += 1
        error = self._faults.get(self.num_steps)
        if error is not None:
            self._inner.abort(sorted(self._request_ids))
            self._request_ids.clear()
            self._dead = error if self._dies and not is_retryable(error) else None
            raise error
        return self._inner.step()

    def abort(self, request_ids: Sequence[str]) -> None:
        self._check_alive()
        self._request_ids.difference_update(request_ids)
        self._inner.abort(request_ids)

    def num_unfinished(self) -> int:
        return self._inner.num_unfinished()

    def pressure(self) -> MemoryPressure:
        return self._inner.pressure()

    def parse_tool_calls(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedOutput:
        return self._inner.parse_tool_calls(text, tools)

    def close(self) -> None:
        self._inner.close()

    def _check_alive(self) -> None:
        if self._dead is not None:
            raise self._dead


class FaultyVerifier:
    """A verifier whose calls raise, or return invalid scores.

    Args:
        inner: The verifier that scores otherwise.
        faults: Errors, or kinds of invalid scores, by the number of the call.
    """

    def __init__(self, inner: Verifier, faults: Mapping[int, Exception | BadScores]) -> None:
        self._inner = inner
        self._faults = dict(faults)
        self.num_calls = 0

    @property
    def name(self) -> str:
        return self._inner.name

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        self.num_calls += 1
        fault = self._faults.get(self.num_calls)
        if isinstance(fault, Exception):
            raise fault
        answers = self._inner.score(requests)
        if fault is None:
            return answers
        if fault == "few answers":
            return answers[:-1]
        bad = {"nan": (float("nan"),), "range": (1.5,), "few scores": ()}[fault]
        first, *rest = answers
        return [replace(first, scores=first.scores[:-1] + bad), *rest]

    def close(self) -> None:
        self._inner.close()
