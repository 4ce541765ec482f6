r"""Process reward models that write a critique, and then a verdict whose probability is read.

The critique is decoded greedily, so that a score depends on the text alone, and has a bound. The
authors' own code samples it (GenPRM: temperature 0.6) or decodes it greedily (ThinkPRM).
"""

import re
from collections.abc import Sequence

from fasttts.verifiers.prompt_formats import (
    StepPrompt,
    VerifierFormat,
    VerifierTokenizer,
    last_token,
    turns,
)
from fasttts.verifiers.thought import DEFAULT_MAX_THOUGHT_TOKENS, Thought

_GENPRM_SYSTEM = (
    "You are a math teacher. Your task is to review and critique the paragraphs in solution "
)
GENPRM_CRITIQUE_SYSTEM = f"{_GENPRM_SYSTEM}step by step."
GENPRM_DIRECT_SYSTEM = (
    f"{_GENPRM_SYSTEM}directly. Output your judgement in the format of `\\boxed{{Yes}}` if the "
    "paragraph is correct, or `\\boxed{No}` if the paragraph is incorrect."
)
GENPRM_CRITIQUE = "<analyze>\nLet's analyze the Paragraph {number} step by step: "
GENPRM_VERDICT = "<output>\n**Judgement**: $\\boxed{"
GENPRM_END = "</analyze>"
GENPRM_PASSED = f"{GENPRM_VERDICT}Yes}}$\n</output>\n"
"""The reply to an earlier step."""

THINKPRM_PROMPT = (
    "You are given a math problem and a proposed step-by-step solution:\n\n"
    "[Math Problem]\n\n{problem}\n\n"
    "[Solution]\n\n{steps}\n\n"
    "Review and critique each step in the proposed solution to determine whether each step is "
    "correct. If the solution is incomplete, only verify the provided steps."
)
THINKPRM_OPENING = "\nLet's verify step by step:"
THINKPRM_END = "</think>"
THINKPRM_VERDICT = "\nIs the solution correct?"

_STEP_NUMBER = re.compile(r"Step \d+:")
"""The authors number steps anew, whatever numbers the generator gave them."""


class GenPrmFormat(VerifierFormat):
    r"""GenPRM: each step is a user's turn; the reply analyses it and ends in `\boxed{Yes}` or No.

    The score is the probability of "Yes" against "No" behind `\boxed{` (`get_reward_score`).
    Source: `prm_evaluation/infer_module/genprm_inference.py` and
    `prm_evaluation/eval_logic/reward_generate.py` in the repository RyanLiu112/GenPRM (arXiv
    2504.00891), the first turn as in the model card of GenPRM/GenPRM-7B. Like these two, and unlike
    the repository's demo notebook, it opens the assistant's turn before the analysis.

    Three things differ. The analysis is not followed by a program that is run (their
    `verify=False`). Replies to earlier steps count as Yes, without their analyses. An analysis that
    is not over after `max_thought_tokens` is closed there.

    Args:
        tokenizer: The verifier's tokenizer.
        name: The verifier, for messages.
        max_thought_tokens: The most tokens of an analysis; 0 reads the verdict at once, with the
            system message that the authors have for that.

    Raises:
        ConfigurationError: There is no chat template.
    """

    def __init__(
        self,
        tokenizer: VerifierTokenizer,
        name: str,
        *,
        max_thought_tokens: int = DEFAULT_MAX_THOUGHT_TOKENS,
    ) -> None:
        self._tokenizer = tokenizer
        self._is_direct = max_thought_tokens == 0
        self.choices = (last_token(tokenizer, "Yes", name), last_token(tokenizer, "No", name))
        if not self._is_direct:
            self.thought = Thought(
                tokenizer,
                max_tokens=max_thought_tokens,
                stop=GENPRM_END,
                stop_id=tokenizer.token_id(GENPRM_END),
                closing_ids=tokenizer.encode(f"{GENPRM_END}\n{GENPRM_VERDICT}"),
            )
        self.prompt("", ("",))

    def prompt(self, problem: str, steps: tuple[str, ...]) -> StepPrompt:
        """Makes the prompt behind which the last of `steps` is judged."""
        asked = [f"Question: {problem}\n\n{steps[0]}", *steps[1:]]
        spoken = [turn for step in asked for turn in (("user", step), ("assistant", GENPRM_PASSED))]
        system = GENPRM_DIRECT_SYSTEM if self._is_direct else GENPRM_CRITIQUE_SYSTEM
        opening = GENPRM_CRITIQUE.format(number=len(steps))
        return _prompt(
            self._tokenizer,
            [("system", system), *spoken[:-1]],
            GENPRM_VERDICT if self._is_direct else opening,
        )


class ThinkPrmFormat(VerifierFormat):
    """ThinkPRM: the model thinks about the steps so far; then: "Is the solution correct?".

    The score is the probability of " Yes" against " No" behind that question, the paper's score of
    a prefix. Source: `format_verification_cot_for_thinkprm` in `utils/helper.py`,
    `LongThoughtCritiqueDataset` in `dataset/prm_dataset.py` and `get_step_scores_from_logprobs` in
    `prm/__init__.py` of the repository mukhal/ThinkPRM (arXiv 2504.16828). The question is always
    put by us: behind the end of the thought, or behind `max_thought_tokens`.

    Args:
        tokenizer: The verifier's tokenizer.
        name: The verifier, for messages.
        max_thought_tokens: The most tokens of a thought; 0 asks at once.

    Raises:
        ConfigurationError: There is no chat template.
    """

    def __init__(
        self,
        tokenizer: VerifierTokenizer,
        name: str,
        *,
        max_thought_tokens: int = DEFAULT_MAX_THOUGHT_TOKENS,
    ) -> None:
        self._tokenizer = tokenizer
        self.choices = (last_token(tokenizer, " Yes", name), last_token(tokenizer, " No", name))
        end = tokenizer.token_id(THINKPRM_END)
        ends = tokenizer.encode(THINKPRM_END) if end is None else [end]
        self._closing_ids = [*ends, *tokenizer.encode(THINKPRM_VERDICT)]
        if max_thought_tokens:
            self.thought = Thought(
                tokenizer,
                max_tokens=max_thought_tokens,
                stop=THINKPRM_END,
                stop_id=end,
                closing_ids=self._closing_ids,
            )
        self.prompt("", ("",))

    def prompt(self, problem: str, steps: tuple[str, ...]) -> StepPrompt:
        """Makes the prompt behind which the steps up to the last one are judged."""
        texts = (_STEP_NUMBER.sub("", step).strip() for step in steps)
        numbered = "\n".join(f"Step {number}: {text}" for number, text in enumerate(texts, 1))
        question = THINKPRM_PROMPT.format(problem=problem, steps=numbered)
        closing = () if self.thought else self._closing_ids
        return _prompt(self._tokenizer, [("user", question)], THINKPRM_OPENING, closing)


def _prompt(
    tokenizer: VerifierTokenizer,
    spoken: Sequence[tuple[str, str]],
    opening: str,
    closing_ids: Sequence[int] = (),
) -> StepPrompt:
    token_ids = (*tokenizer.encode_reply(turns(*spoken), opening), *closing_ids)
    return StepPrompt(token_ids=token_ids, positions=(len(token_ids) - 1,))
