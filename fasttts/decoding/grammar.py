"""Token masks of answers that follow a grammar; the same on every backend.

The allowed tokens are a function of the answer's tokens alone. A sequence that begins in the middle
of an answer, as every step of a search does, gets the tokens before it at its start.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fasttts.errors import BackendError

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

_GRAMMARS_KEPT = 64


class Constraint:
    """The state of one sequence in its grammar.

    Args:
        matcher: A matcher at the beginning of the sequence; owned by this object.
        vocab_size: Width of the mask.
    """

    def __init__(self, matcher: "LLMatcher", vocab_size: int) -> None:
        self._matcher = matcher
        self._mask = np.zeros((vocab_size + 31) // 32, dtype=np.int32)
        self._vocab_size = vocab_size
        self._num_taken = 0

    def copy(self) -> "Constraint":
        """Returns an independent constraint in the same state."""
        copy = Constraint(self._matcher.deep_copy(), self._vocab_size)
        copy._num_taken = self._num_taken
        return copy

    def allowed(self, token_ids: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Mask of the tokens that may follow, shape [V]; after a complete answer only end tokens.

        Args:
            token_ids: All tokens of the sequence so far; those of earlier calls first.
        """
        self._matcher.consume_tokens(list(token_ids[self._num_taken :]))
        self._num_taken = len(token_ids)
        self._matcher.unsafe_compute_mask_ptr(self._mask.ctypes.data, self._mask.nbytes)
        bits = np.unpackbits(self._mask.view(np.uint8), bitorder="little")
        return bits[: self._vocab_size].astype(np.bool_)


class Constraints:
    """Makes constraints for one model and keeps its compiled grammars.

    Args:
        make_tokenizer: Makes llguidance's view of the vocabulary on first use, which takes a second
            for a large vocabulary.
        vocab_size: Width of the model's logits.
    """

    def __init__(self, make_tokenizer: Callable[[], "LLTokenizer"], vocab_size: int) -> None:
        self._make_tokenizer = make_tokenizer
        self._tokenizer: LLTokenizer | None = None
        self._vocab_size = vocab_size
        self._matchers: dict[str, LLMatcher] = {}

    def start(self, grammar: str, answer_token_ids: Sequence[int]) -> Constraint:
        """Makes the constraint of a sequence.

        Args:
            grammar: A grammar from `StructuredOutputs.decoding_grammar`.
            answer_token_ids: The answer before the sequence.

        Raises:
            BackendError: The grammar names tokens that this model does not have.
        """
        matcher = self._matcher(grammar).deep_copy()
        matcher.consume_tokens(list(answer_token_ids))
        return Constraint(matcher, self._vocab_size)

    def _matcher(self, grammar: str) -> "LLMatcher":
        """Returns a matcher in its initial state; compiled once for all sequences of a search."""
        from llguidance import LLMatcher

        if self._tokenizer is None:
            self._tokenizer = self._make_tokenizer()
        matcher = self._matchers.pop(grammar, None) or LLMatcher(self._tokenizer, grammar)
        if matcher.is_error():
            problem = matcher.get_error().partition("\n")[0]
            message = f"the structured outputs do not fit this model's vocabulary: {problem}"
            raise BackendError(message, role="generator")
        self._matchers[grammar] = matcher
        while len(self._matchers) > _GRAMMARS_KEPT:
            del self._matchers[next(iter(self._matchers))]
        return matcher
