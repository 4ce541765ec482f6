"""Trains the verifier: `python -m fasttts.demo.train_verifier --work-dir WORK --backbone WEIGHTS`.

First the generator is sampled, once, into the work folder. The backbone starts from a checkpoint
of the generator's training (`weights-....pt`); a later one than the shipped generator knows more
arithmetic. Beside the step labels the model goes on predicting the tokens of right steps, which
keeps its arithmetic alive; that output is not part of the verifier.
"""

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from fasttts.demo import attention, generator_path, verifier_path
from fasttts.demo.attempts import attempt, corrupted, reward_example
from fasttts.demo.batches import IGNORED, Batch, Example, batched, problem_source
from fasttts.demo.dialogues import SEPARATOR
from fasttts.demo.models import (
    NUM_LAYERS,
    RewardModel,
    load_generator,
    verifier_config,
    write_verifier,
)
from fasttts.demo.near_misses import near_misses
from fasttts.demo.problems import Problem, generate_problems
from fasttts.demo.rollouts import chat_prompt, sample, split_steps
from fasttts.demo.tokenizer import STEP_TAG, load_tokenizer, token_id
from fasttts.demo.training import Trainer, TrainingConfig
from fasttts.demo.transplant import Expectation, transplant

BATCH_TOKENS = 6144
CHUNK = 128
SAMPLES_PER_PROBLEM = 8
TEMPERATURES = (0.7, 0.85, 1.0)
TOKEN_WEIGHT = 1.0
SURPRISE_WEIGHT = 8.0
"""How much more an unexpected token counts than an expected one, of which there are many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """How much the generator is asked: attempts sampled of some problems, near misses of others."""

    num_sampled: int
    num_near_misses: int
    seed: int

    def problems(self, purpose: str, chunk: int) -> list[Problem]:
        """Returns one chunk of the training problems for a purpose."""
        rng = random.Random(f"{purpose}/{self.seed}/{chunk}")
        return generate_problems("train", rng.getrandbits(60), CHUNK)


class RewardLoss:
    """What the layers above the frozen generator learn.

    Three cross entropies: of the verdicts at the step tags, of the verdict so far at every token,
    and, at the first of the layers, of whether the generator expected a token.

    Args:
        tag: Id of the step tag.
        expectation: What the generator expected.
        surprise: Reads off the first layer whether a token was unexpected; not part of the
            verifier.
    """

    def __init__(self, tag: int, expectation: Expectation, surprise: nn.Linear) -> None:
        self._tag = tag
        self._expectation = expectation
        self._surprise = surprise

    def __call__(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Returns the loss of one batch."""
        assert isinstance(model, RewardModel)
        output = model.model(input_ids=batch.ids_B_T, use_cache=False, output_hidden_states=True)
        labelled = batch.targets_B_T != IGNORED
        scores = model.score(output.last_hidden_state[labelled]).float()
        losses = nn.functional.cross_entropy(scores, batch.targets_B_T[labelled], reduction="none")
        verdicts = losses[batch.ids_B_T[labelled] == self._tag].mean()
        below, above = output.hidden_states[NUM_LAYERS], output.hidden_states[NUM_LAYERS + 1]
        return verdicts + TOKEN_WEIGHT * losses.mean() + self._surprise_loss(below, above, batch)

    def _surprise_loss(
        self, below: torch.Tensor, above: torch.Tensor, batch: Batch
    ) -> torch.Tensor:
        """Cross entropy of unexpected against expected tokens; tags are left out."""
        asked = (batch.targets_B_T[:, 1:] != IGNORED) & (batch.ids_B_T[:, 1:] != self._tag)
        guess = self._surprise(above[:, 1:][asked]).float().squeeze(-1)
        chance = self._expectation(below[:, :-1][asked], batch.ids_B_T[:, 1:][asked])
        weight = torch.tensor(SURPRISE_WEIGHT)
        return nn.functional.binary_cross_entropy_with_logits(guess, 1 - chance, pos_weight=weight)


