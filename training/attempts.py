"""Attempts at problems with exact step labels: the training data of the verifier.

An attempt is the generator's own, or the exact solution with an inserted fault. Each follows the
verifier's prompt, whose user text is the problem itself or, sometimes, LlamaIndex's question about
a document.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from fasttts.demo.problems import Problem, label_steps
from training import phrases
from training.batches import IGNORED, Example
from training.dialogues import Draw, document_question
from training.tokenizer import STEP_TAG, token_id

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt with its labels.

    Attributes:
        user: The user's text.
        steps: The steps.
        labels: For each step, whether it and all before it are right.
        exact: The exact solution, which locates the fault in a wrong step; empty if unknown.
    """

    user: str
    steps: tuple[str, ...]
    labels: tuple[bool, ...]
    exact: tuple[str, ...] = ()


def verifier_prompt(user: str) -> str:
    """Returns the prompt in front of the first step, in the form of Qwen2.5-Math-PRM."""
    return (
        f"<|im_start|>system\n{phrases.REASON_PROMPT}<|im_end|>\n"
        f"<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"
    )


def user_text(rng: random.Random, draw: Draw, problem: Problem) -> str:
    """Draws the user's text: the problem alone, framed, or as a question about documents."""
    kind = rng.random()
    if kind < 0.13:
        chat = document_question(rng, lambda low, high: problem)
        return str(chat.messages[-2]["content"])
    before, after = rng.choice(phrases.FRAMES) if kind < 0.2 else ("", "")
    return f"{before}{problem.text}{after}"


def attempt(rng: random.Random, draw: Draw, problem: Problem, steps: Sequence[str]) -> Attempt:
    """Labels the steps and draws the user's text."""
    labels = label_steps(problem, steps)
    return Attempt(
        user=user_text(rng, draw, problem),
        steps=tuple(steps),
        labels=tuple(labels),
        exact=problem.steps,
    )


def corrupted(rng: random.Random, problem: Problem) -> list[str]:
    """Returns the solution with one fault, in half of the cases propagated to the end."""
    steps = list(problem.steps)
    index = rng.randrange(len(steps))
    fault = rng.choices((_wrong_digit, _wrong_number, _wrong_sign, _missing), (6, 3, 1, 1))[0]
    return fault(rng, steps, index)


def _wrong_digit(rng: random.Random, steps: list[str], index: int) -> list[str]:
    """Changes a digit of a step's last number, and the same number in later steps."""
    old = _NUMBER.findall(steps[index])[-1]
    place = rng.randrange(len(old))
    change = rng.choice((-1, 1)) if rng.random() < 0.6 else rng.randint(1, 9)
    new = old[:place] + str((int(old[place]) + change) % 10) + old[place + 1 :]
    return _replaced(rng, steps, index, old, new)


def _wrong_number(rng: random.Random, steps: list[str], index: int) -> list[str]:
    """Replaces a number of a step by another number of the solution."""
    old = rng.choice(_NUMBER.findall(steps[index]))
    new = rng.choice(_NUMBER.findall(rng.choice(steps)))
    return _replaced(rng, steps, index, old, new)


def _wrong_sign(rng: random.Random, steps: list[str], index: int) -> list[str]:
    words = steps[index].split(" = ")[0].split()
    if len(words) < 3 or words[-2] not in "+-*/":
        return _missing(rng, steps, index)
    a, b = int(words[-3]), int(words[-1])
    sign = rng.choice([sign for sign in "+-*" if sign != words[-2]])
    result = {"+": a + b, "-": abs(a - b), "*": a * b}[sign]
    reason = " ".join(words[:-3])
    steps[index] = f"{reason} {a} {sign} {b} = {result}."
    return steps


def _missing(rng: random.Random, steps: list[str], index: int) -> list[str]:
    del steps[min(index, len(steps) - 2)]
    return steps


def _replaced(rng: random.Random, steps: list[str], index: int, old: str, new: str) -> list[str]:
    whole = re.compile(rf"(?<!\d){old}(?!\d)")
    head, found, tail = steps[index].rpartition(old)
    steps[index] = head + new + tail if found else steps[index]
    if rng.random() < 0.5:
        steps[index + 1 :] = [whole.sub(new, step, count=1) for step in steps[index + 1 :]]
    return steps


def reward_example(attempt: Attempt, tokenizer: PreTrainedTokenizerBase) -> Example:
    """Makes an example whose targets are 0 (wrong) or 1 (right) at every token of the steps.

    The verdict on a step is the target at its tag. Tokens are wrong from the first one on that
    differs from the exact solution.
    """
    pieces = [verifier_prompt(attempt.user), *attempt.steps, *attempt.exact]
    prompt, *steps = tokenizer(pieces, add_special_tokens=False)["input_ids"]
    steps, exact = steps[: len(attempt.steps)], steps[len(attempt.steps) :]
    tag = token_id(tokenizer, STEP_TAG)
    ids, targets = list(prompt), [IGNORED] * len(prompt)
    for index, (step, label) in enumerate(zip(steps, attempt.labels, strict=True)):
        num_right = len(step) if label else 0
        if not label and all(attempt.labels[:index]) and index < len(exact):
            num_right = _num_common(step, exact[index])
        ids += [*step, tag]
        targets += [1] * num_right + [0] * (len(step) - num_right) + [int(label)]
    return Example(ids=tuple(ids), targets=tuple(targets))


def _num_common(step: list[int], exact: list[int]) -> int:
    """Length of the common prefix."""
    pairs = enumerate(zip(step, exact, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(step), len(exact)))
