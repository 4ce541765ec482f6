"""Seeded text on real engines with vLLM's second model runner: for benchmarks only.

The same steps and words as `seeded_steps.SeededSteps` writes in the first runner; or, in steps of
the same lengths, text that a real model's beams wrote. There is one row of tokens for each slot on
the device, made when its request begins, so that an iteration costs the host nothing.

Axes: B rows of logits, S slots, L positions of a request.
"""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from vllm import SamplingParams
from vllm.utils.torch_utils import async_tensor_h2d

from benchmarks.seeded_steps import ARGUMENTS, seeded_words
from benchmarks.workload import step_length
from fasttts.backends.vllm.sampler import ARGUMENT
from fasttts.backends.vllm.slot_sampler import RowPlaces
from fasttts.interfaces import GenerationRequest, Generator

_MAX_TOKENS = 1024
"""Positions that are written for a request; a benchmark's requests end, or are aborted, before."""

_first_steps: dict[tuple[int, int], int] = {}
"""Where the step at the end of a prompt begins, by seed and length of the prompt."""


def watch(generator: Generator, *, separator: int, num_prompt_tokens: int) -> None:
    """Has a generator note where the last step of each prompt begins.

    Args:
        generator: What decodes with `SeededSlots`.
        separator: The token that ends a step.
        num_prompt_tokens: Tokens of the search's own prompt.
    """
    add = generator.add

    def noted(request: GenerationRequest) -> None:
        tokens = request.prompt_token_ids
        start = len(tokens)
        while start > num_prompt_tokens and tokens[start - 1] != separator:
            start -= 1
        _first_steps[request.seed, len(tokens)] = start
        add(request)

    generator.add = noted  # type: ignore[method-assign]  # a benchmark's own generator


class SeededSlots:
    """Leaves one token possible in each row: the separator where a step ends, or a word.

    Args:
        vllm_config: vLLM's, with `steps_options` among its additional ones.
        request_states: The runner's state of its slots.
    """

    def __init__(self, vllm_config: Any, request_states: Any) -> None:
        options = vllm_config.additional_config[ARGUMENTS]
        self._separator: int = options["separator"]
        self._words = np.array(options["words"], dtype=np.int64)
        file = options.get("streams")
        self._streams = read_streams(Path(file), self._words) if file else None
        self._num_prompt_tokens: int = options["num_prompt_tokens"]
        self._prompt_len = request_states.prompt_len
        self._device = torch.device(request_states.device)
        num_slots = int(request_states.max_num_reqs)
        self._tokens_SL = torch.zeros(
            (num_slots, _MAX_TOKENS), dtype=torch.int64, device=self._device
        )
        self._starts_S = np.zeros(num_slots, dtype=np.int64)
        self._device_starts_S = torch.zeros(num_slots, dtype=torch.int64, device=self._device)
        self._new: dict[int, npt.NDArray[np.int64]] = {}
        self._is_forced_S = np.zeros(num_slots, dtype=np.bool_)

    def add_request(self, slot: int, params: SamplingParams) -> bool:
        """Writes the tokens of a request."""
        argument = (params.extra_args or {}).get(ARGUMENT)
        self._is_forced_S[slot] = argument is not None
        if argument is None:
            return False
        seed, *_ = argument
        num_prompt_tokens = int(self._prompt_len.np[slot])
        start = _first_steps[seed, num_prompt_tokens]
        self._starts_S[slot] = num_prompt_tokens
        self._new[slot] = self._written(seed, start, num_prompt_tokens)
        return True

    def begin_iteration(self) -> None:
        """Copies the tokens of new requests to the device."""
        if not self._new:
            return
        slots = async_tensor_h2d(np.array(list(self._new), dtype=np.int64), device=self._device)
        rows = async_tensor_h2d(np.stack(list(self._new.values())), device=self._device)
        self._tokens_SL.index_copy_(0, slots, rows)
        self._device_starts_S = async_tensor_h2d(self._starts_S.copy(), device=self._device)
        self._new.clear()

    def apply(self, logits: torch.Tensor, places: RowPlaces) -> torch.Tensor:
        """Changes `logits` [B, V] in place."""
        if not self._is_forced_S[places.host_slots_B].any():
            return logits
        slots_B = places.slots_B.to(torch.int64)
        offsets_B = places.positions_B.to(torch.int64) + 1 - self._device_starts_S[slots_B]
        tokens_B = self._tokens_SL[slots_B, offsets_B.clamp_(0, _MAX_TOKENS - 1)]
        return logits.fill_(float("-inf")).scatter_(1, tokens_B[:, None], 0.0)

    @functools.lru_cache(maxsize=1 << 12)  # noqa: B019, lives as long as the benchmark
    def _written(self, seed: int, start: int, num_prompt_tokens: int) -> npt.NDArray[np.int64]:
        """The tokens behind a prompt whose last step begins at `start`."""
        positions_L = num_prompt_tokens + np.arange(_MAX_TOKENS)
        tokens_L = self._text(seed, positions_L)
        end = start + step_length(seed, start)
        while end <= num_prompt_tokens + _MAX_TOKENS:
            if end > num_prompt_tokens:
                tokens_L[end - 1 - num_prompt_tokens] = self._separator
            end += step_length(seed, end)
        return tokens_L

    def _text(self, seed: int, positions_L: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Words that the seed chooses, or what one of the recorded streams has there."""
        if self._streams is None:
            return seeded_words(np.uint64(seed), positions_L, self._words)
        stream = self._streams[seed % len(self._streams)]
        return stream[(positions_L - self._num_prompt_tokens) % len(stream)]


def read_streams(file: Path, words: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Reads what `benchmarks.drafts --record` wrote, each token spelled as a word of its own.

    Args:
        file: The file.
        words: Tokens that are no control tokens.
    """
    recorded: list[list[int]] = json.loads(file.read_text())["streams"]
    numbers: dict[int, int] = {}
    for stream in recorded:
        for token in stream:
            numbers.setdefault(token, len(numbers))
    return [
        words[np.array([numbers[token] for token in stream], dtype=np.int64) % len(words)]
        for stream in recorded
    ]
