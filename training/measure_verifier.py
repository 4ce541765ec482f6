"""Measures the verifier on the generator's samples: `python -m training.measure_verifier`.

Draws 16 samples of every problem, scores their steps, and compares the verifier's choice with a
majority vote. Ends in one JSON line.
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from fasttts.demo import generator_path, verifier_path
from fasttts.demo.problems import Problem, Split, generate_problems, label_steps
from training.attempts import Attempt, reward_example
from training.batches import padded
from training.measure_generator import SEED, is_right, plain_prompts
from training.models import RewardModel, load_generator, load_verifier
from training.rollouts import sample, split_steps
from training.tokenizer import STEP_TAG, load_tokenizer, token_id

NUM_SAMPLES = 16
_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A sample with its steps' labels and scores.

    Attributes:
        text: The sample.
        labels: For each step, whether it and all before it are right.
        scores: For each step, the verifier's score in [0, 1].
    """

    text: str
    labels: tuple[bool, ...]
    scores: tuple[float, ...]


def score_attempts(
    model: RewardModel, tokenizer: PreTrainedTokenizerBase, attempts: Sequence[Attempt]
) -> list[tuple[float, ...]]:
    """Returns each step's probability of being right, for every attempt."""
    scores: list[tuple[float, ...]] = []
    for start in range(0, len(attempts), _BATCH):
        chunk = [reward_example(a, tokenizer) for a in attempts[start : start + _BATCH]]
        batch = padded(chunk)
        with torch.inference_mode():
            right_B_T = torch.softmax(model(batch.ids_B_T.to(model.device)), -1)[..., 1].cpu()
        tags_B_T = batch.ids_B_T == token_id(tokenizer, STEP_TAG)
        rows = zip(right_B_T, tags_B_T, strict=True)
        scores += [tuple(right_T[tags_T].tolist()) for right_T, tags_T in rows]
    return scores


def area_under_curve(labels: Sequence[bool], scores: Sequence[float]) -> float:
    """Probability that a right step scores above a wrong one; ties count half.

    Raises:
        ValueError: There is no right or no wrong step.
    """
    num_right = sum(labels)
    num_wrong = len(labels) - num_right
    if not num_right or not num_wrong:
        raise ValueError(f"need right and wrong steps, got {num_right} and {num_wrong}")
    order = sorted(range(len(scores)), key=lambda index: scores[index])
    total, start = 0.0, 0
    while start < len(order):
        end = start
        while end < len(order) and scores[order[end]] == scores[order[start]]:
            end += 1
        mean_rank = (start + 1 + end) / 2
        total += mean_rank * sum(labels[index] for index in order[start:end])
        start = end
    return (total - num_right * (num_right + 1) / 2) / (num_right * num_wrong)


def score_samples(
    model: RewardModel,
    tokenizer: PreTrainedTokenizerBase,
    problem: Problem,
    texts: Sequence[str],
) -> list[Scored]:
    """Labels and scores the samples of one problem."""
    attempts = []
    for text in texts:
        steps = split_steps(text) or [""]
        labels = tuple(label_steps(problem, steps))
        attempts.append(Attempt(user=problem.text, steps=tuple(steps), labels=labels))
    rows = zip(texts, attempts, score_attempts(model, tokenizer, attempts), strict=True)
    return [Scored(text=text, labels=a.labels, scores=scores) for text, a, scores in rows]


def report(problems: Sequence[Problem], samples: Sequence[Sequence[Scored]]) -> dict[str, float]:
    """Computes the areas and the accuracies of the selection rules."""
    flat = [s for row in samples for s in row]
    areas = _areas([s.labels for s in flat], [s.scores for s in flat])
    chosen = dict.fromkeys(("majority", "best_by_last", "best_by_min", "pass"), 0)
    for problem, row in zip(problems, samples, strict=True):
        right = [is_right(problem, s.text) for s in row]
        lasts = [split_steps(s.text)[-1] if s.text.strip() else "" for s in row]
        winner = Counter(lasts).most_common(1)[0][0]
        by_last = max(range(len(row)), key=lambda index: row[index].scores[-1])
        by_min = max(range(len(row)), key=lambda index: min(row[index].scores))
        chosen["majority"] += right[lasts.index(winner)]
        chosen["best_by_last"] += right[by_last]
        chosen["best_by_min"] += right[by_min]
        chosen["pass"] += any(right)
    return areas | {name: count / len(problems) for name, count in chosen.items()}


def _areas(
    labels: Sequence[tuple[bool, ...]], scores: Sequence[tuple[float, ...]]
) -> dict[str, float]:
    """Area over all steps, and over the steps whose predecessors are right."""
    pairs = [pair for row in zip(labels, scores, strict=True) for pair in zip(*row, strict=True)]
    fresh = [
        (label, score)
        for row in zip(labels, scores, strict=True)
        for index, (label, score) in enumerate(zip(*row, strict=True))
        if all(row[0][:index])
    ]
    return {
        "area": area_under_curve([p[0] for p in pairs], [p[1] for p in pairs]),
        "area_first_wrong": area_under_curve([p[0] for p in fresh], [p[1] for p in fresh]),
    }


def measure(
    generator: Path, verifier: Path, split: Split, count: int, temperature: float
) -> dict[str, float]:
    """Measures on `count` problems of 4 to 8 operations."""
    tokenizer = load_tokenizer(verifier)
    problems = generate_problems(split, SEED, count, min_operations=4)
    texts = sample(
        load_generator(generator),
        tokenizer,
        plain_prompts(tokenizer, problems),
        num_samples=NUM_SAMPLES,
        temperature=temperature,
        seed=SEED,
    )
    model = load_verifier(verifier)
    rows = zip(problems, texts, strict=True)
    samples = [score_samples(model, tokenizer, problem, row) for problem, row in rows]
    return report(problems, samples)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generator", type=Path, default=generator_path())
    parser.add_argument("--verifier", type=Path, default=verifier_path())
    parser.add_argument("--split", choices=("dev", "test"), default="dev")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--temperature", type=float, default=0.8)
    options = parser.parse_args()
    print(json.dumps(measure(**vars(options))))


if __name__ == "__main__":
    main()
