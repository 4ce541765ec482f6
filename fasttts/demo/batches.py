"""Token batches of training examples, bucketed by length."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from fasttts.demo.dialogues import dialogue
from fasttts.demo.problems import Problem, generate_problems
from fasttts.demo.rendering import Segment, render

IGNORED = -100
_POOL = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """Token ids and, of the same length, what to predict at each position (or `IGNORED`)."""

    ids: tuple[int, ...]
    targets: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Examples padded on the right; `ids_B_T` and `targets_B_T` are int64."""

    ids_B_T: torch.Tensor
    targets_B_T: torch.Tensor


def problem_source(rng: random.Random) -> Callable[[int, int], Problem]:
    """Returns a function that draws training problems with so many operations."""

    def draw(low: int, high: int) -> Problem:
        seed = rng.getrandbits(60)
        return generate_problems("train", seed, 1, min_operations=low, max_operations=high)[0]

    return draw


def language_example(segments: list[Segment], tokenizer: PreTrainedTokenizerBase) -> Example:
    """Makes an example whose targets are the next tokens the assistant writes."""
    ids: list[int] = []
    targets: list[int] = []
    for text, is_learnt in segments:
        piece: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        ids += piece
        targets += piece if is_learnt else [IGNORED] * len(piece)
    return Example(ids=tuple(ids), targets=(*targets[1:], IGNORED))


def dialogue_examples(seed: object, tokenizer: PreTrainedTokenizerBase) -> Iterator[Example]:
    """Yields training examples of the generator without end."""
    rng = random.Random(f"dialogues/{seed}")
    draw = problem_source(rng)
    while True:
        yield language_example(render(dialogue(rng, draw)), tokenizer)


def batched(examples: Iterator[Example], num_tokens: int, rng: random.Random) -> Iterator[Batch]:
    """Yields batches of about `num_tokens` tokens, of examples of like length, without end."""
    while True:
        pool = sorted((next(examples) for _ in range(_POOL)), key=lambda example: len(example.ids))
        groups: list[list[Example]] = [[]]
        for example in reversed(pool):
            if groups[-1] and len(groups[-1][0].ids) * (len(groups[-1]) + 1) > num_tokens:
                groups.append([])
            groups[-1].append(example)
        rng.shuffle(groups)
        yield from map(padded, groups)


def padded(examples: list[Example]) -> Batch:
    """Pads examples on the right; causal attention needs no mask for that."""
    width = max(len(example.ids) for example in examples)
    ids = [[*e.ids, *[0] * (width - len(e.ids))] for e in examples]
    targets = [[*e.targets, *[IGNORED] * (width - len(e.ids))] for e in examples]
    return Batch(ids_B_T=torch.tensor(ids), targets_B_T=torch.tensor(targets))
