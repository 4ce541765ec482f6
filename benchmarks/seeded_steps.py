"""Seeded step lengths on real engines: for benchmarks only.

Models without training, or with a workload of their own, do not end steps where a benchmark needs
them. This logits processor ends each step at its seeded length. For models with dummy weights it
also writes the text, from words that seed and position choose: what such models say is noise, and
not the same noise on every device.

Axes: B rows of the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from vllm import SamplingParams
from vllm.utils.torch_utils import async_tensor_h2d
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
    tokenizer: str,
    *,
    num_prompt_tokens: int,
    writes_text: bool = False,
    streams: Path | None = None,
) -> dict[str, Any]:
    """Ids of the separator and of the tokens that end an answer, and the length of every prompt.

    Args:
        tokenizer: A directory with the generator's tokenizer.
        num_prompt_tokens: The same for all searches.
        writes_text: Whether words replace what the model says.
        streams: A file of recorded text to take the place of seeded words; the second runner's.
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
        "streams": None if streams is None else str(streams.resolve()),
    }


def seeded_words(
    seeds_B: npt.NDArray[np.uint64] | np.uint64,
    positions_B: npt.NDArray[np.int64],
    words: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """The words of seeds at positions.

    Args:
        seeds_B: One for each position, or one for all.
        positions_B: Absolute positions.
        words: Tokens to choose from.
    """
    with np.errstate(over="ignore"):  # hashes wrap around
        mixed_B = (seeds_B + positions_B.astype(np.uint64) * _MIX) * _MIX >> np.uint64(33)
    return words[(mixed_B % np.uint64(len(words))).astype(np.int64)]


@dataclass(slots=True)
class _Row:
    seed: int
    num_prompt_tokens: int
    output: Sequence[int]
    end: int


class _Rows:
    """The rows of a batch side by side, until it changes; nothing here is done row by row.

    Real models need none of this, so it should not cost what a benchmark measures.
    """

    def __init__(self, rows: dict[int, _Row]) -> None:
        self.indices_B = np.array(sorted(rows), dtype=np.int64)
        self._rows = [rows[index] for index in self.indices_B]
        self._outputs = [row.output for row in self._rows]
        prompts = [row.num_prompt_tokens for row in self._rows]
        self._num_prompt_tokens_B = np.array(prompts, dtype=np.int64)
        self._ends_B = np.array([row.end for row in self._rows], dtype=np.int64)
        self.seeds_B = np.array([row.seed for row in self._rows], dtype=np.uint64)

    def positions_B(self) -> np.ndarray:
        """Where the next token of each row stands, int64."""
        lengths = np.fromiter(map(len, self._outputs), dtype=np.int64, count=len(self._outputs))
        return self._num_prompt_tokens_B + lengths

    def are_ending_B(self, positions_B: np.ndarray) -> np.ndarray:
        """Whether the token at each of these positions ends a step, bool."""
        for number in np.flatnonzero(positions_B >= self._ends_B):
            row, position = self._rows[number], int(positions_B[number])
            row.end = self._ends_B[number] = position + step_length(row.seed, position)
        return np.equal(positions_B, self._ends_B - 1)


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
        self._by_index: dict[int, _Row] = {}
        self._rows = _Rows({})

    def is_argmax_invariant(self) -> bool:
        """False: it decides tokens."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follows requests that left, entered and moved."""
        if process_dict_updates(self._by_index, batch_update, self._row):
            self._rows = _Rows(self._by_index)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Changes `logits` [rows, V] in place."""
        positions_B = self._rows.positions_B()
        are_ending_B = self._rows.are_ending_B(positions_B)
        if len(self._words):
            return self._write(logits, positions_B, are_ending_B)
        logits[:, self._forbidden] = float("-inf")
        ending = self._rows.indices_B[are_ending_B]
        logits[ending] = float("-inf")
        logits[ending, self._separator] = 0.0
        return logits

    def _write(
        self, logits: torch.Tensor, positions_B: np.ndarray, are_ending_B: np.ndarray
    ) -> torch.Tensor:
        """Leaves one token possible in each row: the separator, or a word."""
        rows = self._rows
        words_B = seeded_words(rows.seeds_B, positions_B, self._words)
        tokens_B = np.where(are_ending_B, self._separator, words_B)
        chosen = async_tensor_h2d(np.stack([rows.indices_B, tokens_B]), device=logits.device)
        logits.index_fill_(0, chosen[0], float("-inf"))
        return logits.index_put_((chosen[0], chosen[1]), logits.new_zeros(()))

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
