"""Memory of one engine without its KV cache, and the capacity of KV caches."""

import math
from dataclasses import dataclass

from fasttts.decoding.drafts import MAX_DRAFTED_BATCH
from fasttts.errors import Role
from fasttts.memory.costs import Costs
from fasttts.memory.devices import Device
from fasttts.memory.shapes import ModelShape
from fasttts.memory.units import MIB
from fasttts.memory.workload import Workload

PROCESS_BYTES = 512 * MIB
"""A process on a GPU: CUDA context, loaded kernels, library workspaces (estimated)."""

_GRAPH_BYTES = 128 * MIB
"""An engine's captured CUDA graphs and its inputs' buffers (estimated)."""

_BATCHED_TOKENS = 2048
"""Tokens of one iteration: ten times those of a GPU's peak rate, with small activations."""

_LOGIT_COPIES = 4
"""Float32 arrays of [sequences, vocabulary] alive while tokens are sampled: logits, the filtered
logits, noise and their sum."""

_DRAFTED_LOGIT_BYTES = 9
"""For each token of an iteration with drafts and of the vocabulary: logits in the model's type and
once more in float32, and what is left of noise and sums (measured, without filters)."""

_DRAFT_GRAPH_BYTES = 64 * MIB
"""Graphs of iterations with drafts, and the index of texts (56 MiB more were kept, measured)."""

_MOST_KEPT_TEXT = 128 * MIB
"""The texts that drafts are looked up in."""

_PENALTY_BYTES = 4 + 1 / 8
"""For each sequence and token of the vocabulary: counts and a mask for penalties, which vLLM's
second model runner keeps on the device whether there are penalties or not."""

VERIFIER_CONTEXT_FACTOR = 2
"""A verifier prompt holds the generator's text with a tag after each step, under another system
message and perhaps another tokenizer; twice the generator's context has room for that."""

DEFAULT_CONTEXT = 8192
"""Longest context in tokens that is planned unasked, except on a CPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequirements:
    """Requirements of one model that do not depend on the partition.

    Attributes:
        role: Generator or verifier.
        costs: The model's shape and the times of its iterations.
        workload: The search to optimise for.
        block_size: Tokens of a KV block.
        max_model_len: Longest sequence in tokens.
        max_num_batched_tokens: Most tokens of one iteration.
        activation_bytes: Peak of intermediate results, logits included.
        runtime_bytes: CUDA graphs, buffers and the state of sequences.
    """

    role: Role
    costs: Costs
    workload: Workload
    block_size: int
    max_model_len: int
    max_num_batched_tokens: int
    activation_bytes: int
    runtime_bytes: int

    @property
    def shape(self) -> ModelShape:
        """The model."""
        return self.costs.shape

    @property
    def fixed_bytes(self) -> int:
        """Everything but the KV cache."""
        return self.shape.weight_bytes + self.activation_bytes + self.runtime_bytes

    @property
    def block_bytes(self) -> int:
        """Memory of a KV block."""
        return self.block_size * self.shape.kv_bytes_per_token

    @property
    def min_kv_bytes(self) -> int:
        """The smallest KV cache: one sequence of full length; vLLM refuses less."""
        return self._bytes_for(self.max_model_len + self.block_size)

    @property
    def enough_kv_bytes(self) -> int:
        """A KV cache that holds all beams of the search at once."""
        return max(self.min_kv_bytes, self.kv_bytes_for(self.workload.num_beams))

    def num_blocks(self, kv_bytes: int) -> int:
        """Counts the whole blocks of a KV cache."""
        return kv_bytes // self.block_bytes

    def num_resident(self, kv_bytes: int) -> int:
        """Counts the beams that a KV cache holds at their last step, beside the shared prompt."""
        tokens = (self.num_blocks(kv_bytes) - 1) * self.block_size - self.workload.prompt_tokens
        return max(0, math.floor(tokens / self._beam_tokens))

    def kv_bytes_for(self, num_beams: int) -> int:
        """Bytes of the smallest KV cache that holds so many beams."""
        tokens = self.workload.prompt_tokens + math.ceil(num_beams * self._beam_tokens)
        return self._bytes_for(tokens)

    def whole_blocks(self, kv_bytes: int) -> int:
        """`kv_bytes` rounded down to whole blocks."""
        return self.num_blocks(kv_bytes) * self.block_bytes

    @property
    def _beam_tokens(self) -> float:
        """A beam's own tokens, and one block that it does not share with its siblings."""
        return self.workload.own_tokens + self.block_size

    def _bytes_for(self, tokens: int) -> int:
        """Bytes of the blocks for these tokens, and of the one that vLLM keeps empty."""
        return (math.ceil(tokens / self.block_size) + 1) * self.block_bytes


