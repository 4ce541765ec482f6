"""The options of a training, checked."""

from dataclasses import dataclass
from typing import Literal

from fasttts.errors import ConfigurationError
from fasttts.prm.labels import Target

Method = Literal["full", "lora"]
"""Which weights learn: all of them, or adapters that are merged at the end."""

LEARNING_RATES: dict[Method, float] = {"full": 2e-5, "lora": 2e-4}

_MOST = 1_000_000
"""Far beyond what trains; larger numbers never end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """How a process reward model is trained; with the labels they determine it, on one device.

    Attributes:
        model: The language model that it begins as: "demo", a directory or a hub name.
        method: Which weights learn.
        target: The kind of label to learn.
        epochs: Times that every example is seen.
        batch_size: Examples of an optimiser step.
        learning_rate: Highest learning rate; it falls along a cosine.
        lora_rank: Rank of adapters.
        max_length: Longest example in tokens.
        dtype: Of the written weights.
        seed: Draws the new head and the order of examples.
        is_on_cpu: Whether a GPU is left alone.
    """

    model: str
    method: Method = "full"
    target: Target = "soft"
    epochs: int = 2
    batch_size: int = 16
    learning_rate: float = LEARNING_RATES["full"]
    lora_rank: int = 16
    max_length: int = 2048
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    seed: int = 0
    is_on_cpu: bool = False

    def __post_init__(self) -> None:
        for flag, value in {
            "--epochs": self.epochs,
            "--batch-size": self.batch_size,
            "--lora-rank": self.lora_rank,
            "--max-length": self.max_length,
        }.items():
            if not 1 <= value <= _MOST:
                raise ConfigurationError(f"{flag} {value}: from 1 to {_MOST:,}")
        if not 0.0 < self.learning_rate < 1.0:
            raise ConfigurationError(
                f"--learning-rate {self.learning_rate}: a number above 0 and below 1"
            )
        if self.seed < 0 or self.seed >= 1 << 32:
            raise ConfigurationError(f"--seed {self.seed}: from 0 to {(1 << 32) - 1}")
