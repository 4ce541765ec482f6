"""Processors of logits in vLLM's second model runner, our sampling rule the last of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from fasttts.backends.vllm.slot_sampler import RowPlaces, SlotSampler

if TYPE_CHECKING:
    from vllm import SamplingParams


class SlotProcessor(Protocol):
    """A processor of logits in the second runner.

    It is made with vLLM's configuration and the runner's state of its slots; see
    `slot_sampler.SlotSampler`, whose methods these are.
    """

    def add_request(self, slot: int, params: "SamplingParams") -> bool:
        """Begins a request in a slot; returns whether its logits are changed."""

    def begin_iteration(self) -> None:
        """Prepares what the next `apply` needs, before the model runs."""

    def apply(self, logits: Any, places: RowPlaces) -> Any:
        """Changes `logits` [B, V], in place or not, and returns them."""


class SlotChain:
    """Processors, and behind them our sampling rule.

    Args:
        others: Processors that act before it.
        vllm_config: vLLM's configuration of the engine.
        request_states: The runner's state of its slots.
    """

    def __init__(self, others: Sequence[type], vllm_config: Any, request_states: Any) -> None:
        is_cpu = request_states.device.type == "cpu"
        is_eager = is_cpu or vllm_config.model_config.enforce_eager
        self._others: list[SlotProcessor] = [other(vllm_config, request_states) for other in others]
        self._rule = SlotSampler(request_states, compiles=not is_eager)
        self._links: list[SlotProcessor] = [*self._others, self._rule]

    def add_request(self, slot: int, params: "SamplingParams") -> bool:
        are_changing = [link.add_request(slot, params) for link in self._links]
        return any(are_changing)

    def begin_iteration(self) -> None:
        for link in self._links:
            link.begin_iteration()

    def apply(self, logits: Any, places: RowPlaces) -> Any:
        for link in self._links:
            logits = link.apply(logits, places)
        return logits

    def draws(self, host_slots: Any) -> bool:
        """Whether the rule draws the tokens of all these slots."""
        return self._rule.draws(host_slots)

    def draft_limits(self, host_slots: Any) -> Any:
        """Of which of these slots drafts may be kept, bool [slots]; None where of all."""
        return self._rule.draft_limits(host_slots)

    def draw(self, logits: Any, places: RowPlaces) -> Any:
        """The tokens of rows that the rule draws."""
        for link in self._others:
            logits = link.apply(logits, places)
        return self._rule.draw(logits, places)


def places(slots: Any, host_slots: Any, positions: Any) -> RowPlaces:
    """Returns where rows stand, from what the runner tells of an iteration.

    Args:
        slots: Slot of each row, on the device.
        host_slots: The same on the host.
        positions: Position of the token that was read, on the device.
    """
    return RowPlaces(slots_B=slots, host_slots_B=host_slots, positions_B=positions)
