"""Drafts from the texts in the slots of vLLM's second model runner, looked up on the device.

With asynchronous scheduling the host learns an iteration's tokens when the next one is on its way,
so drafts that the host looks up would come an iteration late. Here an index of suffixes lies on the
device: of each suffix that a group of slots has read, the latest place. A draft is what follows
there, behind the longest suffix that matches; `fasttts.decoding.drafts` is the same rule on the
host, without the limit on drafts behind a short suffix: all drafts of an iteration are computed,
whether there is text for them or not.

The work of an iteration is a fixed number of operations on arrays of fixed shapes, whatever runs in
the slots, so that one CUDA graph holds it. Where two suffixes fall on one entry of the index, the
later one has it; a match is compared token by token before it counts.

Axes: S slots, R rows of a call, W new positions of a row, L tokens of a slot, N suffix lengths,
M tokens of the longest suffix, K drafted tokens.
"""

from collections.abc import Mapping
from typing import Any

import torch

from fasttts.decoding.drafts import LENGTHS

NO_GROUP = -1
"""Group of a slot whose text is neither drafted nor looked up."""

_LONGEST = max(LENGTHS)
_TABLE_BITS = 18
"""Entries for each suffix length, as a power of two: 64 beams of 350 tokens fill a twelfth."""

_MULTIPLIER = 0x5851F42D4C957F2D
_MIXER = -0x61C8864680B583EB
_PIECE = 1 << 15
"""Positions of prompts that are indexed at once, which bounds the memory of the copies."""

_MAX_TOKENS = 1 << 25
"""Most tokens that are kept of all slots, in 128 MiB; of longer texts each has the beginning."""


