"""Prompt formats of language models that score by the probabilities of their next token.

The score is the probability of the good token against the bad one, at the position before it.
"""

import abc
import re
from functools import lru_cache

from fasttts.errors import ConfigurationError
from fasttts.verifiers.prompt_formats import (
    StepPrompt,
    VerifierFormat,
    VerifierTokenizer,
    last_token,
    only_token,
    turns,
)

SHEPHERD_TAG = "ки"
"""The token after a step at which Math-Shepherd gives its score."""

GOOD, BAD = "+", "-"

_STRAY_TAG = re.compile(rf"(?<!\w){SHEPHERD_TAG}(?!\w)")
_TEXTS_KEPT = 2048


class _GrowingText(VerifierFormat):
    """A text that grows step by step and is tokenised as a whole each time.

    Raises:
        ConfigurationError: The tokens of a longer text do not begin with those of a shorter one.
    """

    covers_steps = True

    def __init__(self, tokenizer: VerifierTokenizer, name: str) -> None:
        self._tokenizer = tokenizer
        self.choices = (last_token(tokenizer, GOOD, name), last_token(tokenizer, BAD, name))
        self._token_ids = lru_cache(_TEXTS_KEPT)(self._encode)
        short, long = self._encode("1 + 1?", ("2",)), self._encode("1 + 1?", ("2", "Yes."))
        if long[: len(short)] != short:
            raise ConfigurationError(
                f"verifier={name!r}: its tokenizer or chat template changes what comes before as "
                "a text grows, so steps cannot be scored one by one"
            )

    def prompt(self, problem: str, steps: tuple[str, ...]) -> StepPrompt:
        """Makes the prompt that scores all of `steps`."""
        ends = range(1, len(steps) + 1)
        prefixes = [self._token_ids(problem, steps[:end]) for end in ends]
        positions = tuple(len(prefix) - 1 for prefix in prefixes)
        return StepPrompt(token_ids=prefixes[-1], positions=positions)

    @abc.abstractmethod
    def _encode(self, problem: str, steps: tuple[str, ...]) -> tuple[int, ...]:
        """Encodes the whole text."""


class ShepherdFormat(_GrowingText):
    """Math-Shepherd: numbered steps, each ended by a tag, after the problem.

    The text is tokenised as a whole because SentencePiece marks the beginning of each text. The tag
    is an ordinary token; where the problem or a step has it, it is dropped.
    Source: the model card of peiyi9979/math-shepherd-mistral-7b-prm (arXiv 2312.08935).

    Args:
        tokenizer: The verifier's tokenizer.
        name: The verifier, for messages.

    Raises:
        ConfigurationError: The tokenizer has no step tag.
    """

    def __init__(self, tokenizer: VerifierTokenizer, name: str) -> None:
        self._tag = only_token(tokenizer, SHEPHERD_TAG, name)
        self._bos = () if tokenizer.bos_token_id is None else (tokenizer.bos_token_id,)
        super().__init__(tokenizer, name)

    def _encode(self, problem: str, steps: tuple[str, ...]) -> tuple[int, ...]:
        numbered = [_numbered(step, number) for number, step in enumerate(steps, 1)]
        head = f"{_STRAY_TAG.sub('', problem)} "
        token_ids = self._tokenizer.encode(head + "\n".join(numbered))
        if token_ids.count(self._tag) != len(steps):  # the tag is also a part of Russian words
            texts = (head + "\n".join(numbered[:end]) for end in range(1, len(steps) + 1))
            ends = {len(self._tokenizer.encode(text)) - 1 for text in texts}
            places = enumerate(token_ids)
            token_ids = [token for i, token in places if token != self._tag or i in ends]
        return (*self._bos, *token_ids)


class ConversationFormat(_GrowingText):
    """RLHFlow: each step is a user's turn, to which the model replies with + or -.

    Replies to earlier steps count as +. Source: `math-rm/prm_evaluate.py` in the repository
    RLHFlow/RLHF-Reward-Modeling.

    Args:
        tokenizer: The verifier's tokenizer.
        name: The verifier, for messages.

    Raises:
        ConfigurationError: There is no chat template, or it rewrites earlier turns.
    """

    def _encode(self, problem: str, steps: tuple[str, ...]) -> tuple[int, ...]:
        said = [f"{problem} {steps[0]}", *steps[1:]]
        spoken = [turn for step in said for turn in (("user", step), ("assistant", GOOD))]
        return tuple(self._tokenizer.encode_chat(turns(*spoken[:-1])))


def _numbered(step: str, number: int) -> str:
    """A step with its number and its tag; a tag written by the generator itself is dropped."""
    text = _STRAY_TAG.sub("", step).strip()
    head = f"Step {number}:"
    return f"{text if text.startswith(head) else f'{head} {text}'} {SHEPHERD_TAG}"
