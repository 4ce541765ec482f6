"""Outcome reward models: one value for an answer, read at its last token."""

from fasttts.verifiers.prompt_formats import StepPrompt, VerifierTokenizer, turns


class OrmFormat:
    r"""A conversation of the problem and the answer so far; the score is at its last token.

    Steps of an answer are joined by blank lines. Scores of first steps are unreliable where a model
    was trained on whole answers only: use it with best-of-N.

    Args:
        tokenizer: The verifier's tokenizer.
        name: The verifier, for messages.

    Raises:
        ConfigurationError: There is no chat template.
    """

    covers_steps = False
    choices = None

    def __init__(self, tokenizer: VerifierTokenizer, name: str) -> None:
        self._tokenizer = tokenizer
        self.prompt("", ("",))

    def prompt(self, problem: str, steps: tuple[str, ...]) -> StepPrompt:
        """Makes the prompt that scores the answer up to the last of `steps`."""
        said = turns(("user", problem), ("assistant", "\n\n".join(steps)))
        token_ids = tuple(self._tokenizer.encode_conversation(said))
        return StepPrompt(token_ids=token_ids, positions=(len(token_ids) - 1,))
