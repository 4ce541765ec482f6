"""Grammars of the requests in the slots of vLLM's second model runner.

A mask follows from all tokens of an answer, and the newest one is known to the device alone when an
iteration begins: with asynchronous scheduling the host has not read it yet. It is copied to the
host while the model runs, so that the masks are there when the logits are.
"""

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from vllm.utils.torch_utils import async_tensor_h2d

from fasttts.backends.vllm.row_sampling import forbid
from fasttts.decoding.grammar import Constraint


@dataclass(slots=True, kw_only=True)
class _Answer:
    """A request with a grammar."""

    original: Callable[[], Constraint | None]
    """Its owner drops it where the request ends; vLLM does not tell when a slot becomes free. Of a
    received one the owner is in another process, and it stays until the slot is taken again."""
    constraint: Constraint
    num_prompt_tokens: int
    token_ids: list[int] = field(default_factory=list)


class SlotGrammars:
    """Masks the rows of the slots that have a grammar.

    Args:
        request_states: As for `slot_sampler.SlotSampler`.
    """

    def __init__(self, request_states: Any) -> None:
        self._states = request_states
        self._device = torch.device(request_states.device)
        self._by_slot: dict[int, _Answer] = {}
        self._fetched: _Fetched | None = None

    def set(self, slot: int, constraint: Constraint | None) -> None:
        """Begins a request in a slot.

        Args:
            slot: The slot.
            constraint: The request's grammar; None without one.
        """
        self._by_slot.pop(slot, None)
        if constraint is None:
            return
        self._by_slot[slot] = _Answer(
            original=(lambda: constraint) if constraint.is_received else weakref.ref(constraint),
            constraint=constraint.copy(),  # a preempted request is added again with all its tokens
            num_prompt_tokens=int(self._states.prompt_len.np[slot]),
        )

    def fetch(self) -> None:
        """Begins to copy the newest token of each slot with a grammar to the host."""
        self._by_slot = {
            slot: answer for slot, answer in self._by_slot.items() if answer.original() is not None
        }
        self._fetched = _Fetched(self._states, list(self._by_slot)) if self._by_slot else None

    def are_free(self, slots_B: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_] | None:
        """Which of these slots have no grammar; None where none has one.

        Args:
            slots_B: The slots.
        """
        if not self._by_slot:
            return None
        return ~np.isin(slots_B, list(self._by_slot))

    def mask(self, logits: torch.Tensor, slots_B: npt.NDArray[np.int32]) -> None:
        """Sets the logits that the grammars forbid to minus infinity, in place.

        Args:
            logits: Shape [B, V].
            slots_B: The slot of each row.
        """
        if self._fetched is None:
            return
        newest = self._fetched.newest()
        rows = [row for row, slot in enumerate(slots_B.tolist()) if slot in newest]
        if not rows:
            return
        allowed = [self._allowed(slot, *newest[slot]) for slot in slots_B[rows].tolist()]
        forbid(logits, np.array(rows, dtype=np.int64), np.stack(allowed))

    def _allowed(self, slot: int, length: int, newest: int) -> npt.NDArray[np.bool_]:
        answer = self._by_slot[slot]
        num_tokens = length - answer.num_prompt_tokens
        if num_tokens == len(answer.token_ids) + 1:
            answer.token_ids.append(newest)
        elif num_tokens != len(answer.token_ids):  # a preempted request goes on
            row = self._states.all_token_ids.gpu[slot, answer.num_prompt_tokens : length]
            answer.token_ids[:] = row.tolist()
        return answer.constraint.allowed(answer.token_ids)


class _Fetched:
    """Lengths and newest tokens of some slots, on their way to the host."""

    def __init__(self, states: Any, slots: list[int]) -> None:
        self._slots = slots
        slots_B = async_tensor_h2d(np.array(slots, dtype=np.int64), device=states.device)
        lengths_B = states.total_len.gpu[slots_B].to(torch.int64)
        newest_B = states.all_token_ids.gpu[slots_B, lengths_B - 1].to(torch.int64)
        values = torch.stack([lengths_B, newest_B])
        self._event: torch.cuda.Event | None = None
        self._values = values
        if values.is_cuda:
            self._values = torch.empty_like(values, device="cpu", pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()

    def newest(self) -> dict[int, tuple[int, int]]:
        """Length and newest token of each slot; waits until they are there."""
        if self._event is not None:
            self._event.synchronize()
        lengths, tokens = self._values.tolist()
        return dict(zip(self._slots, zip(lengths, tokens, strict=True), strict=True))
