"""Trains the verifier: `python -m training.train_verifier --work-dir WORK --backbone WEIGHTS`.

First the generator is sampled, once, into the work folder. The verifier's first layers start from a
late checkpoint of the generator's training (`weights-....pt`), which is good at arithmetic. It
learns to tell right steps and right tokens from wrong ones in those samples and in corrupted
solutions, and its middle layer continues to predict the tokens of right steps, because predicting a
result helps to judge it.
"""

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from fasttts.demo import generator_path, verifier_path
from fasttts.demo.problems import Problem, generate_problems
from training.attempts import attempt, corrupted, reward_example
from training.batches import IGNORED, Batch, Example, batch_stream, problem_source
from training.dialogues import SEPARATOR
from training.measure_verifier import report, score_samples
from training.models import RewardModel, load_generator, verifier_config, write_verifier
from training.rollouts import chat_prompt, sample, split_steps
from training.tokenizer import STEP_TAG, load_tokenizer, token_id
from training.training import Trainer, TrainingConfig, add_arguments, attention_of

SAMPLES_PER_PROBLEM = 8
TEMPERATURES = (0.7, 0.85, 1.0)
MAX_STEPS = 16
FORESIGHT_LAYER = 4
FORESIGHT_WEIGHT = 0.5
FIRST_FAULT_WEIGHT = 8.0
"""Weight of the first wrong token relative to the others, which are many."""


