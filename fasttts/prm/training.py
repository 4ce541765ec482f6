"""Trains a process reward model on labels: transformers' Trainer does the work.

Importing this module loads torch and transformers.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from fasttts.config import DEMO
from fasttts.demo import generator_path
from fasttts.errors import ConfigurationError
from fasttts.prm.examples import Example, make_examples
from fasttts.prm.labels import LabelRecord
from fasttts.prm.model import (
    add_lora,
    labelled_row,
    load_model,
    load_tokenizer,
    padded_batch,
    prompt_format,
    write_model,
)
from fasttts.prm.options import TrainingOptions
from fasttts.prm.quality import Quality, area_under_curve, judge_scores
from fasttts.prm.report import TrainingReport, curve_points
from fasttts.prm.skipped_steps import SKIPPED, skipped_steps, why_ended
from fasttts.prm.training_folder import TrainingFolder

NUM_EVALUATIONS = 10
"""How often a training looks at the held-out labels, and writes a checkpoint."""

MAX_GRADIENT_NORM = 1.0
"""Longer gradients are cut to this length."""

_ATTENTION = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
"""Not cuDNN's, which torch 2.11 takes first on an H100 or H200: with a mask, and where a length
divided by 128 leaves 64, its gradients may be no numbers (pytorch/pytorch#196678)."""

_ZIP_WRITER = "inline_container"
"""The part of torch that writes its files, in the errors that it raises on a full disk."""

OnStep = Callable[[int, int], None]
"""Called with the optimiser steps that are done, and with all of them."""


def train_verifier(
    options: TrainingOptions,
    records: Sequence[LabelRecord],
    held_out: Sequence[LabelRecord],
    folder: TrainingFolder,
    on_step: OnStep,
) -> TrainingReport:
    """Trains, from the newest whole checkpoint if there is one, and writes the model.

    Args:
        options: How to train.
        records: Labels to train on.
        held_out: Labels to measure with; of other problems.
        folder: Where checkpoints are kept, and where the model goes.
        on_step: Reports progress.

    Raises:
        ConfigurationError: The model or the labels cannot work, the folder cannot be written, or
            the training ended early because too much in it is no finite number; its best model
            until then, if there is one, is in `folder.best`.
    """
    source = str(generator_path()) if options.model == DEMO else options.model
    tokenizer = load_tokenizer(source)
    asked = prompt_format(tokenizer, options.model)
    examples, measured = (
        make_examples(part, asked, target=options.target, max_length=options.max_length)
        for part in (records, held_out)
    )
    set_seed(options.seed)
    has_gpu = torch.cuda.is_available() and not options.is_on_cpu
    written_dtype = torch.bfloat16 if options.dtype == "bfloat16" else torch.float32
    # A frozen model needs no more digits than it came with; weights that learn do.
    dtype = torch.bfloat16 if has_gpu and options.method == "lora" else torch.float32
    model: Any = load_model(source, tokenizer, dtype)
    if options.method == "lora":
        model = add_lora(model, options.lora_rank)
    padding = int(tokenizer.pad_token_id or 0)
    trainer = _LossTrainer(
        model=model,
        args=_arguments(options, folder.checkpoints, len(examples), has_gpu=has_gpu),
        data_collator=lambda rows: padded_batch(rows, padding),
        train_dataset=[labelled_row(example) for example in examples],
        eval_dataset=[labelled_row(example) for example in measured],
        preprocess_logits_for_metrics=_right_shares,
        compute_metrics=_metrics,
        callbacks=[_Progress(on_step)],
    )
    trainer.add_callback(_FiniteSteps(trainer))
    trainer.remove_callback(PrinterCallback)
    try:
        with sdpa_kernel(_ATTENTION):
            trainer.train(resume_from_checkpoint=folder.newest_checkpoint())
            state = trainer.state
            if (why := why_ended(state.log_history, state.max_steps)) is not None:
                if (best := state.best_global_step) is not None:  # Trainer has loaded it again
                    write_model(trainer.model, tokenizer, written_dtype, folder.best)
                raise folder.ended_early(f"{why}; {_remedy(options)}", best)
            report = _report(trainer, options, examples, measured)
        write_model(trainer.model, tokenizer, written_dtype, folder.model)
    except torch.OutOfMemoryError as error:
        raise ConfigurationError(
            f"the GPU's memory is too small for {options.model!r}: lower --batch-size or "
            "--max-length, use --method lora, or end other programs on it"
        ) from error
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and _ZIP_WRITER not in str(error):
            raise
        raise folder.cannot_write(error) from error
    return report


def _arguments(
    options: TrainingOptions, folder: Path, num_examples: int, *, has_gpu: bool
) -> TrainingArguments:
    num_steps = math.ceil(num_examples / options.batch_size) * options.epochs
    every = max(1, num_steps // NUM_EVALUATIONS)
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=options.epochs,
        per_device_train_batch_size=options.batch_size,
        per_device_eval_batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, num_steps // 20),
        max_grad_norm=0.0,  # `_FiniteSteps` cuts them
        logging_nan_inf_filter=False,  # it would log NaN as 0; `_LossTrainer` knows better
        bf16=has_gpu,
        use_cpu=not has_gpu,
        dataloader_pin_memory=has_gpu,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=1,  # the best one stays beside it
        load_best_model_at_end=True,
        metric_for_best_model="loss",
        logging_steps=every,
        label_names=["labels"],
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to="none",
        seed=options.seed,
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # else Trainer splits batches over all GPUs
    return arguments


class _LossTrainer(Trainer):
    """A Trainer that knows the loss of a step, and logs a mean as NaN where one is no number."""

    newest_loss: torch.Tensor
    _has_finite_mean = True

    def training_step(self, *args: Any, **options: Any) -> torch.Tensor:
        """Computes loss and gradients of a step; Trainer adds up the loss, to log its mean."""
        self.newest_loss = super().training_step(*args, **options)
        if bool(torch.isfinite(self.newest_loss)):
            return self.newest_loss
        self._has_finite_mean = False  # a sum that is NaN would stay so: Trainer subtracts it
        return torch.zeros_like(self.newest_loss)

    def log(self, logs: dict[str, float], *args: Any, **options: Any) -> None:
        """Logs, with the mean loss as it is."""
        if "loss" in logs:
            logs["loss"] = logs["loss"] if self._has_finite_mean else math.nan
            self._has_finite_mean = True
        super().log(logs, *args, **options)


class _FiniteSteps(TrainerCallback):
    """Leaves out a step whose loss or gradients are no finite numbers; ends where too many are.

    A step without gradients changes neither weights nor the optimiser's state. The learning rate
    goes on as if it had been made.

    Args:
        trainer: Whose steps they are.
    """

    def __init__(self, trainer: _LossTrainer) -> None:
        self._trainer = trainer

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        """Cuts gradients, or removes all of them."""
        model: nn.Module = known["model"]
        norm = nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
        if bool(torch.isfinite(norm + self._trainer.newest_loss)):
            return
        model.zero_grad(set_to_none=True)
        state.log_history.append({"step": state.global_step + 1, SKIPPED: True})
        if why_ended(state.log_history, state.max_steps) is not None:
            control.should_training_stop = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ends a training whose scores are no numbers, without a checkpoint to continue from."""
        if why_ended(state.log_history, state.max_steps) is not None:
            control.should_training_stop, control.should_save = True, False


class _Progress(TrainerCallback):
    """Reports each optimiser step.

    Args:
        on_step: Called with the steps done, and all of them.
    """

    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Reports a step."""
        self._on_step(state.global_step, state.max_steps)


def _right_shares(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The probability of right at every position, shape (B, T)."""
    return torch.softmax(logits.float(), dim=-1)[..., 1]


def _metrics(prediction: Any) -> dict[str, float]:
    is_scored = prediction.label_ids >= 0.0
    scores = prediction.predictions[is_scored].astype(np.float64)
    labels = prediction.label_ids[is_scored].astype(np.float64)
    area = area_under_curve(scores, labels) if np.isfinite(scores).all() else None
    return {} if area is None else {"auc": area}


def _remedy(options: TrainingOptions) -> str:
    remedy = f"lower --learning-rate {options.learning_rate}, or begin with another --model"
    has_gpu = torch.cuda.is_available() and not options.is_on_cpu
    return remedy + ("; with --cpu it computes in 32 bits" if has_gpu else "")


def _report(
    trainer: Trainer,
    options: TrainingOptions,
    examples: Sequence[Example],
    measured: Sequence[Example],
) -> TrainingReport:
    rows: Any = [
        labelled_row(example) for example in measured
    ]  # a list is a data set to the Trainer
    found: Any = trainer.predict(rows)
    is_scored = found.label_ids >= 0.0
    problems = [example.problem for example in measured for _ in example.positions]
    quality: Quality = judge_scores(
        found.predictions[is_scored].tolist(), found.label_ids[is_scored].tolist(), problems
    )
    if not math.isfinite(quality.brier):
        raise ConfigurationError(f"scores of held-out steps are no numbers; {_remedy(options)}")
    return TrainingReport(
        options=options,
        num_examples=len(examples),
        num_steps=sum(len(example.positions) for example in examples),
        curve=curve_points(trainer.state.log_history),
        held_out=quality,
        skipped_steps=skipped_steps(trainer.state.log_history),
    )
