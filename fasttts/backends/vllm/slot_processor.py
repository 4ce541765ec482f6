"""Our sampling rule as a logits processor of vLLM's second model runner (0.32 and later).

A module of its own, because earlier versions lack the interface, and because a rank of a model over
several GPUs finds the class by its name.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor

from fasttts.backends.vllm.sampler import CounterSampler
from fasttts.backends.vllm.slot_chain import SlotChain, places

if TYPE_CHECKING:
    from vllm import SamplingParams


class SlotSampling(LogitsProcessor):
    """The rule, behind the processors that act before it.

    Attributes:
        others: Those processors.
    """

    others: ClassVar[Sequence[type]] = ()

    def __init__(self, vllm_config: Any, req_states: Any) -> None:
        self._chain = SlotChain(self.others, vllm_config, req_states)

    @classmethod
    def validate_params(cls, sampling_params: "SamplingParams") -> None:
        """Checks the arguments of a request; see `CounterSampler.validate_params`."""
        CounterSampler.validate_params(sampling_params)

    def add_request(self, req_idx: int, sampling_params: "SamplingParams") -> bool:
        """Begins a request in a slot; returns whether its logits are changed."""
        return self._chain.add_request(req_idx, sampling_params)

    def apply_staged_writes(self) -> None:
        """Prepares an iteration."""
        self._chain.begin_iteration()

    def apply(self, logits: Any, ctx: Any) -> Any:
        """Changes `logits` [B, V]."""
        rows = places(ctx.idx_mapping, ctx.idx_mapping_np, ctx.pos)
        return self._chain.apply(logits, rows)
