"""Trains a process reward model on labels: transformers' Trainer does the work.

Importing this module loads torch and transformers.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import (
    PreTrainedTokenizerBase,
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
    IGNORED,
    add_lora,
    load_model,
    load_tokenizer,
    prompt_format,
    write_model,
)
from fasttts.prm.options import TrainingOptions
from fasttts.prm.quality import Quality, area_under_curve, judge_scores
from fasttts.prm.report import CurvePoint, TrainingReport
from fasttts.prm.training_folder import TrainingFolder

NUM_EVALUATIONS = 10
"""How often a training looks at the held-out labels, and writes a checkpoint."""

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
        ConfigurationError: The model or the labels cannot work, or the folder cannot be written.
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
    trainer = Trainer(
        model=model,
        args=_arguments(options, folder.checkpoints, len(examples), has_gpu=has_gpu),
        data_collator=_Collator(tokenizer),
        train_dataset=[_row(example) for example in examples],
        eval_dataset=[_row(example) for example in measured],
        preprocess_logits_for_metrics=_right_shares,
        compute_metrics=_metrics,
        callbacks=[_Progress(on_step)],
    )
    trainer.remove_callback(PrinterCallback)
    try:
        trainer.train(resume_from_checkpoint=folder.newest_checkpoint())
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


def _row(example: Example) -> dict[str, list[Any]]:
    labels = [IGNORED] * len(example.token_ids)
    for position, target in zip(example.positions, example.targets, strict=True):
        labels[position] = target
    return {"input_ids": list(example.token_ids), "labels": labels}


class _Collator:
    """Pads examples on the right to one length.

    Args:
        tokenizer: Whose padding token fills.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._padding = int(tokenizer.pad_token_id or 0)

    def __call__(self, rows: list[Any]) -> dict[str, Any]:
        length = max(len(row["input_ids"]) for row in rows)

        def padded(values: Sequence[list[Any]], fill: float) -> torch.Tensor:
            return torch.tensor([each + [fill] * (length - len(each)) for each in values])

        ids = [row["input_ids"] for row in rows]
        return {
            "input_ids": padded(ids, self._padding),
            "attention_mask": padded([[1] * len(each) for each in ids], 0),
            "labels": padded([row["labels"] for row in rows], IGNORED),
        }


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
    area = area_under_curve(scores, labels)
    return {} if area is None else {"auc": area}


def _report(
    trainer: Trainer,
    options: TrainingOptions,
    examples: Sequence[Example],
    measured: Sequence[Example],
) -> TrainingReport:
    rows: Any = [_row(example) for example in measured]  # a list is a data set to the Trainer
    found: Any = trainer.predict(rows)
    is_scored = found.label_ids >= 0.0
    problems = [example.problem for example in measured for _ in example.positions]
    quality: Quality = judge_scores(
        found.predictions[is_scored].tolist(), found.label_ids[is_scored].tolist(), problems
    )
    if not math.isfinite(quality.brier):
        raise ConfigurationError(
            f"--learning-rate {options.learning_rate}: the scores are no numbers; lower it"
        )
    return TrainingReport(
        options=options,
        num_examples=len(examples),
        num_steps=sum(len(example.positions) for example in examples),
        curve=tuple(_curve(trainer.state.log_history)),
        held_out=quality,
    )


def _curve(history: Sequence[Mapping[str, Any]]) -> list[CurvePoint]:
    """The points of a curve; the losses of training and of held-out labels are logged apart."""
    losses = {entry["step"]: entry["loss"] for entry in history if "loss" in entry}
    return [
        CurvePoint(
            step=entry["step"],
            epoch=entry["epoch"],
            train_loss=losses.get(entry["step"]),
            held_out_loss=entry["eval_loss"],
            held_out_auc=entry.get("eval_auc"),
        )
        for entry in history
        if "eval_loss" in entry
    ]