def collect(work_dir: Path, generator: Path, config: Collection) -> None:
    """Samples the generator on training problems; goes on where an earlier run stopped."""
    work_dir.mkdir(parents=True, exist_ok=True)
    tokenizer, model = load_tokenizer(generator), load_generator(generator)
    path = work_dir / "near_misses.jsonl"
    for chunk in range(_num_chunks(path), config.num_near_misses // CHUNK):
        rng = random.Random(f"near misses/{config.seed}/{chunk}")
        problems = config.problems("near misses", chunk)
        _append(path, near_misses(model, tokenizer, problems, rng))
    path = work_dir / "samples.jsonl"
    for chunk in range(_num_chunks(path), config.num_sampled // CHUNK):
        chats = [[{"role": "user", "content": p.text}] for p in config.problems("samples", chunk)]
        texts = sample(
            model,
            tokenizer,
            [chat_prompt(tokenizer, chat) for chat in chats],
            num_samples=SAMPLES_PER_PROBLEM,
            temperature=TEMPERATURES[chunk % len(TEMPERATURES)],
            seed=chunk,
        )
        _append(path, [sorted(set(samples)) for samples in texts])


def _num_chunks(path: Path) -> int:
    return sum(1 for _ in path.open(encoding="utf-8")) // CHUNK if path.exists() else 0


def _append(path: Path, rows: Sequence[list[str]]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def _read(path: Path, config: Collection) -> list[tuple[Problem, list[str]]]:
    """Returns the collected rows with their problems."""
    rows = [json.loads(line) for line in path.open(encoding="utf-8")] if path.exists() else []
    chunks = range(len(rows) // CHUNK)
    problems = [p for chunk in chunks for p in config.problems(path.stem.replace("_", " "), chunk)]
    return list(zip(problems, rows, strict=False))


def reward_examples(
    work_dir: Path, tokenizer: PreTrainedTokenizerBase, config: Collection, start: int
) -> Iterator[Example]:
    """Yields sampled, almost right, corrupted and right attempts without end."""
    rng = random.Random(f"attempts/{config.seed}/{start}")
    draw = problem_source(rng)
    rows = _read(work_dir / "samples.jsonl", config)
    sampled = [(p, split_steps(text)[:16]) for p, texts in rows for text in texts]
    missed = _read(work_dir / "near_misses.jsonl", config)
    weights = (35 * bool(sampled), 35 * bool(missed), 18, 12)
    while True:
        kind = rng.choices(("sampled", "missed", "corrupted", "exact"), weights)[0]
        if kind == "sampled":
            problem, steps = rng.choice(sampled)
        elif kind == "missed":
            problem, steps = rng.choice(missed)
        else:
            problem = draw(2, 8)
            steps = corrupted(rng, problem) if kind == "corrupted" else list(problem.steps)
        if steps:
            yield reward_example(attempt(rng, draw, problem, steps), tokenizer)


def train(
    work_dir: Path, backbone: Path, generator: Path, *, steps: int, collection: Collection
) -> None:
    """Trains, or goes on with, the verifier and writes it."""
    seed = collection.seed
    tokenizer = load_tokenizer(generator)
    torch.manual_seed(seed)
    model = RewardModel(verifier_config(tokenizer))
    model.model.set_attn_implementation(attention.register())
    tag, separator = token_id(tokenizer, STEP_TAG), token_id(tokenizer, SEPARATOR)
    digits = [token_id(tokenizer, digit) for digit in "0123456789"]
    given = torch.load(backbone, weights_only=True)
    transplant(model, given, digits=digits, tag=tag, separator=separator)
    model.freeze_generator()
    model.surprise = nn.Linear(model.model.config.hidden_size, 1)
    config = TrainingConfig(work_dir=work_dir, steps=steps, peak_lr=3e-3, keep=False)
    trainer = Trainer(model, RewardLoss(tag, Expectation(given), model.surprise), config)
    trainer.try_resume()
    examples = reward_examples(work_dir, tokenizer, collection, trainer.step)
    trainer.run(batched(examples, BATCH_TOKENS, random.Random(f"{seed}/{trainer.step}")))
    write_verifier(model, tokenizer, verifier_path())


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--backbone", type=Path, help="a weights-....pt file")
    parser.add_argument("--generator", type=Path, default=generator_path())
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--num-sampled", type=int, default=1024)
    parser.add_argument("--num-near-misses", type=int, default=32768)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--collect-only", action="store_true", help="sample and stop")
    options = parser.parse_args()
    collection = Collection(
        num_sampled=options.num_sampled,
        num_near_misses=options.num_near_misses,
        seed=options.seed,
    )
    collect(options.work_dir, options.generator, collection)
    if not options.collect_only:
        train(
            options.work_dir,
            options.backbone,
            options.generator,
            steps=options.steps,
            collection=collection,
        )


if __name__ == "__main__":
    main()
