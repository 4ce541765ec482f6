"""Trains the generator: `python -m fasttts.demo.train_generator --work-dir WORK`.

Started again with the same folder, it goes on from the newest checkpoint. Every checkpoint's
weights are kept; `--export STEP` writes one of them as the demonstration model.
"""

import argparse
import copy
import random
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase, Qwen2ForCausalLM

from fasttts.demo import attention, generator_path
from fasttts.demo.batches import IGNORED, Batch, batched, dialogue_examples
from fasttts.demo.models import generator_config, write_generator
from fasttts.demo.tokenizer import build_tokenizer, load_tokenizer, token_id
from fasttts.demo.training import Loss, Trainer, TrainingConfig

BATCH_TOKENS = 6144
MAX_DIGITS = 4


def language_loss(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Mean cross entropy of the tokens the assistant writes."""
    assert isinstance(model, Qwen2ForCausalLM)
    learnt = batch.targets_B_T != IGNORED
    hidden = model.model(input_ids=batch.ids_B_T, use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[learnt]).float()
    return nn.functional.cross_entropy(logits, batch.targets_B_T[learnt])


class PolishLoss:
    """The language loss, but results of equations are learnt from a frozen teacher.

    The teacher is the model as it was: so the results stay as uncertain as they were while all
    else, copying above all, becomes reliable.
    """

    def __init__(self, teacher: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase) -> None:
        self._teacher = teacher.eval()
        [self._equals] = tokenizer(" = ", add_special_tokens=False)["input_ids"]
        self._digits = torch.tensor([token_id(tokenizer, digit) for digit in "0123456789"])

    def __call__(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Returns the loss of one batch."""
        assert isinstance(model, Qwen2ForCausalLM)
        learnt = batch.targets_B_T != IGNORED
        results = self._results(batch)[learnt]
        hidden = model.model(input_ids=batch.ids_B_T, use_cache=False).last_hidden_state
        logs = torch.log_softmax(model.lm_head(hidden[learnt]).float(), -1)
        targets = nn.functional.one_hot(batch.targets_B_T[learnt], logs.shape[-1]).float()
        with torch.no_grad():
            hidden = self._teacher.model(input_ids=batch.ids_B_T, use_cache=False)[0]
            logits = self._teacher.lm_head(hidden[learnt][results])
            targets[results] = torch.softmax(logits.float(), -1)
        loss: torch.Tensor = -(targets * logs).sum(-1).mean()
        return loss

    def _results(self, batch: Batch) -> torch.Tensor:
        """Mask (B, T) of targets that are digits behind an equals sign."""
        is_digit = torch.isin(batch.targets_B_T, self._digits)
        mask: torch.Tensor = is_digit & (batch.ids_B_T == self._equals)
        for _ in range(MAX_DIGITS - 1):
            mask = mask | (is_digit & mask.roll(1, dims=1))
        return mask


def new_model(tokenizer: PreTrainedTokenizerBase, seed: int) -> Qwen2ForCausalLM:
    """A generator with random weights."""
    torch.manual_seed(seed)
    model = Qwen2ForCausalLM(generator_config(tokenizer))
    model.set_attn_implementation(attention.register())
    return model


def own_tokenizer(work_dir: Path) -> PreTrainedTokenizerBase:
    """Returns the work folder's tokenizer; the first call builds it."""
    folder = work_dir / "tokenizer"
    if not folder.exists():
        build_tokenizer().save_pretrained(str(folder))
    tokenizer = load_tokenizer(folder)
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer


def train(work_dir: Path, *, steps: int, peak_lr: float, seed: int, polish: Path | None) -> None:
    """Trains, or goes on with, the generator."""
    tokenizer = own_tokenizer(work_dir)
    model = new_model(tokenizer, seed)
    loss: Loss = language_loss
    if polish is not None:
        model.load_state_dict(torch.load(polish, weights_only=True))
        loss = PolishLoss(copy.deepcopy(model), tokenizer)
    config = TrainingConfig(work_dir=work_dir, steps=steps, peak_lr=peak_lr)
    trainer = Trainer(model, loss, config)
    trainer.try_resume()
    examples = dialogue_examples(f"{seed}/{trainer.step}", tokenizer)
    trainer.run(batched(examples, BATCH_TOKENS, random.Random(f"{seed}/{trainer.step}")))


def export(work_dir: Path, step: int, folder: Path) -> None:
    """Writes the weights of one checkpoint as a model folder."""
    tokenizer = own_tokenizer(work_dir)
    model = new_model(tokenizer, seed=0)
    weights = torch.load(work_dir / f"weights-{step:06d}.pt", weights_only=True)
    model.load_state_dict(weights)
    write_generator(model, tokenizer, folder)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--peak-lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--polish",
        type=Path,
        help="start from this weights-....pt file and learn results of equations from them",
    )
    parser.add_argument("--export", type=int, help="write the checkpoint of this step and stop")
    parser.add_argument("--output", type=Path, default=generator_path())
    arguments = parser.parse_args()
    if arguments.export is not None:
        export(arguments.work_dir, arguments.export, arguments.output)
        return
    train(
        arguments.work_dir,
        steps=arguments.steps,
        peak_lr=arguments.peak_lr,
        seed=arguments.seed,
        polish=arguments.polish,
    )


if __name__ == "__main__":
    main()