class RewardLoss:
    """The verifier's loss.

    Three cross entropies: of the verdicts at the step tags, of the verdict so far at every token,
    and of the next token of right steps, predicted from the output of a middle layer.

    Args:
        tag: Id of the step tag.
        norm: Weight of the generator's last norm, (channels,).
    """

    def __init__(self, tag: int, norm: torch.Tensor) -> None:
        self._tag = tag
        self._norm = norm

    def __call__(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Computes the loss of one batch."""
        assert isinstance(model, RewardModel)
        output = model.model(input_ids=batch.ids_B_T, use_cache=False, output_hidden_states=True)
        judged = batch.targets_B_T != IGNORED
        scores = model.score(output.last_hidden_state[judged]).float()
        losses = nn.functional.cross_entropy(scores, batch.targets_B_T[judged], reduction="none")
        verdicts = losses[batch.ids_B_T[judged] == self._tag].mean()
        weights = 1 + (FIRST_FAULT_WEIGHT - 1) * first_faults(batch)[judged]
        tokens = (weights * losses).sum() / weights.sum()
        foresight = self._foresight_loss(model, output.hidden_states[FORESIGHT_LAYER], batch)
        return verdicts + tokens + FORESIGHT_WEIGHT * foresight

    def _foresight_loss(
        self, model: RewardModel, hidden: torch.Tensor, batch: Batch
    ) -> torch.Tensor:
        """Cross entropy of right tokens, predicted from `hidden` (B, T, channels) before them."""
        right = batch.targets_B_T[:, 1:] == 1
        foreseen = nn.functional.rms_norm(hidden[:, :-1][right], self._norm.shape, self._norm)
        logits = foreseen @ model.model.embed_tokens.weight.T
        return nn.functional.cross_entropy(logits.float(), batch.ids_B_T[:, 1:][right])


def first_faults(batch: Batch) -> torch.Tensor:
    """Mask (B, T) of the first wrong token of each attempt."""
    before = batch.targets_B_T.roll(1, dims=1)
    return (batch.targets_B_T == 0) & (before != 0)


def problems_of(seed: int, chunk: int, size: int) -> list[Problem]:
    """Returns one chunk of the problems that the generator is sampled on."""
    return generate_problems("train", random.Random(f"{seed}/{chunk}").getrandbits(60), size)


def collect(options: argparse.Namespace) -> None:
    """Samples the generator on training problems; continues where an earlier run stopped."""
    path: Path = options.work_dir / "samples.jsonl"
    options.work_dir.mkdir(parents=True, exist_ok=True)
    size: int = options.chunk_size
    done = len(_lines(path)) // size
    for chunk in range(done, options.num_sampled // size):
        problems = problems_of(options.seed, chunk, size)
        texts = _samples(options, problems, TEMPERATURES[chunk % len(TEMPERATURES)], chunk)
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(sorted(set(row))) + "\n" for row in texts)
        print(f"sampled {(chunk + 1) * size} problems", flush=True)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _samples(
    options: argparse.Namespace, problems: Sequence[Problem], temperature: float, seed: int
) -> list[list[str]]:
    tokenizer = load_tokenizer(options.generator)
    return sample(
        load_generator(options.generator, options.device),
        tokenizer,
        [chat_prompt(tokenizer, [{"role": "user", "content": p.text}]) for p in problems],
        num_samples=SAMPLES_PER_PROBLEM,
        temperature=temperature,
        seed=seed,
    )


def reward_examples(
    path: Path, tokenizer: PreTrainedTokenizerBase, data_seed: int, chunk_size: int, seed: str
) -> Iterator[Example]:
    """Yields sampled, corrupted and right attempts endlessly.

    Args:
        path: The file of samples.
        tokenizer: The verifier's tokenizer.
        data_seed: The seed of the samples' problems.
        chunk_size: Problems that were sampled at once.
        seed: The order depends on it.
    """
    rng = random.Random(f"attempts/{seed}")
    draw = problem_source(rng)
    rows = [json.loads(line) for line in _lines(path)]
    chunks = range(len(rows) // chunk_size)
    problems = [p for chunk in chunks for p in problems_of(data_seed, chunk, chunk_size)]
    sampled = [(p, text) for p, row in zip(problems, rows, strict=True) for text in row]
    while True:
        kind = rng.choices(("sampled", "corrupted", "exact"), (60, 30, 10))[0]
        if kind == "sampled":
            problem, text = rng.choice(sampled)
            steps = split_steps(text)[:MAX_STEPS]
        else:
            problem = draw(2, 8)
            steps = corrupted(rng, problem) if kind == "corrupted" else list(problem.steps)
        if steps:
            yield reward_example(attempt(rng, draw, problem, steps), tokenizer)


def train(options: argparse.Namespace) -> None:
    """Trains the verifier, from its newest checkpoint if there is one, and writes it."""
    tokenizer = load_tokenizer(options.generator)
    torch.manual_seed(options.seed)
    model = RewardModel(verifier_config(tokenizer))
    norm = start_from(model, options.backbone, tokenizer).to(options.device)
    model.model.set_attn_implementation(attention_of(options.device))
    held_out = generate_problems("dev", options.seed, options.num_held_out, min_operations=4)
    texts = _samples(options, held_out, TEMPERATURES[0], options.seed)

    def evaluate() -> dict[str, float]:
        rows = zip(held_out, texts, strict=True)
        return report(held_out, [score_samples(model, tokenizer, p, row) for p, row in rows])

    config = TrainingConfig(
        work_dir=options.work_dir,
        steps=options.steps,
        peak_lr=options.peak_lr,
        keep=False,
        device=options.device,
    )
    trainer = Trainer(model, RewardLoss(token_id(tokenizer, STEP_TAG), norm), config, evaluate)
    trainer.try_resume()
    samples = options.work_dir / "samples.jsonl"
    source = partial(reward_examples, samples, tokenizer, options.seed, options.chunk_size)
    seed = f"{options.seed}/{trainer.step}"
    trainer.run(
        batch_stream(
            source, num_tokens=options.batch_tokens, seed=seed, num_workers=options.workers
        )
    )
    write_verifier(model, options.generator, options.output)


@torch.no_grad()
def start_from(
    model: RewardModel, backbone: Path, tokenizer: PreTrainedTokenizerBase
) -> torch.Tensor:
    """Copies a generator's layers below the others; the step tag gets its separator's embedding.

    Returns:
        The weight of the generator's last norm.
    """
    given = torch.load(backbone, weights_only=True, map_location="cpu")
    lower = {name.removeprefix("model."): tensor for name, tensor in given.items()}
    norm: torch.Tensor = lower.pop("norm.weight")
    known = model.model.state_dict().keys()
    model.model.load_state_dict({n: t for n, t in lower.items() if n in known}, strict=False)
    embeddings = model.model.embed_tokens.weight
    embeddings[token_id(tokenizer, STEP_TAG)] = embeddings[token_id(tokenizer, SEPARATOR)]
    return norm


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--backbone", type=Path, required=True, help="a weights-....pt file")
    parser.add_argument("--generator", type=Path, default=generator_path())
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--peak-lr", type=float, default=2e-3)
    parser.add_argument("--num-sampled", type=int, default=16384)
    parser.add_argument(
        "--chunk-size",
        type=int,
        default=512,
        help="problems to sample at once; the samples depend on it",
    )
    parser.add_argument("--num-held-out", type=int, default=64, help="problems to measure on")
    parser.add_argument("--output", type=Path, default=verifier_path())
    options = parser.parse_args()
    collect(options)
    train(options)


if __name__ == "__main__":
    main()
