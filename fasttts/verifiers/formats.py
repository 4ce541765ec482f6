"""Prompt formats of process reward models: where each step's score is read.

Prompts end at the newest step's score position. So the prompt of a longer path extends that of a
shorter one token by token, and a prefix cache serves it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from fasttts.backends.base import Tokenizer
from fasttts.errors import ConfigurationError

STEP_TAG = "<extra_0>"
"""The token after a step at which Qwen's process reward models give its score."""

SYSTEM_PROMPT = "Please reason step by step, and put your final answer within \\boxed{}."
"""The system message these models were trained with."""

_PROBLEMS_KEPT = 256
_STEPS_KEPT = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPrompt:
    """A path as the verifier reads it.

    Attributes:
        token_ids: The prompt; its last token is the newest step's score position.
        positions: Where each step's score is read, one index into `token_ids` a step.
    """

    token_ids: tuple[int, ...]
    positions: tuple[int, ...]


class VerifierFormat(Protocol):
    """How one family of verifiers is prompted."""

    def prompt(self, problem: str, steps: tuple[str, ...]) -> StepPrompt:
        """The prompt that scores all of `steps`."""
        ...


class ProcessRewardFormat:
    """Qwen2.5-Math-PRM: the chat template, then each step followed by a step tag.

    Problems and steps are tokenised once each; both memories are bounded.

    Args:
        tokenizer: The verifier's tokenizer.
        name: The verifier, for messages.

    Raises:
        ConfigurationError: The tokenizer has no step tag.
    """

    def __init__(self, tokenizer: Tokenizer, name: str) -> None:
        tag = tokenizer.encode(STEP_TAG)
        if len(tag) != 1:
            raise ConfigurationError(
                f"verifier={name!r}: its tokenizer has no token {STEP_TAG}: use the tokenizer the "
                "process reward model was trained with"
            )
        self._tokenizer = tokenizer
        self._tag = tag[0]
        self._problem_tokens = lru_cache(_PROBLEMS_KEPT)(self._encode_problem)
        self._step_tokens = lru_cache(_STEPS_KEPT)(self._encode_step)

    def prompt(self, problem: str, steps: tuple[str, ...]) -> StepPrompt:
        """The prompt that scores all of `steps`."""
        token_ids = list(self._problem_tokens(problem))
        positions = []
        for step in steps:
            token_ids += self._step_tokens(step)
            positions.append(len(token_ids) - 1)
        return StepPrompt(token_ids=tuple(token_ids), positions=tuple(positions))

    def _encode_problem(self, problem: str) -> tuple[int, ...]:
        messages = [
            {"role": "system", "content": SYSTEM_PROMPT},
            {"role": "user", "content": problem},
        ]
        return tuple(self._tokenizer.encode_chat(messages))

    def _encode_step(self, step: str) -> tuple[int, ...]:
        """The step and its tag; a tag written by the generator itself is dropped."""
        own = [token for token in self._tokenizer.encode(step) if token != self._tag]
        return (*own, self._tag)


FORMATS: Mapping[str, Callable[[Tokenizer, str], VerifierFormat]] = {
    "process-reward": ProcessRewardFormat,
}
"""Prompt formats by name; each is built from the verifier's tokenizer and its name."""