def generator_needs(
    device: Device, costs: Costs, workload: Workload, max_num_seqs: int
) -> EngineRequirements:
    """Determines the generator's requirements.

    Args:
        device: The device that it runs on.
        costs: Its shape and costs.
        workload: The search to optimise for.
        max_num_seqs: Sequences that decode together.
    """
    wanted = workload.max_model_len or max(DEFAULT_CONTEXT, workload.longest_tokens)
    return _needs(
        device,
        costs,
        workload,
        role="generator",
        max_model_len=min(wanted, costs.shape.max_model_len),
        max_num_seqs=max_num_seqs,
    )


def verifier_needs(
    device: Device, costs: Costs, workload: Workload, generator: EngineRequirements
) -> EngineRequirements:
    """Determines the verifier's requirements.

    Args:
        device: The device that it runs on.
        costs: Its shape and costs.
        workload: The search to optimise for.
        generator: The generator's requirements, whose context bounds the verifier's.
    """
    wanted = VERIFIER_CONTEXT_FACTOR * generator.max_model_len
    return _needs(
        device,
        costs,
        workload,
        role="verifier",
        max_model_len=min(wanted, costs.shape.max_model_len),
        max_num_seqs=workload.num_beams,
    )


def _needs(
    device: Device,
    costs: Costs,
    workload: Workload,
    *,
    role: Role,
    max_model_len: int,
    max_num_seqs: int,
) -> EngineRequirements:
    batched_tokens = max(_BATCHED_TOKENS, max_num_seqs)
    draft_tokens = workload.draft_tokens if role == "generator" else 0
    return EngineRequirements(
        role=role,
        costs=costs,
        workload=workload,
        block_size=device.block_size,
        max_model_len=max_model_len,
        max_num_batched_tokens=batched_tokens,
        activation_bytes=_activation_bytes(costs.shape, batched_tokens, max_num_seqs, draft_tokens),
        runtime_bytes=_runtime_bytes(device, costs.shape, max_num_seqs)
        + _draft_bytes(draft_tokens, max_num_seqs, max_model_len),
    )


def _runtime_bytes(device: Device, shape: ModelShape, num_sequences: int) -> int:
    """Bytes of CUDA graphs, and of the state of each sequence that may run."""
    if device.is_cpu:
        return 0
    counts = _PENALTY_BYTES * shape.vocab_size if shape.head == "lm" else 0
    return _GRAPH_BYTES + math.ceil(num_sequences * counts)


def _draft_bytes(draft_tokens: int, num_sequences: int, max_model_len: int) -> int:
    """Bytes of what drafts need beside their logits: their texts, and further CUDA graphs."""
    if draft_tokens == 0:
        return 0
    return _DRAFT_GRAPH_BYTES + min(4 * num_sequences * max_model_len, _MOST_KEPT_TEXT)


def _activation_bytes(
    shape: ModelShape, num_tokens: int, num_sequences: int, draft_tokens: int
) -> int:
    """Peak of intermediate results, estimated.

    Of one layer at a time: the residual stream and its normalised copy, query, key and value, and
    the MLP's two halves with their product; then the logits of each sequence's last position, or
    of its drafted ones as well.
    """
    attention = (2 * shape.num_heads + 2 * shape.num_kv_heads) * shape.head_dim
    layer = 3 * shape.hidden_size + max(attention, 3 * shape.intermediate_size)
    logits = 0
    if shape.head == "lm":
        num_drafted = min(num_sequences * (1 + draft_tokens), MAX_DRAFTED_BATCH)
        drafted = num_drafted * _DRAFTED_LOGIT_BYTES
        logits = max(num_sequences * _LOGIT_COPIES * 4, drafted) * shape.vocab_size
    return num_tokens * layer * shape.item_bytes + logits
