"""The sampling rule of `fasttts.decoding.sampling` in vLLM's second model runner.

That runner keeps a slot for each request, with its tokens, on the device, and tells with each row
of logits its slot and position. So seeds and options lie on the device by slot, the noise counter
of a row follows from its position, and an iteration costs the host nothing for each sequence.
Sequences with a grammar are the exception: their masks are computed on the host, from the newest
tokens, which are copied there while the model runs.

The rule is ours and not the noise that this runner has of its own, which would save a pass over
the logits: that noise is another function in almost every version of vLLM, and no other backend
could draw the same tokens. The repetition penalty is vLLM's, which acts before this sampler and on
the same set of tokens.

Axes: B rows of logits, S slots, V vocabulary.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from vllm.utils.torch_utils import async_tensor_h2d

from fasttts.backends.vllm.row_sampling import NUM_OPTIONS, Filters, RowSampler, options
from fasttts.backends.vllm.sampler import ARGUMENT
from fasttts.backends.vllm.slot_grammars import SlotGrammars
from fasttts.decoding.sampling import Sampling, noise_key

if TYPE_CHECKING:
    from vllm import SamplingParams

_POSITION_TERM = int(np.uint64(noise_key(0, 1)).view(np.int64))
"""What a position adds to the noise counter, as an int64, in which products wrap around."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPlaces:
    """Where the rows of an iteration stand.

    Attributes:
        slots_B: Slot of each row, on the device.
        host_slots_B: The same on the host.
        positions_B: Position of the token that was read, on the device; the one that is drawn
            follows it.
    """

    slots_B: torch.Tensor
    host_slots_B: npt.NDArray[np.int32]
    positions_B: torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """Counters and filters of the requests in a batch.

    Attributes:
        host_slots_B: Their slots.
        keys_B: Their noise counters behind position 0, int64.
        filters: Their temperatures and filters.
    """

    host_slots_B: npt.NDArray[np.int32]
    keys_B: torch.Tensor
    filters: Filters


class SlotSampler:
    """Draws the tokens of the requests that have our arguments; leaves the others alone.

    Args:
        request_states: vLLM's state of the slots: `device`, `max_num_reqs`, `prompt_len`,
            `prefill_len`, `total_len` and `all_token_ids`, none of which is written here.
        compiles: Whether the noise is compiled into one kernel.
    """

    def __init__(self, request_states: Any, *, compiles: bool) -> None:
        self._device = torch.device(request_states.device)
        self._rows = RowSampler(self._device, compiles=compiles)
        self._grammars = SlotGrammars(request_states)
        num_slots = int(request_states.max_num_reqs)
        self._is_sampled_S = np.zeros(num_slots, dtype=np.bool_)
        self._keys_S = np.zeros(num_slots, dtype=np.uint64)
        self._options_S = np.zeros((num_slots, NUM_OPTIONS), dtype=np.float64)
        self._has_news = True
        self._device_keys_S = torch.empty(0)
        self._device_options_S = torch.empty(0)
        self._batch: _Batch | None = None

    def add_request(self, slot: int, params: "SamplingParams") -> bool:
        """Begins a request in a slot, which may hold an ended one.

        Args:
            slot: The slot.
            params: The request's parameters.

        Returns:
            Whether its logits are changed here.
        """
        argument = (params.extra_args or {}).get(ARGUMENT)
        seed, sampling, constraint = argument or (0, Sampling(), None)
        self._grammars.set(slot, constraint)
        is_sampled = not sampling.is_greedy
        self._is_sampled_S[slot] = is_sampled
        if is_sampled:
            self._keys_S[slot] = noise_key(seed, 1)
            self._options_S[slot] = options(sampling)
            self._has_news = True
        return is_sampled or constraint is not None

    def begin_iteration(self) -> None:
        """Copies what changed to the device, and begins to copy the newest tokens from there.

        To be called before the model runs, behind vLLM's own writes of the iteration.
        """
        if self._has_news:
            keys_S = self._keys_S.copy().view(np.int64)  # the copy to the device is not awaited
            self._device_keys_S = async_tensor_h2d(keys_S, device=self._device)
            self._device_options_S = async_tensor_h2d(self._options_S.copy(), device=self._device)
            self._has_news = False
            self._batch = None
        self._grammars.fetch()

    def draws(self, host_slots_B: npt.NDArray[np.int32]) -> bool:
        """Whether every one of these slots has a request whose tokens are drawn here."""
        return bool(self._is_sampled_S[host_slots_B].all())

    def draft_limits(self, host_slots_B: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_] | None:
        """Of which of these slots drafts may be kept; None where of all.

        A grammar's mask is that of the next token alone.

        Args:
            host_slots_B: The slots.
        """
        return self._grammars.are_free(host_slots_B)

    def draw(self, logits: torch.Tensor, places: RowPlaces) -> torch.Tensor:
        """Masks rows of `logits` in place and draws their tokens, int64 [B].

        Args:
            logits: Shape [B, V].
            places: The rows' slots and positions; `draws` holds for the slots.
        """
        self._grammars.mask(logits, places.host_slots_B)
        return self._draw(logits, places)[:, 0]

    def apply(self, logits: torch.Tensor, places: RowPlaces) -> torch.Tensor:
        """Masks rows of `logits`, and leaves one token possible in sampled ones, in place.

        Args:
            logits: Shape [B, V].
            places: The rows' slots and positions.
        """
        self._grammars.mask(logits, places.host_slots_B)
        is_sampled_B = self._is_sampled_S[places.host_slots_B]
        if not is_sampled_B.any():
            return logits
        if is_sampled_B.all():
            tokens_B = self._draw(logits, places)
            return logits.zero_().scatter_(1, tokens_B, 1.0)
        indices_B = async_tensor_h2d(np.flatnonzero(is_sampled_B), device=self._device)
        sampled = RowPlaces(
            slots_B=places.slots_B[indices_B],
            host_slots_B=places.host_slots_B[is_sampled_B],
            positions_B=places.positions_B[indices_B],
        )
        rows = logits[indices_B]
        tokens_B = self._draw(rows, sampled)
        logits[indices_B] = rows.zero_().scatter_(1, tokens_B, 1.0)
        return logits

    def _draw(self, logits_BV: torch.Tensor, places: RowPlaces) -> torch.Tensor:
        batch = self._batch
        if batch is None or not np.array_equal(batch.host_slots_B, places.host_slots_B):
            batch = self._batch = self._read(places)
        keys_B = torch.add(batch.keys_B, places.positions_B, alpha=_POSITION_TERM)
        return self._rows.draw(logits_BV, keys_B[:, None], batch.filters)

    def _read(self, places: RowPlaces) -> _Batch:
        """What the device keeps of the requests in these rows."""
        slots_B, host_slots_B = places.slots_B.to(torch.int64), places.host_slots_B.copy()
        options_B = self._device_options_S[slots_B]
        return _Batch(
            host_slots_B=host_slots_B,
            keys_B=self._device_keys_S[slots_B],
            filters=Filters.of(options_B, self._options_S[host_slots_B]),
        )
