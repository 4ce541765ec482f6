"""Prompt formats of verifiers: where each step's score is read.

Prompts end at the newest step's score position. So the prompt of a longer path extends that of a
shorter one token by token, and a prefix cache serves it.
"""

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Protocol

from fasttts.decoding.tokenizer import Tokenizer
from fasttts.errors import ConfigurationError
from fasttts.types import Message

STEP_TAG = "<extra_0>"
"""The token after a step at which Qwen's process reward models give its score."""

SYSTEM_PROMPT = "Please reason step by step, and put your final answer within \\boxed{}."
"""The system message these models were trained with."""

_PROBLEMS_KEPT = 256
_STEPS_KEPT = 16_384


class VerifierTokenizer(Tokenizer, Protocol):
    """The tokenizer of a verifier's model."""

    @property
    def bos_token_id(self) -> int | None:
        """The token that begins a text; None where the model has none."""
        ...

    def token_id(self, text: str) -> int | None:
        """Returns the id of a token, which may be a control token; None if `text` is not one."""
        ...

    def encode_conversation(self, messages: Sequence[Message]) -> list[int]:
        """Renders a finished conversation with the chat template, without opening another turn."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPrompt:
    """Prompt tokens of a path and the positions of its scores.

    Attributes:
        token_ids: The prompt; its last token is the newest step's score position.
        positions: Where each step's score is read, one index into `token_ids` a step; only the
            newest step's where the format does not cover the earlier ones.
    """

    token_ids: tuple[int, ...]
    positions: tuple[int, ...]


class VerifierFormat(Protocol):
    """Prompt format of one family of verifiers."""

    @property
    def covers_steps(self) -> bool:
        """Whether a prompt holds every step's score position.

        If not, the text that follows the steps is not part of the next step's prompt, and each step
        is read alone.
        """
        ...

    @property
    def choices(self) -> tuple[int, int] | None:
        """The tokens whose probabilities are compared at a score position, the good one first.

        None where the model gives a value there.
        """
        ...

    def prompt(self, problem: str, steps: tuple[str, ...]) -> StepPrompt:
        """Makes the prompt that scores `steps`.

        Args:
            problem: The text the steps answer.
            steps: At least one step, stripped of separators.
        """
        ...


class _TaggedSteps(abc.ABC):
    """A problem's tokens, then each step and the token after it.

    Problems and steps are tokenised once each; both caches are bounded.
    """

    covers_steps: ClassVar[bool] = True
    choices: ClassVar[tuple[int, int] | None] = None

    def __init__(self, tokenizer: VerifierTokenizer, tag: int) -> None:
        self._tokenizer = tokenizer
        self._tag = tag
        self._problem_tokens = lru_cache(_PROBLEMS_KEPT)(self._encode_problem)
        self._step_tokens = lru_cache(_STEPS_KEPT)(self._encode_step)

    def prompt(self, problem: str, steps: tuple[str, ...]) -> StepPrompt:
        """Makes the prompt that scores all of `steps`."""
        token_ids = list(self._problem_tokens(problem))
        positions = []
        for step in steps:
            token_ids += self._step_tokens(step)
            positions.append(len(token_ids) - 1)
        return StepPrompt(token_ids=tuple(token_ids), positions=tuple(positions))

    @abc.abstractmethod
    def _encode_problem(self, problem: str) -> tuple[int, ...]:
        """Encodes everything before the first step."""

    def _encode_step(self, step: str) -> tuple[int, ...]:
        return (*self._tokenizer.encode(step), self._tag)


class ProcessRewardFormat(_TaggedSteps):
    """Qwen2.5-Math-PRM: the chat template, then each step followed by a step tag.

    Source: the model card of Qwen/Qwen2.5-Math-PRM-7B.

    Args:
        tokenizer: The verifier's tokenizer.
        name: The verifier, for messages.

    Raises:
        ConfigurationError: The tokenizer has no step tag.
    """

    def __init__(self, tokenizer: VerifierTokenizer, name: str) -> None:
        super().__init__(tokenizer, only_token(tokenizer, STEP_TAG, name))

    def _encode_problem(self, problem: str) -> tuple[int, ...]:
        messages = [
            {"role": "system", "content": SYSTEM_PROMPT},
            {"role": "user", "content": problem},
        ]
        return self._untagged(self._tokenizer.encode_chat(messages))

    def _encode_step(self, step: str) -> tuple[int, ...]:
        return (*self._untagged(self._tokenizer.encode(step)), self._tag)

    def _untagged(self, token_ids: Sequence[int]) -> tuple[int, ...]:
        """Drops the tag from a problem or a step, where the tokenizer does not write it as text."""
        return tuple(token_id for token_id in token_ids if token_id != self._tag)


class ValueHeadFormat(_TaggedSteps):
    """Skywork-o1-Open-PRM: the problem and each step on a line; the score is at the line's end.

    Source: `prepare_input` in the repository SkyworkAI/skywork-o1-prm-inference.

    Args:
        tokenizer: The verifier's tokenizer.
        name: The verifier, for messages.
    """

    def __init__(self, tokenizer: VerifierTokenizer, name: str) -> None:
        super().__init__(tokenizer, last_token(tokenizer, "\n", name))

    def _encode_problem(self, problem: str) -> tuple[int, ...]:
        bos = self._tokenizer.bos_token_id
        return (*(() if bos is None else (bos,)), *self._tokenizer.encode(f"{problem}\n"))


def only_token(tokenizer: VerifierTokenizer, text: str, name: str) -> int:
    """Returns the token of a text that is a single token.

    Args:
        tokenizer: The verifier's tokenizer.
        text: The text of the token.
        name: The verifier, for messages.

    Raises:
        ConfigurationError: The text is no token, or several.
    """
    token_id = tokenizer.token_id(text)
    if token_id is None:
        raise ConfigurationError(
            f"verifier={name!r}: its tokenizer has no token {text}: use the tokenizer the "
            "process reward model was trained with"
        )
    return token_id


def last_token(tokenizer: Tokenizer, text: str, name: str) -> int:
    """Returns the last token of a text; tokenizers differ in the tokens they put before it.

    Args:
        tokenizer: The verifier's tokenizer.
        text: The text.
        name: The verifier, for messages.

    Raises:
        ConfigurationError: The text has no tokens.
    """
    token_ids = tokenizer.encode(text)
    if not token_ids:
        raise ConfigurationError(f"verifier={name!r}: its tokenizer makes no token of {text!r}")
    return token_ids[-1]


def turns(*contents: tuple[str, str]) -> list[Mapping[str, Any]]:
    """Makes messages from pairs of role and content."""
    return [{"role": role, "content": content} for role, content in contents]
