"""Token batches of training examples, bucketed by length."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers import PreTrainedTokenizerBase

from fasttts.demo.problems import Problem, generate_problems
from training.dialogues import dialogue
from training.rendering import Segment, render

IGNORED = -100
_POOL = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One training sequence.

    Attributes:
        ids: Token ids.
        targets: Of the same length: the prediction target at each position, or `IGNORED`.
    """

    ids: tuple[int, ...]
    targets: tuple[int, ...]


Source = Callable[[str], Iterator[Example]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Examples padded on the right.

    Attributes:
        ids_B_T: Token ids, int64.
        targets_B_T: Prediction targets, int64.
    """

    ids_B_T: torch.Tensor
    targets_B_T: torch.Tensor

    def to(self, device: str) -> "Batch":
        """Moves the batch to a device."""
        ids_B_T, targets_B_T = (t.to(device) for t in (self.ids_B_T, self.targets_B_T))
        return Batch(ids_B_T=ids_B_T, targets_B_T=targets_B_T)


class _Stream(IterableDataset[Batch]):
    """Endless batches, different ones in every worker."""

    def __init__(self, source: Source, num_tokens: int, seed: str) -> None:
        self._source, self._num_tokens, self._seed = source, num_tokens, seed

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        seed = f"{self._seed}/{worker.id if worker else 0}"
        return batched(self._source(seed), self._num_tokens, random.Random(seed))


def batch_stream(
    source: Source, *, num_tokens: int, seed: str, num_workers: int
) -> Iterator[Batch]:
    """Yields batches endlessly, made here or by worker processes.

    Args:
        source: Yields examples endlessly, from a seed.
        num_tokens: Size of a batch.
        seed: The batches depend on it and on the number of workers.
        num_workers: Number of processes; 0 makes the batches in this one.
    """
    stream = _Stream(source, num_tokens, seed)
    loader = DataLoader(stream, batch_size=None, num_workers=num_workers)
    return iter(loader)


def problem_source(rng: random.Random) -> Callable[[int, int], Problem]:
    """Returns a function that draws training problems with a number of operations in a range."""

    def draw(low: int, high: int) -> Problem:
        seed = rng.getrandbits(60)
        return generate_problems("train", seed, 1, min_operations=low, max_operations=high)[0]

    return draw


def language_example(segments: list[Segment], tokenizer: PreTrainedTokenizerBase) -> Example:
    """Makes an example whose targets are the assistant's tokens, one position ahead."""
    ids: list[int] = []
    targets: list[int] = []
    for text, is_learnt in segments:
        piece: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        ids += piece
        targets += piece if is_learnt else [IGNORED] * len(piece)
    return Example(ids=tuple(ids), targets=(*targets[1:], IGNORED))


def dialogue_examples(tokenizer: PreTrainedTokenizerBase, seed: str) -> Iterator[Example]:
    """Yields training examples of the generator endlessly."""
    rng = random.Random(f"dialogues/{seed}")
    draw = problem_source(rng)
    while True:
        yield language_example(render(dialogue(rng, draw)), tokenizer)


def batched(examples: Iterator[Example], num_tokens: int, rng: random.Random) -> Iterator[Batch]:
    """Yields batches of about `num_tokens` tokens, of examples of similar length, endlessly."""
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
    """Pads examples on the right; causal attention needs no mask for the padding."""
    width = max(len(example.ids) for example in examples)
    ids = [[*e.ids, *[0] * (width - len(e.ids))] for e in examples]
    targets = [[*e.targets, *[IGNORED] * (width - len(e.ids))] for e in examples]
    return Batch(ids_B_T=torch.tensor(ids), targets_B_T=torch.tensor(targets))
