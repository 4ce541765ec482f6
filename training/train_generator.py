"""Trains the generator: `python -m training.train_generator --work-dir WORK`.

Started again with the same folder, it continues from the newest checkpoint. Every checkpoint's
weights are kept; `--export STEP` writes one of them as the demonstration model.
"""

import argparse
import copy
from functools import partial
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase, Qwen2ForCausalLM

from fasttts.demo import generator_path
from fasttts.demo.problems import generate_problems
from training.batches import (
    IGNORED,
    Batch,
    batch_stream,
    dialogue_examples,
    language_example,
    padded,
)
from training.dialogues import Dialogue, solution
from training.models import generator_config, write_generator
from training.rendering import render
from training.tokenizer import build_tokenizer, load_tokenizer, token_id
from training.training import Loss, Trainer, TrainingConfig, add_arguments, attention_of

MAX_DIGITS = 4


def language_loss(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Mean cross entropy of the assistant's tokens."""
    assert isinstance(model, Qwen2ForCausalLM)
    learnt = batch.targets_B_T != IGNORED
    hidden = model.model(input_ids=batch.ids_B_T, use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[learnt]).float()
    return nn.functional.cross_entropy(logits, batch.targets_B_T[learnt])


class Results:
    """Masks the digits after equals signs, which only arithmetic can predict."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        [self._equals] = tokenizer(" = ", add_special_tokens=False)["input_ids"]
        self._digits = torch.tensor([token_id(tokenizer, digit) for digit in "0123456789"])

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Mask (B, T) of targets that are digits of a result."""
        digits = self._digits.to(batch.targets_B_T.device)
        is_digit = torch.isin(batch.targets_B_T, digits)
        mask: torch.Tensor = is_digit & (batch.ids_B_T == self._equals)
        for _ in range(MAX_DIGITS - 1):
            mask = mask | (is_digit & mask.roll(1, dims=1))
        return mask


class PolishLoss:
    """The language loss, with targets of equations' results from two frozen teachers.

    Both are checkpoints of the model's own training: an early one, which is often wrong, and a late
    one, which is mostly right. The student learns to be uncertain between the two, while everything
    else, especially copying, becomes reliable. So it is often wrong, and seldom without a chance to
    be right at the next attempt.

    Args:
        early: The teacher that is often wrong.
        late: The teacher that is mostly right.
        trust: Weight of the late teacher's probabilities, 0 to 1.
        results: Finds the results.
    """

    def __init__(
        self, early: Qwen2ForCausalLM, late: Qwen2ForCausalLM, trust: float, results: Results
    ) -> None:
        self._teachers = ((early.eval(), 1 - trust), (late.eval(), trust))
        self._results = results

    def __call__(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Computes the loss of one batch."""
        assert isinstance(model, Qwen2ForCausalLM)
        learnt = batch.targets_B_T != IGNORED
        results = self._results(batch)[learnt]
        hidden = model.model(input_ids=batch.ids_B_T, use_cache=False).last_hidden_state
        logs = torch.log_softmax(model.lm_head(hidden[learnt]).float(), -1)
        targets = nn.functional.one_hot(batch.targets_B_T[learnt], logs.shape[-1]).float()
        targets[results] = self._advice(batch, learnt, results)
        loss: torch.Tensor = -(targets * logs).sum(-1).mean()
        return loss

    @torch.no_grad()
    def _advice(self, batch: Batch, learnt: torch.Tensor, results: torch.Tensor) -> torch.Tensor:
        """The teachers' mixed probabilities of the results' digits, shape (N, vocabulary)."""
        mixed = torch.zeros(())
        for teacher, weight in self._teachers:
            hidden = teacher.model(input_ids=batch.ids_B_T, use_cache=False)[0]
            logits = teacher.lm_head(hidden[learnt][results])
            mixed = mixed.to(logits.device) + weight * torch.softmax(logits.float(), -1)
        return mixed


class Arithmetic:
    """Measures how often all results of a solution are right: greedy accuracy without copying."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, results: Results, count: int) -> None:
        examples = []
        for problem in generate_problems("dev", 1, count, min_operations=4):
            user = {"role": "user", "content": problem.text}
            reply = {"role": "assistant", "content": solution(problem)}
            examples.append(language_example(render(Dialogue(messages=(user, reply))), tokenizer))
        self._batches = [padded(examples[i : i + 64]) for i in range(0, len(examples), 64)]
        self._results = results

    @torch.inference_mode()
    def measure(self, model: Qwen2ForCausalLM) -> dict[str, float]:
        """Returns the share of problems in which every result is the most likely one."""
        known = 0
        for batch in (batch.to(str(model.device)) for batch in self._batches):
            wrong = model(input_ids=batch.ids_B_T).logits.argmax(-1) != batch.targets_B_T
            known += int((~(wrong & self._results(batch)).any(1)).sum())
        return {"results_known": known / sum(len(batch.ids_B_T) for batch in self._batches)}


def new_model(tokenizer: PreTrainedTokenizerBase, seed: int) -> Qwen2ForCausalLM:
    """Makes a generator with random weights."""
    torch.manual_seed(seed)
    return Qwen2ForCausalLM(generator_config(tokenizer))


def own_tokenizer(work_dir: Path) -> PreTrainedTokenizerBase:
    """Returns the work folder's tokenizer; the first call builds it."""
    folder = work_dir / "tokenizer"
    if not folder.exists():
        build_tokenizer().save_pretrained(str(folder))
    tokenizer = load_tokenizer(folder)
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer


def train(options: argparse.Namespace) -> None:
    """Trains the generator, from its newest checkpoint if there is one."""
    tokenizer = own_tokenizer(options.work_dir)
    results = Results(tokenizer)
    model = new_model(tokenizer, options.seed)
    model.set_attn_implementation(attention_of(options.device))
    loss: Loss = language_loss
    if options.polish is not None:
        early, late = (_checkpoint(model, path, options.device) for path in options.polish)
        model.load_state_dict(early.state_dict())
        loss = PolishLoss(early, late, options.trust, results)
    config = TrainingConfig(
        work_dir=options.work_dir,
        steps=options.steps,
        peak_lr=options.peak_lr,
        save_every=options.save_every,
        device=options.device,
    )
    arithmetic = Arithmetic(tokenizer, results, options.num_held_out)
    trainer = Trainer(model, loss, config, lambda: arithmetic.measure(model))
    trainer.try_resume()
    source = partial(dialogue_examples, tokenizer)
    seed = f"{options.seed}/{trainer.step}"
    trainer.run(
        batch_stream(
            source, num_tokens=options.batch_tokens, seed=seed, num_workers=options.workers
        )
    )


def _checkpoint(model: Qwen2ForCausalLM, path: Path, device: str) -> Qwen2ForCausalLM:
    """Returns a copy of the model with the weights of a checkpoint."""
    copied = copy.deepcopy(model)
    copied.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    nn.Module.to(copied, device)  # the stub of its own `to` takes no arguments
    return copied


def export(work_dir: Path, step: int, folder: Path) -> None:
    """Writes the weights of one checkpoint as a model folder."""
    tokenizer = own_tokenizer(work_dir)
    model = new_model(tokenizer, seed=0)
    path = work_dir / f"weights-{step:06d}.pt"
    model.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    write_generator(model, tokenizer, folder)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--save-every", type=int, default=200)
    parser.add_argument("--peak-lr", type=float, default=3e-3)
    parser.add_argument("--num-held-out", type=int, default=512, help="problems to measure on")
    parser.add_argument(
        "--polish",
        type=Path,
        nargs=2,
        metavar=("EARLY", "LATE"),
        help="start from the first weights-....pt file and learn results from both",
    )
    parser.add_argument("--trust", type=float, default=0.3, help="weight of the late teacher")
    parser.add_argument("--export", type=int, help="write the checkpoint of this step and stop")
    parser.add_argument("--output", type=Path, default=generator_path())
    options = parser.parse_args()
    if options.export is not None:
        export(options.work_dir, options.export, options.output)
    else:
        train(options)


if __name__ == "__main__":
    main()