class DraftIndex:
    """The texts of all slots and an index of their suffixes.

    Args:
        num_slots: Slots of the runner.
        max_len: Most tokens of a slot.
        num_drafts: Tokens drafted for a slot in an iteration, K.
        device: Where everything lies.

    Attributes:
        drafts_SK: The next tokens of each slot as far as there are any, int64; 0 elsewhere.
    """

    def __init__(
        self, *, num_slots: int, max_len: int, num_drafts: int, device: torch.device
    ) -> None:
        self._device = device
        self._max_len = min(max_len, _MAX_TOKENS // num_slots)
        self._stride = self._max_len + 1  # the last column takes what is no token
        self._texts_SL = torch.zeros((num_slots, self._stride), dtype=torch.int32, device=device)
        self._lengths_S = torch.zeros(num_slots, dtype=torch.int64, device=device)
        self._groups_S = torch.full((num_slots,), NO_GROUP, dtype=torch.int64, device=device)
        self._slots_S = torch.arange(num_slots, device=device)
        self.drafts_SK = torch.zeros((num_slots, num_drafts), dtype=torch.int64, device=device)
        self._new_W = torch.arange(num_drafts + 1, device=device)
        self._drafted_K = torch.arange(num_drafts, device=device)
        self._suffixes_N = torch.tensor(LENGTHS, device=device)
        self._order_N = torch.arange(len(LENGTHS), 0, -1, device=device)
        self._size = 1 << _TABLE_BITS
        self._first_entries_N = torch.arange(len(LENGTHS), device=device) * self._size
        num_entries = len(LENGTHS) * self._size
        # The last entry takes what is not indexed.
        self._places = torch.full((num_entries + 1,), -1, dtype=torch.int64, device=device)
        powers = [pow(_MULTIPLIER, _LONGEST - place, 1 << 64) for place in range(_LONGEST)]
        powers_M = torch.tensor([p - (1 << 64) * (p >> 63) for p in powers], device=device)
        self._from_end_M = torch.arange(_LONGEST, 0, -1, device=device)
        is_in_NM = self._from_end_M <= self._suffixes_N[:, None]
        self._is_outside_NM = ~is_in_NM
        self._powers_NM = powers_M * is_in_NM

    def clear(self) -> None:
        """Forgets all texts; slots have none until they begin one."""
        self._groups_S.fill_(NO_GROUP)

    def begin(
        self,
        groups: Mapping[int, int],
        longest: int,
        lengths_S: torch.Tensor,
        tokens_SL: torch.Tensor,
    ) -> None:
        """Begins texts in slots, which may hold ended ones.

        Args:
            groups: Of each of these slots, whose text it may be drafted from; `NO_GROUP` for none.
            longest: As many tokens as any of them has, or more.
            lengths_S: Tokens of each slot, int32.
            tokens_SL: Tokens of all slots on the device, int32.
        """
        sent = torch.tensor([[*groups], [*groups.values()]], dtype=torch.int64)
        if self._device.type == "cuda":
            sent = sent.pin_memory().to(self._device, non_blocking=True)
        slots_R, groups_R = sent.unbind()
        lengths_R = lengths_S[slots_R].to(torch.int64).clamp(max=self._max_len)
        self._groups_S[slots_R] = groups_R
        self._lengths_S[slots_R] = lengths_R
        longest = min(longest, self._max_len)
        piece = max(1, _PIECE // len(groups))
        for start in range(0, longest, piece):
            end = min(start + piece, longest)
            self._texts_SL[slots_R, start:end] = tokens_SL[slots_R, start:end]
            positions_RW = torch.arange(start, end, device=self._device).expand(len(groups), -1)
            self._insert(slots_R, positions_RW, positions_RW < lengths_R[:, None])

    def advance(self, lengths_S: torch.Tensor, tokens_SL: torch.Tensor) -> None:
        """Reads what the slots gained since, at most K + 1 tokens each, and drafts for all of them.

        Args:
            lengths_S: Tokens of each slot by now, int32.
            tokens_SL: Tokens of all slots on the device, int32.
        """
        new_SW = self._lengths_S[:, None] + self._new_W
        is_new_SW = (new_SW < lengths_S[:, None]) & (new_SW < self._max_len)
        read_SW = tokens_SL.gather(1, new_SW.clamp(max=tokens_SL.shape[1] - 1))
        to_SW = new_SW.masked_fill(~is_new_SW, self._max_len)
        self._texts_SL.scatter_(1, to_SW, read_SW)
        self._insert(self._slots_S, new_SW, is_new_SW)
        self._lengths_S.add_(is_new_SW.sum(dim=1))
        self._draft()

    def _insert(
        self, slots_R: torch.Tensor, positions_RW: torch.Tensor, is_there_RW: torch.Tensor
    ) -> None:
        """Indexes the suffixes that end before each position, whose token is there."""
        num_new = positions_RW.shape[1]
        read = torch.arange(num_new + _LONGEST - 1, device=self._device) - _LONGEST
        from_R = positions_RW[:, :1] + read
        texts = self._texts_SL[slots_R[:, None], from_R.clamp(0, self._max_len)]
        groups_R = self._groups_S[slots_R]
        entries_RWN = self._entries(texts.unfold(1, _LONGEST, 1), groups_R[:, None])
        is_kept_RW = is_there_RW & (groups_R != NO_GROUP)[:, None]
        is_kept_RWN = is_kept_RW[..., None] & (positions_RW[..., None] >= self._suffixes_N)
        entries_RWN = entries_RWN.masked_fill(~is_kept_RWN, len(self._places) - 1)
        places_RW = slots_R[:, None] * self._stride + positions_RW
        places_RWN = places_RW[..., None].expand(entries_RWN.shape)
        self._places.scatter_reduce_(
            0, entries_RWN.flatten(), places_RWN.flatten(), "amax", include_self=False
        )

    def _entries(self, suffixes: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
        """Entries of the index for the last tokens of `suffixes` [..., M]; shape [..., N]."""
        sums = (suffixes[..., None, :].to(torch.int64) * self._powers_NM).sum(dim=-1)
        mixed = (sums + groups[..., None] * _MIXER) * _MIXER
        mixed = (mixed ^ (mixed >> 31)) * _MULTIPLIER
        return ((mixed >> 40) & (self._size - 1)) + self._first_entries_N

    def _draft(self) -> None:
        lengths_S, groups_S = self._lengths_S, self._groups_S
        from_SM = (lengths_S[:, None] - self._from_end_M).clamp(min=0)
        suffixes_SM = self._texts_SL.gather(1, from_SM)
        places_SN = self._places[self._entries(suffixes_SM, groups_S)]
        found_SN = places_SN.clamp(min=0)
        slots_SN, positions_SN = found_SN // self._stride, found_SN % self._stride
        is_found_SN = (
            (places_SN >= 0)
            & (groups_S != NO_GROUP)[:, None]
            & (groups_S[slots_SN] == groups_S[:, None])
            & (lengths_S[:, None] >= self._suffixes_N)
            & (positions_SN < lengths_S[slots_SN])
        )
        read_SNM = (found_SN[..., None] - self._from_end_M).clamp(min=0)
        is_same_SNM = self._texts_SL.view(-1)[read_SNM] == suffixes_SM[:, None]
        is_found_SN &= (is_same_SNM | self._is_outside_NM).all(dim=-1)
        best_S = (is_found_SN * self._order_N).argmax(dim=1, keepdim=True)
        place_S1 = found_SN.gather(1, best_S)
        end_S1 = lengths_S[slots_SN.gather(1, best_S)] - positions_SN.gather(1, best_S)
        is_text_SK = is_found_SN.any(dim=1, keepdim=True) & (self._drafted_K < end_S1)
        read_SK = (place_S1 + self._drafted_K).clamp(max=self._texts_SL.numel() - 1)
        drafts_SK = self._texts_SL.view(-1)[read_SK]
        self.drafts_SK.copy_(drafts_SK.masked_fill(~is_text_SK, 0))  # int64 as vLLM's are


def states_of(runner: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Lengths [S] and tokens [S, L] of the slots of vLLM's second model runner (0.24)."""
    states = runner.req_states
    return states.total_len.gpu, states.all_token_ids.gpu
