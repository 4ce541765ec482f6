"""Process reward models with a class for each token, as TRL trains them."""

from fasttts.errors import ConfigurationError
from fasttts.verifiers.prompt_formats import TaggedSteps, VerifierTokenizer

DEFAULT_STEP_SEPARATOR = "\n"
"""TRL's default, `PRMConfig.step_separator`; a checkpoint does not say which one it was."""


class TokenClassFormat(TaggedSteps):
    """TRL's PRMTrainer: the problem, then each step and the separator, whose last token is classed.

    Problem, steps and separator are tokenised each by itself, and nothing is put between them. Of
    the two classes, the second is that of a right step (`int(label)` of a boolean).
    Source: `PRMTrainer.tokenize_row` in `trl/experimental/prm/prm_trainer.py` and
    `PRMConfig.step_separator` in `prm_config.py` there, of the repository huggingface/trl.

    Args:
        tokenizer: The verifier's tokenizer.
        name: The verifier, for messages.
        step_separator: The separator that the model was trained with.
        good_label: The class of a right step, 0 or 1.

    Raises:
        ConfigurationError: The tokenizer makes no token of the separator.
    """

    def __init__(
        self,
        tokenizer: VerifierTokenizer,
        name: str,
        *,
        step_separator: str = DEFAULT_STEP_SEPARATOR,
        good_label: int = 1,
    ) -> None:
        separator = tokenizer.encode(step_separator)
        if not separator:
            raise ConfigurationError(
                f"verifier={name!r}: its tokenizer makes no token of "
                f"step_separator={step_separator!r}"
            )
        super().__init__(tokenizer, separator)
        self.is_inverted = good_label == 0

    def _encode_problem(self, problem: str) -> tuple[int, ...]:
        bos = self._tokenizer.bos_token_id
        return (*(() if bos is None else (bos,)), *self._tokenizer.encode(problem))
