"""Solutions with the one wrong digit that the generator would most likely write.

Sampling whole solutions shows a mistake now and then. Reading exact solutions with the generator
tells at every digit what it would write instead, for a fraction of the cost.
"""

import random
import re
from collections.abc import Sequence

import torch
from transformers import PreTrainedTokenizerBase, Qwen2ForCausalLM

from fasttts.demo.batches import IGNORED, language_example, padded
from fasttts.demo.dialogues import Dialogue, solution
from fasttts.demo.problems import Problem
from fasttts.demo.rendering import render
from fasttts.demo.rollouts import split_steps
from fasttts.demo.tokenizer import token_id

_NUMBER = re.compile(r"\d+")


def near_misses(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    rng: random.Random,
) -> list[list[str]]:
    """Returns for each problem the steps of its solution with one likely wrong digit.

    The place is drawn by how likely the generator is to be wrong there, the digit by what it would
    write. In half of the cases the wrong number is carried on to later steps.
    """
    examples = []
    for problem in problems:
        user = {"role": "user", "content": problem.text}
        reply = {"role": "assistant", "content": solution(problem)}
        examples.append(language_example(render(Dialogue(messages=(user, reply))), tokenizer))
    batch = padded(examples)
    digits = torch.tensor([token_id(tokenizer, digit) for digit in "0123456789"])
    with torch.inference_mode():
        hidden = model.model(input_ids=batch.ids_B_T, use_cache=False).last_hidden_state
        chances = torch.softmax((hidden @ model.lm_head.weight[digits].T).float(), -1)
    attempts = []
    for row, problem in enumerate(problems):
        targets = batch.targets_B_T[row].tolist()
        wrong = _changed(targets, digits.tolist(), chances[row].tolist(), rng)
        text = str(tokenizer.decode(wrong)).removesuffix("<|im_end|>")
        attempts.append(carried_on(rng, problem.steps, split_steps(text)))
    return attempts


def _changed(
    targets: list[int], digits: list[int], chances: list[list[float]], rng: random.Random
) -> list[int]:
    """Replaces one digit among the targets; the rest is what the assistant wrote."""
    places = [index for index, target in enumerate(targets) if target in digits]
    doubts = [1.0001 - chances[place][digits.index(targets[place])] for place in places]
    place = rng.choices(places, doubts)[0]
    exact = digits.index(targets[place])
    weights = [0.0 if i == exact else chance + 1e-6 for i, chance in enumerate(chances[place])]
    changed = list(targets)
    changed[place] = rng.choices(digits, weights)[0]
    return [target for target in changed if target != IGNORED]


def carried_on(rng: random.Random, exact: Sequence[str], steps: list[str]) -> list[str]:
    """In half of the cases puts the first changed number into later steps too."""
    if rng.random() < 0.5:
        return steps
    for index, (right, wrong) in enumerate(zip(exact, steps, strict=False)):
        numbers = zip(_NUMBER.findall(right), _NUMBER.findall(wrong), strict=False)
        for old, new in numbers:
            if old != new:
                whole = re.compile(rf"(?<!\d){old}(?!\d)")
                later = [whole.sub(new, step, count=1) for step in steps[index + 1 :]]
                return [*steps[: index + 1], *later]
    return steps
