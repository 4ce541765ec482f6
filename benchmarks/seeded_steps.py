"""Seeded step lengths on real engines: for benchmarks only.

Models without training, or with a workload of their own, do not end steps where a benchmark needs
them. This logits processor ends each step at its seeded length. For models with dummy weights it
also writes the text, from words that seed and position choose: what such models say is noise, and
not the same noise on every device.

Axes: B rows of the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from benchmarks.workload import step_length
from fasttts.backends.vllm.sampler import ARGUMENT

if TYPE_CHECKING:
    from vllm.config import VllmConfig

ARGUMENTS = "fasttts_benchmark"
"""Key in vLLM's `additional_config`, with what `steps_options` makes."""

_MIX = np.uint64(0x9E3779B97F4A7C15)


def steps_options(
    tokenizer: str, *, num_prompt_tokens: int, writes_text: bool = False
) -> dict[str, Any]:
    """Ids of the separator and of the tokens that end an answer, and the length of every prompt.

    Args:
        tokenizer: A directory with the generator's tokenizer.
        num_prompt_tokens: The same for all searches.
        writes_text: Whether words replace what the model says.
    """
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(tokenizer)
    separator = loaded.encode("\n\n", add_special_tokens=False)
    texts = [str(loaded.decode([i])) for i in range(len(loaded))] if writes_text else []
    words = [i for i, text in enumerate(texts) if text[:1] == " " and text[1:].isalpha()]
    return {
        "separator": separator[0],
        "end": [loaded.eos_token_id],
        "num_prompt_tokens": num_prompt_tokens,
        "words": words,
    }


@dataclass(slots=True)
class _Row:
    seed: int
    num_prompt_tokens: int
    output: Sequence[int]
    end: int


class SeededSteps(LogitsProcessor):
    """Forces the step separator where a step has its seeded length, and forbids it elsewhere."""

    def __init__(
        self, vllm_config: "VllmConfig", device: torch.device, is_pin_memory: bool
    ) -> None:
        additional: Any = vllm_config.additional_config
        options: dict[str, Any] = additional[ARGUMENTS]
        self._separator: int = options["separator"]
        self._forbidden: list[int] = [self._separator, *options["end"]]
        self._num_prompt_tokens: int = options["num_prompt_tokens"]
        self._words = np.array(options["words"], dtype=np.int64)
        self._rows: dict[int, _Row] = {}

    def is_argmax_invariant(self) -> bool:
        """False: it decides tokens."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follows requests that left, entered and moved."""
        process_dict_updates(self._rows, batch_update, self._row)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Changes `logits` [rows, V] in place."""
        rows = sorted(self._rows.items())
        if len(self._words):
            self._write(logits, rows)
            return logits
        logits[:, self._forbidden] = float("-inf")
        ending = [index for index, row in rows if _ends_now(row)]
        logits[ending] = float("-inf")
        logits[ending, self._separator] = 0.0
        return logits

    def _write(self, logits: torch.Tensor, rows: Sequence[tuple[int, _Row]]) -> None:
        """Leaves one token possible in each row: the separator, or a word."""
        seeds_B = np.array([row.seed for _, row in rows], dtype=np.uint64)
        positions_B = np.array([_position(row) for _, row in rows], dtype=np.uint64)
        mixed_B = (seeds_B + positions_B * _MIX) * _MIX >> np.uint64(33)
        tokens_B = self._words[(mixed_B % np.uint64(len(self._words))).astype(np.int64)]
        tokens_B[[_ends_now(row) for _, row in rows]] = self._separator
        indices = torch.tensor([index for index, _ in rows], device=logits.device)
        logits[indices] = float("-inf")
        logits[indices, torch.from_numpy(tokens_B).to(logits.device)] = 0.0

    def _row(
        self, params: SamplingParams, prompt: Sequence[int] | None, output: Sequence[int]
    ) -> _Row:
        seed, *_ = (params.extra_args or {})[ARGUMENT]
        prompt = prompt or ()
        tokens = [*prompt, *output]
        start = len(tokens)
        while start > self._num_prompt_tokens and tokens[start - 1] != self._separator:
            start -= 1
        return _Row(seed, len(prompt), output, start + step_length(seed, start))


def _position(row: _Row) -> int:
    return row.num_prompt_tokens + len(row.output)


def _ends_now(row: _Row) -> bool:
    position = _position(row)
    if position >= row.end:
        row.end = position + step_length(row.seed, position)
    return position == row.end - 1
