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
from fasttts.verifiers.thought import Thought

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

    def encode_reply(self, messages: Sequence[Message], opening: str) -> list[int]:
        """Renders a conversation and opens the assistant's turn, whose text begins with `opening`.

        Args:
            messages: The conversation.
            opening: A format's own text, never a content; it is tokenised together with the
                template's text.
        """
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


class VerifierFormat(abc.ABC):
    """Prompt format of one family of verifiers.

    Attributes:
        covers_steps: Whether a prompt holds every step's score position. If not, the text that
            follows the steps is not part of the next step's prompt, and each step is read alone.
        choices: The tokens whose probabilities are compared at a score position, from the best to
            the worst; None where the model gives values there. The best is worth 1, the worst 0,
            those between are evenly spaced, and the score is the expected worth.
        is_inverted: Whether the model states the opposite of a score, such as how probable a
            mistake is: the score is then one minus its statement.
        thought: What the model writes before its score is read; None where it writes nothing.
    """

    covers_steps: bool = False
    choices: tuple[int, ...] | None = None
    is_inverted: bool = False
    thought: Thought | None = None

    @property
    def variants(self) -> "Sequence[VerifierFormat]":
        """The formats whose scores are averaged; this one alone in most families.

        They have the same `choices` and `thought`.
        """
        return (self,)

    @property
    def num_reserved_tokens(self) -> int:
        """Tokens of the context that follow a prompt."""
        return 0 if self.thought is None else self.thought.num_tokens

    @abc.abstractmethod
    def prompt(self, problem: str, steps: tuple[str, ...]) -> StepPrompt:
        """Makes the prompt that scores `steps`.

        Args:
            problem: The text the steps answer.
            steps: At least one step, stripped of separators.
        """


class TaggedSteps(VerifierFormat):
    """A problem's tokens, then each step and the tokens after it, the last of which has its score.

    Problems and steps are tokenised once each; both caches are bounded.

    Args:
        tokenizer: The verifier's tokenizer.
        tag: The tokens after a step.
    """

    covers_steps = True

    def __init__(self, tokenizer: VerifierTokenizer, tag: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._tag = tuple(tag)
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
        return (*self._tokenizer.encode(step), *self._tag)


class ProcessRewardFormat(TaggedSteps):
    """Qwen2.5-Math-PRM: the chat template, then each step followed by a step tag.

    Source: the model card of Qwen/Qwen2.5-Math-PRM-7B.

    Args:
        tokenizer: The verifier's tokenizer.
        name: The verifier, for messages.

    Raises:
        ConfigurationError: The tokenizer has no step tag.
    """

    system_prompt: ClassVar[str | None] = SYSTEM_PROMPT

    def __init__(self, tokenizer: VerifierTokenizer, name: str) -> None:
        super().__init__(tokenizer, [only_token(tokenizer, STEP_TAG, name)])

    def _encode_problem(self, problem: str) -> tuple[int, ...]:
        asked = turns(("user", problem))
        if self.system_prompt is not None:
            asked = [*turns(("system", self.system_prompt)), *asked]
        return self._untagged(self._tokenizer.encode_chat(asked))

    def _encode_step(self, step: str) -> tuple[int, ...]:
        return (*self._untagged(self._tokenizer.encode(step)), *self._tag)

    def _untagged(self, token_ids: Sequence[int]) -> tuple[int, ...]:
        """Drops the tag from a problem or a step, where the tokenizer does not write it as text."""
        return tuple(token_id for token_id in token_ids if token_id not in self._tag)


class ReasonFluxFormat(ProcessRewardFormat):
    """ReasonFlux-PRM: as Qwen2.5-Math-PRM, without a system message of ours.

    Source: "Model Usage" of ReasonFlux-PRM-7B in `ReasonFlux_PRM/README.md`, and
    `make_step_rewards` in `ReasonFlux_PRM/utils/rm_utils.py`, of the repository
    Gen-Verse/ReasonFlux (arXiv 2506.18896).

    Args:
        tokenizer: The verifier's tokenizer.
        name: The verifier, for messages.

    Raises:
        ConfigurationError: The tokenizer has no step tag.
    """

    system_prompt = None


class ValueHeadFormat(TaggedSteps):
    """Skywork-o1-Open-PRM: the problem and each step on a line; the score is at the line's end.

    Source: `prepare_input` in the repository SkyworkAI/skywork-o1-prm-inference.

    Args:
        tokenizer: The verifier's tokenizer.
        name: The verifier, for messages.
    """

    def __init__(self, tokenizer: VerifierTokenizer, name: str) -> None:
        super().__init__(tokenizer, [last_token(tokenizer, "\n", name)])

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
