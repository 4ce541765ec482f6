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
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from fasttts.demo import attention, generator_path, verifier_path
from fasttts.demo.attempts import attempt, corrupted, reward_example
from fasttts.demo.batches import IGNORED, Batch, Example, batched, problem_source
from fasttts.demo.models import RewardModel, load_generator, new_config, write_verifier
from fasttts.demo.near_misses import near_misses
from fasttts.demo.problems import Problem, generate_problems
from fasttts.demo.rollouts import chat_prompt, sample, split_steps
from fasttts.demo.tokenizer import STEP_TAG, token_id
from fasttts.demo.training import Trainer, TrainingConfig

BATCH_TOKENS = 6144
CHUNK = 128
SAMPLES_PER_PROBLEM = 8
TEMPERATURES = (0.7, 0.85, 1.0)
LANGUAGE_WEIGHT = 0.5


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
    """Cross entropy of the step labels, plus that of the tokens inside right steps."""

    def __init__(self, tag: int) -> None:
        self._tag = tag

    def __call__(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Returns the loss of one batch."""
        assert isinstance(model, RewardModel)
        hidden = model.model(input_ids=batch.ids_B_T, use_cache=False).last_hidden_state
        labelled = batch.targets_B_T != IGNORED
        scores = model.score(hidden[labelled]).float()
        loss = nn.functional.cross_entropy(scores, batch.targets_B_T[labelled])
        learnt = self._right_tokens(batch)
        tokens = hidden[:, :-1][learnt] @ model.model.embed_tokens.weight.T
        language = nn.functional.cross_entropy(tokens.float(), batch.ids_B_T[:, 1:][learnt])
        return loss + LANGUAGE_WEIGHT * language

    def _right_tokens(self, batch: Batch) -> torch.Tensor:
        """Mask (B, T-1) of positions whose next token belongs to a right step."""
        targets = batch.targets_B_T
        num_tags = (targets != IGNORED).long()
        ahead = num_tags.flip(1).cumsum(1).flip(1)
        has_begun = _after_prompt(targets)
        num_right = (targets == 1).long().sum(1, keepdim=True)
        num_steps = num_tags.sum(1, keepdim=True)
        is_right = (ahead > num_steps - num_right) & (ahead > 0) & has_begun
        return is_right[:, 1:] & (batch.ids_B_T[:, 1:] != self._tag)


def _after_prompt(targets_B_T: torch.Tensor) -> torch.Tensor:
    """Mask (B, T) of what follows the first step tag; the first step itself is left out."""
    return (targets_B_T != IGNORED).long().cumsum(1) > 0


def collect(work_dir: Path, generator: Path, config: Collection) -> None:
    """Samples the generator on training problems; goes on where an earlier run stopped."""
    work_dir.mkdir(parents=True, exist_ok=True)
    tokenizer, model = AutoTokenizer.from_pretrained(generator), load_generator(generator)
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
    rows = [json.loads(line) for line in path.open(encoding="utf-8")]
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
    while True:
        kind = rng.choices(("sampled", "missed", "corrupted", "exact"), (35, 35, 18, 12))[0]
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
    tokenizer = AutoTokenizer.from_pretrained(generator)
    torch.manual_seed(seed)
    model = RewardModel(new_config(tokenizer))
    model.model.set_attn_implementation(attention.register())
    weights = torch.load(backbone, weights_only=True)
    model.model.load_state_dict(
        {k.removeprefix("model."): v for k, v in weights.items() if k.startswith("model.")}
    )
    config = TrainingConfig(work_dir=work_dir, steps=steps, peak_lr=1.5e-3, keep=False)
    trainer = Trainer(model, RewardLoss(token_id(tokenizer, STEP_TAG)), config)
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
