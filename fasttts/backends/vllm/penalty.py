"""`decoding.sampling.penalize` for the rows of vLLM's batch that have a repetition penalty.

vLLM's own penalties act behind logits processors, where the token is drawn already. What is
penalized is the set of tokens of prompt and output together, so that a sequence that is restarted
with a longer prompt is penalized like one that runs on. The set is kept on the host and grows with
the output; a pass reads and writes its logits alone, whatever the size of the vocabulary.

Axes: B rows with a penalty, L tokens that occurred in a row.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from vllm.utils.torch_utils import async_tensor_h2d


class SeenTokens:
    """The tokens that occurred in one sequence, each once.

    Args:
        prompt_token_ids: The prompt of the request.
        output: vLLM's live list of its new tokens.
    """

    def __init__(self, prompt_token_ids: Sequence[int], output: Sequence[int]) -> None:
        self._ids = list(dict.fromkeys(prompt_token_ids))
        self._known = set(self._ids)
        self._output = output
        self._num_taken = 0
        self._array = np.array(self._ids, dtype=np.int64)

    def array(self) -> npt.NDArray[np.int64]:
        """The tokens up to the newest one."""
        for token_id in self._output[self._num_taken :]:
            if token_id < 0:  # vLLM's place for a token that is not on the host yet
                break
            self._num_taken += 1
            if token_id not in self._known:
                self._known.add(token_id)
                self._ids.append(token_id)
        if len(self._array) != len(self._ids):
            new = np.array(self._ids[len(self._array) :], dtype=np.int64)
            self._array = np.concatenate([self._array, new])
        return self._array


class Penalties:
    """The rows with a penalty, valid until the batch changes.

    Args:
        seen: For each row of the logits its tokens and its penalty.
        device: Device of the logits.
    """

    def __init__(self, seen: dict[int, tuple[SeenTokens, float]], device: torch.device) -> None:
        self._seen = [tokens for tokens, _ in seen.values()]
        self._device = device
        indices = np.array(list(seen), dtype=np.int64)
        penalties = np.array([penalty for _, penalty in seen.values()], dtype=np.float32)
        self._indices_B = async_tensor_h2d(indices, device=device)[:, None]
        self._penalties_B = async_tensor_h2d(penalties, device=device)[:, None]

    def apply(self, logits: torch.Tensor) -> None:
        """Penalizes the rows of `logits` [rows, V] in place."""
        arrays = [tokens.array() for tokens in self._seen]
        ids_BL = np.empty((len(arrays), max(map(len, arrays))), dtype=np.int64)
        for row, array in zip(ids_BL, arrays, strict=True):
            row[: len(array)] = array
            row[len(array) :] = array[0]  # written twice with the same value
        tokens_BL = async_tensor_h2d(ids_BL, device=self._device)
        logits_BL = logits[self._indices_B, tokens_BL]
        penalized_BL = torch.where(
            logits_BL > 0, logits_BL / self._penalties_B, logits_BL * self._penalties_B
        )
        logits[self._indices_B, tokens_BL] = penalized_BL
