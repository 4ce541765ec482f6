"""Token masks of answers that follow a grammar; the same on every backend.

The allowed tokens are a function of the answer's tokens alone. A sequence that begins in the middle
of an answer, as every step of a search does, gets the tokens before it at its start.

A constraint can be sent to another process, which begins it anew from its grammar: `serve_received`
says there for which vocabulary.
"""

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fasttts.decoding.grammar_failures import failure, first_problem
from fasttts.decoding.grammar_limits import parser_limits
from fasttts.errors import BackendError, ConfigurationError

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

_GRAMMARS_KEPT = 64
_ENDS = ("NoExtension", "EndOfSentence")
"""llguidance's reasons to stop where the answer is complete."""


class CompiledGrammar:
    """A grammar compiled for one vocabulary.

    Args:
        matcher: A matcher in its initial state; owned by this object and never advanced.
    """

    def __init__(self, matcher: "LLMatcher") -> None:
        self._matcher = matcher

    def start(self) -> "LLMatcher":
        """Returns a matcher of its own for one sequence."""
        return self._matcher.deep_copy()


class Constraint:
    """The state of one sequence in its grammar.

    Args:
        matcher: A matcher at the beginning of the sequence; owned by this object.
        vocab_size: Width of the mask.
        beginning: The grammar, and the answer before the sequence.

    Attributes:
        is_received: Whether it came from another process, which has the sequence's owner.
    """

    def __init__(
        self, matcher: "LLMatcher", vocab_size: int, beginning: tuple[str, tuple[int, ...]]
    ) -> None:
        self.is_received = False
        self._matcher = matcher
        self._beginning = beginning
        self._mask = np.zeros((vocab_size + 31) // 32, dtype=np.int32)
        self._vocab_size = vocab_size
        self._num_taken = 0
        self._is_ended = False
        """Whether the answer is complete: only end tokens follow, whatever was drawn since."""
        self._failures: list[BackendError] = []
        """At most one; shared with copies, of which a backend reads only one."""

    @property
    def failure(self) -> BackendError | None:
        """Why nothing more can be decoded by the grammar; None while it works."""
        return self._failures[0] if self._failures else None

    def copy(self) -> "Constraint":
        """Returns a constraint in the same state; a failure of either is one of both."""
        copy = Constraint(self._matcher.deep_copy(), self._vocab_size, self._beginning)
        copy._num_taken, copy._is_ended = self._num_taken, self._is_ended
        copy._mask[:] = self._mask
        copy._failures = self._failures
        return copy

    def __reduce__(self) -> tuple[object, ...]:
        return _received, self._beginning

    def take(self, token_ids: Sequence[int]) -> None:
        """Notes new tokens of the sequence, so that `failure` is known without a mask.

        Args:
            token_ids: Those behind all that were noted before.
        """
        if not self._is_ended and self.failure is None:
            self._consume(token_ids)

    def allowed(self, token_ids: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Mask of the tokens that may follow, shape [V]; after a complete answer only end tokens.

        Where the grammar has failed, see `failure`, every token is allowed: the sequence has to be
        ended, and what is drawn from this mask must not be used.

        Args:
            token_ids: All tokens of the sequence so far; those of earlier calls first.
        """
        if not self._is_ended and self.failure is None:
            self._consume(token_ids[self._num_taken :])
        if self.failure is not None:
            return np.ones(self._vocab_size, dtype=np.bool_)
        bits = np.unpackbits(self._mask.view(np.uint8), bitorder="little")
        return bits[: self._vocab_size].astype(np.bool_)

    def _consume(self, token_ids: Sequence[int]) -> None:
        """Reads new tokens and computes the mask behind them."""
        matcher = self._matcher
        matcher.consume_tokens(list(token_ids))
        self._num_taken += len(token_ids)
        self._is_ended = matcher.is_stopped() and matcher.stop_reason() in _ENDS
        matcher.unsafe_compute_mask_ptr(self._mask.ctypes.data, self._mask.nbytes)
        if matcher.is_error() and not self._is_ended:  # a mask behind the end is an error too
            self._failures.append(failure(matcher))


class Constraints:
    """Makes constraints for one model and keeps its compiled grammars.

    `compile` may be called from any thread, `start` from that of the model's owner.

    Args:
        make_tokenizer: Makes llguidance's view of the vocabulary on first use, which takes a second
            for a large vocabulary.
        vocab_size: Width of the model's logits.
    """

    def __init__(self, make_tokenizer: Callable[[], "LLTokenizer"], vocab_size: int) -> None:
        self._make_tokenizer = make_tokenizer
        self._tokenizer: LLTokenizer | None = None
        self._vocab_size = vocab_size
        self._lock = threading.Lock()
        self._recent: dict[str, CompiledGrammar] = {}
        self._grammars: weakref.WeakValueDictionary[str, CompiledGrammar]
        self._grammars = weakref.WeakValueDictionary()
        """All in use, the recent ones among them."""

    def compile(self, grammar: str) -> CompiledGrammar:
        """Compiles a grammar, once for all searches.

        Args:
            grammar: A grammar from `StructuredOutputs.decoding_grammar`.

        Raises:
            ConfigurationError: The grammar names tokens that this model does not have, is too large
                with its vocabulary, or has no first token.
        """
        compiled = self._grammars.get(grammar) or self._compile(grammar)
        with self._lock:
            self._recent.pop(grammar, None)
            self._recent[grammar] = self._grammars[grammar] = compiled
            while len(self._recent) > _GRAMMARS_KEPT:
                del self._recent[next(iter(self._recent))]
        return compiled

    def start(self, grammar: str, answer_token_ids: Sequence[int]) -> Constraint:
        """Makes the constraint of a sequence.

        The caller keeps what `compile` returned until the sequence ends; otherwise the grammar may
        be compiled here.

        Args:
            grammar: A grammar from `StructuredOutputs.decoding_grammar`.
            answer_token_ids: The answer before the sequence.

        Raises:
            BackendError: It cannot be compiled, or fails on the answer.
        """
        try:
            compiled = self._grammars.get(grammar) or self.compile(grammar)
        except ConfigurationError as error:
            raise BackendError(str(error), role="generator") from error
        matcher = compiled.start()
        matcher.consume_tokens(list(answer_token_ids))
        if matcher.is_error():
            raise failure(matcher)
        return Constraint(matcher, self._vocab_size, (grammar, tuple(answer_token_ids)))

    def _compile(self, grammar: str) -> CompiledGrammar:
        from llguidance import LLMatcher

        with self._lock:
            if self._tokenizer is None:
                self._tokenizer = self._make_tokenizer()
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0, limits=parser_limits())
        if matcher.is_error():
            problem = matcher.get_error().partition("\n")[0]
            raise ConfigurationError(
                f"the structured outputs do not fit this model's vocabulary: {problem}"
            )
        if problem := first_problem(matcher):
            raise ConfigurationError(f"the structured outputs cannot be followed: {problem}")
        return CompiledGrammar(matcher)


_of_received: list[Constraints] = []
"""At most one: that of the model of which this process computes a part."""


def serve_received(constraints: Constraints) -> None:
    """Has constraints that other processes send begin with the vocabulary of these.

    Args:
        constraints: Those of the model.
    """
    _of_received[:] = [constraints]


def _received(grammar: str, answer_token_ids: Sequence[int]) -> Constraint:
    constraint = _of_received[0].start(grammar, answer_token_ids)
    constraint.is_received = True
    return constraint
