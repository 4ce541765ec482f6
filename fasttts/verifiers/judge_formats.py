"""Prompt formats of judges: questions to any instruct model about a solution so far.

No reply is decoded: the probabilities of its first token are read. A model that would think first
is asked not to, by its template's switch or by an end of the thought that the template opens.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fasttts.decoding.thoughts import ThoughtReader
from fasttts.errors import ConfigurationError
from fasttts.verifiers.prompt_formats import (
    StepPrompt,
    VerifierFormat,
    VerifierTokenizer,
    turns,
)

JUDGE_PROMPT = (
    "Here is a problem and the beginning of a solution.\n\n"
    "Problem:\n{problem}\n\n"
    "Solution so far:\n{steps}\n\n"
    "Is every step of the solution so far correct, and does it lead to the answer? "
    "Reply with Yes or No."
)
"""The judge's question."""

_SO_FAR = (
    "Here is a request and the beginning of a reply to it. "
    "The reply may be unfinished, which is no fault.\n\n"
    "Request:\n{problem}\n\n"
    "Reply so far:\n{steps}\n\n"
)

SOUND_PROMPT = (
    f"{_SO_FAR}Is everything in the reply so far right, and of use for the request? "
    "Answer with Yes or No."
)
MISTAKE_PROMPT = (
    f"{_SO_FAR}Does the reply so far contain a mistake, or anything that leads away from what was "
    "asked? Answer with Yes or No."
)
CONTINUE_PROMPT = (
    f"{_SO_FAR}Would an expert who has to finish this reply go on from here, rather than start "
    "again? Answer with Yes or No."
)
"""The questions of a panel; a Yes to the one about mistakes is bad."""

GRADES = ("A", "B", "C", "D", "E")

GRADE_PROMPT = (
    f"{_SO_FAR}Grade what is written so far:\n"
    "A: right in everything, and a good way to what was asked\n"
    "B: right, with small flaws\n"
    "C: partly right, or doubtful\n"
    "D: mostly wrong, or a way that leads nowhere\n"
    "E: wrong, or not about the request\n"
    "Answer with one letter."
)
"""The question for a grade."""


class QuestionFormat(VerifierFormat):
    """One question about the steps so far, and the first tokens of its possible replies.

    Args:
        tokenizer: The model's tokenizer.
        name: The model, for messages.
        question: The question, with `{problem}` and `{steps}`.
        replies: The replies from the best to the worst.
        is_inverted: Whether the first reply is the worst instead.

    Raises:
        ConfigurationError: There is no chat template, or two replies begin with the same token.
    """

    def __init__(
        self,
        tokenizer: VerifierTokenizer,
        name: str,
        question: str,
        replies: Sequence[str] = ("Yes", "No"),
        *,
        is_inverted: bool = False,
    ) -> None:
        self._tokenizer = tokenizer
        self._question = question
        self.choices = tuple(tokenizer.encode(reply)[0] for reply in replies)
        if len(set(self.choices)) != len(self.choices):
            raise ConfigurationError(
                f"verifier={name!r} cannot judge: in its tokens {' and '.join(replies)} begin alike"
            )
        self.is_inverted = is_inverted
        self._switches = _without_thought(tokenizer)
        self.prompt("", ("",))

    def prompt(self, problem: str, steps: tuple[str, ...]) -> StepPrompt:
        """Makes the prompt that scores the last of `steps`."""
        question = self._question.format(problem=problem, steps="\n\n".join(steps))
        messages = turns(("user", question))
        found = self._tokenizer.encode_chat(messages, chat_template_kwargs=self._switches)
        token_ids = (*found, *_end_of_thought(self._tokenizer, found))
        return StepPrompt(token_ids=token_ids, positions=(len(token_ids) - 1,))


def _without_thought(tokenizer: VerifierTokenizer) -> Mapping[str, Any] | None:
    """The switch by which a chat template leaves the thought out; None where it has none."""
    switches = {"enable_thinking": False}
    try:
        tokenizer.encode_chat(turns(("user", "")), chat_template_kwargs=switches)
    except ConfigurationError:
        return None
    return switches


def _end_of_thought(tokenizer: VerifierTokenizer, prompt: Sequence[int]) -> Sequence[int]:
    """Tokens that close a thought which the prompt opens: a reply is asked for, and no thought."""
    reader = ThoughtReader(tokenizer, prompt)
    if reader.opened is None:
        return ()
    return (*reader.end_token_ids(reader.opened.markers), *tokenizer.encode("\n\n"))


class JudgeFormat(QuestionFormat):
    """A question whether the steps so far are right, Yes or No.

    Args:
        tokenizer: The model's tokenizer.
        name: The model, for messages.

    Raises:
        ConfigurationError: There is no chat template, or Yes and No begin with the same token.
    """

    def __init__(self, tokenizer: VerifierTokenizer, name: str) -> None:
        super().__init__(tokenizer, name, JUDGE_PROMPT)


class PanelFormat(VerifierFormat):
    """Three questions about the reply so far, whose probabilities are averaged.

    They suit beginnings and requests without one right answer. One of them asks for mistakes, so
    that a model which says Yes to everything gains nothing by it.

    Args:
        tokenizer: The model's tokenizer.
        name: The model, for messages.

    Raises:
        ConfigurationError: There is no chat template, or Yes and No begin with the same token.
    """

    def __init__(self, tokenizer: VerifierTokenizer, name: str) -> None:
        self._variants = (
            QuestionFormat(tokenizer, name, SOUND_PROMPT),
            QuestionFormat(tokenizer, name, MISTAKE_PROMPT, is_inverted=True),
            QuestionFormat(tokenizer, name, CONTINUE_PROMPT),
        )
        self.choices = self._variants[0].choices

    @property
    def variants(self) -> Sequence[VerifierFormat]:
        """A format for each question."""
        return self._variants

    def prompt(self, problem: str, steps: tuple[str, ...]) -> StepPrompt:
        """Makes the first question's prompt."""
        return self._variants[0].prompt(problem, steps)


class GradeFormat(QuestionFormat):
    """A question for a letter from A to E; the score is the expected grade, A being 1 and E 0.

    The expectation over the probabilities of the grades' tokens is that of G-Eval (Liu et al. 2023,
    arXiv 2303.16634, section 2), which takes them from samples; here they are the model's own,
    among the five letters.

    Args:
        tokenizer: The model's tokenizer.
        name: The model, for messages.

    Raises:
        ConfigurationError: There is no chat template, or two letters begin with the same token.
    """

    def __init__(self, tokenizer: VerifierTokenizer, name: str) -> None:
        super().__init__(tokenizer, name, GRADE_PROMPT, GRADES)
