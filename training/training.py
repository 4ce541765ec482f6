"""The loop of both trainings: schedule, optimisers, checkpoints, log."""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from training import attention
from training.batches import Batch
from training.models import default_device

Loss = Callable[[nn.Module, Batch], torch.Tensor]
Evaluation = Callable[[], dict[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """Settings of one training.

    Attributes:
        work_dir: Folder of the checkpoints and the log.
        steps: Number of optimiser steps.
        peak_lr: Learning rate after the warm-up; it falls linearly to a twentieth.
        warmup_steps: Steps over which the learning rate rises.
        save_every: Steps between checkpoints.
        log_every: Steps between log lines.
        keep: Whether the weights of every checkpoint are kept beside the newest one.
        device: The model's device, as torch names it.
    """

    work_dir: Path
    steps: int
    peak_lr: float
    warmup_steps: int = 100
    save_every: int = 200
    log_every: int = 50
    keep: bool = True
    device: str = "cpu"


class Trainer:
    """Owns a model's optimisers and its progress.

    Args:
        model: The model to train.
        loss: Computes the loss of a batch.
        config: The settings.
        evaluation: Measures the model at each checkpoint, for the log.
    """

    def __init__(
        self, model: nn.Module, loss: Loss, config: TrainingConfig, evaluation: Evaluation
    ) -> None:
        self.model = model.to(config.device)
        self.step = 0
        self.seconds = 0.0
        self._loss = loss
        self._config = config
        self._evaluation = evaluation
        learnt = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        matrices = [p for n, p in learnt if p.ndim == 2 and ".layers." in n]
        chosen = {id(p) for p in matrices}
        others = [p for _, p in learnt if id(p) not in chosen]
        self._optimizers: tuple[torch.optim.Optimizer, ...] = (
            torch.optim.Muon(matrices, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
        )
        config.work_dir.mkdir(parents=True, exist_ok=True)

    @property
    def _checkpoint(self) -> Path:
        return self._config.work_dir / "checkpoint.pt"

    def try_resume(self) -> bool:
        """Continues from the newest checkpoint; returns whether there is one."""
        if not self._checkpoint.exists():
            return False
        state = torch.load(self._checkpoint, weights_only=True, map_location=self._config.device)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.seconds = state["step"], state["seconds"]
        return True

    def save(self) -> None:
        """Writes model, optimisers and progress; an interrupted write leaves the old file."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "step": self.step,
            "seconds": self.seconds,
        }
        partial = self._checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self._checkpoint)
        if self._config.keep:
            torch.save(state["model"], self._config.work_dir / f"weights-{self.step:06d}.pt")

    def run(self, batches: Iterator[Batch]) -> None:
        """Trains up to the configured number of steps."""
        config = self._config
        while self.step < config.steps:
            start = time.perf_counter()
            batch = next(batches)
            loss = self._update(batch.to(config.device))
            self.seconds += time.perf_counter() - start
            self.step += 1
            is_saved = self.step % config.save_every == 0 or self.step == config.steps
            if is_saved or self.step % config.log_every == 0:
                self._log(float(loss), batch, self._evaluation() if is_saved else {})
            if is_saved:
                self.save()

    def _update(self, batch: Batch) -> torch.Tensor:
        config = self._config
        warm = min(1.0, (self.step + 1) / config.warmup_steps)
        lr = config.peak_lr * warm * (1 - 0.95 * self.step / config.steps)
        with torch.autocast(torch.device(config.device).type, torch.bfloat16):
            loss = self._loss(self.model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def _log(self, loss: float, batch: Batch, measured: dict[str, float]) -> None:
        line = {"step": self.step, "loss": round(loss, 4), "seconds": round(self.seconds)}
        line["batch_tokens"] = batch.ids_B_T.numel()
        line |= {name: round(value, 4) for name, value in measured.items()}
        with (self._config.work_dir / "curve.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def attention_of(device: str) -> str:
    """Name of the attention implementation that trains fastest on a device."""
    return attention.register() if device == "cpu" else "sdpa"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of both trainings."""
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default=default_device())
    parser.add_argument("--batch-tokens", type=int, default=6144)
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches")
