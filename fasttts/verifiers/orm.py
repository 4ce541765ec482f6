"""Outcome reward models: one value for an answer, read at its last token."""

from typing import ClassVar

from fasttts.verifiers.prompt_formats import (
    SYSTEM_PROMPT,
    StepPrompt,
    VerifierFormat,
    VerifierTokenizer,
    turns,
)


class OrmFormat(VerifierFormat):
    r"""A conversation of the problem and the answer so far; the score is at its last token.

    Steps of an answer are joined by blank lines. Scores of first steps are unreliable where a model
    was trained on whole answers only: use it with best-of-N.

    Args:
        tokenizer: The verifier's tokenizer.
        name: The verifier, for messages.

    Raises:
        ConfigurationError: There is no chat template.
    """

    system_prompt: ClassVar[str | None] = None

    def __init__(self, tokenizer: VerifierTokenizer, name: str) -> None:
        self._tokenizer = tokenizer
        self.prompt("", ("",))

    def prompt(self, problem: str, steps: tuple[str, ...]) -> StepPrompt:
        """Makes the prompt that scores the answer up to the last of `steps`."""
        said = turns(("user", problem), ("assistant", "\n\n".join(steps)))
        if self.system_prompt is not None:
            said = [*turns(("system", self.system_prompt)), *said]
        token_ids = tuple(self._tokenizer.encode_conversation(said))
        return StepPrompt(token_ids=token_ids, positions=(len(token_ids) - 1,))


class QwenRewardFormat(OrmFormat):
    """Qwen2.5-Math-RM: an outcome reward model that is asked with Qwen's system message.

    Source: "Quick Start" in `README.md` of the repository QwenLM/Qwen2.5-Math. The value is that of
    the last token, as in SGLang's model of this class, `Qwen2ForRewardModel`.

    Args:
        tokenizer: The verifier's tokenizer.
        name: The verifier, for messages.

    Raises:
        ConfigurationError: There is no chat template.
    """

    system_prompt = SYSTEM_PROMPT
