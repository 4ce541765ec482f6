"""Sizes of a model that determine its memory and its speed, read from its `config.json`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from fasttts.config import Dtype
from fasttts.errors import ConfigurationError

Head = Literal["lm", "reward", "value"]
"""Layers after the last decoder layer: logits of the vocabulary, Qwen2.5-Math-PRM's two layers, or
Skywork's single value beside an unused language model head."""

_ITEM_BYTES: Mapping[str, int] = {"float32": 4, "float16": 2, "bfloat16": 2}
_HEADS: Mapping[str, Head] = {"Qwen2ForProcessRewardModel": "reward", "Qwen2ForPrmModel": "value"}
_NUM_LABELS = 2
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
_DEFAULT_CONTEXT = 4096
_SCALE_BITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """A dense decoder with grouped-query attention and a gated MLP.

    Attributes:
        name: The user's name of it.
        hidden_size: Width of the residual stream.
        intermediate_size: Width of the MLP.
        num_layers: Decoder layers.
        num_heads: Query heads.
        num_kv_heads: Key and value heads.
        head_dim: Width of a head.
        vocab_size: Rows of the embedding.
        max_model_len: Context in tokens.
        is_tied: Whether the language model head is the embedding.
        has_qkv_bias: Whether query, key and value have biases (Qwen2).
        has_qk_norm: Whether queries and keys are normalised (Qwen3).
        head: The layers after the last decoder layer.
        dtype: Type of weights, activations and KV cache.
        weight_bits: Bits of a quantised layer weight, with its share of the scale and zero point of
            its group; None where the weights have `dtype`.
        num_embedding_rows: Rows of the embedding, and of the language model head, that one GPU has;
            None where that is the whole vocabulary.
    """

    name: str
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    max_model_len: int
    is_tied: bool = False
    has_qkv_bias: bool = False
    has_qk_norm: bool = False
    head: Head = "lm"
    dtype: str = "bfloat16"
    weight_bits: float | None = None
    num_embedding_rows: int | None = None

    @property
    def item_bytes(self) -> int:
        """Bytes of a number."""
        return _ITEM_BYTES[self.dtype]

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the token embedding."""
        return (self.num_embedding_rows or self.vocab_size) * self.hidden_size

    @property
    def attention_parameters(self) -> int:
        """Parameters of attention in all layers: query, key, value, output, biases, norms."""
        query, both = self.num_heads * self.head_dim, 2 * self.num_kv_heads * self.head_dim
        weights = self.hidden_size * (2 * query + both)
        biases = query + both if self.has_qkv_bias else 0
        norms = 2 * self.head_dim if self.has_qk_norm else 0
        return self.num_layers * (weights + biases + norms)

    @property
    def mlp_parameters(self) -> int:
        """Parameters of the MLPs of all layers: gate, up and down."""
        return self.num_layers * 3 * self.hidden_size * self.intermediate_size

    @property
    def norm_parameters(self) -> int:
        """Parameters of normalisation: two for each layer and the last one."""
        return (2 * self.num_layers + 1) * self.hidden_size

    @property
    def head_parameters(self) -> int:
        """Parameters of the head alone; a tied one has none."""
        if self.head == "reward":
            return (self.hidden_size + 1) * (self.hidden_size + _NUM_LABELS)
        language = 0 if self.is_tied else self.embedding_parameters
        return language + (self.hidden_size + 1 if self.head == "value" else 0)

    @property
    def num_parameters(self) -> int:
        """All parameters."""
        return self.embedding_parameters + self._layer_parameters + self.head_parameters

    @property
    def _layer_parameters(self) -> int:
        return self.attention_parameters + self.mlp_parameters + self.norm_parameters

    @property
    def _layer_bytes(self) -> int:
        bits = self.weight_bits or 8 * self.item_bytes
        return int(self._layer_parameters * bits) // 8

    @property
    def weight_bytes(self) -> int:
        """Memory of the weights; quantisation leaves embedding and head as they are."""
        outside = self.embedding_parameters + self.head_parameters
        return self._layer_bytes + outside * self.item_bytes

    @property
    def applied_head_parameters(self) -> int:
        """Parameters that the head multiplies each scored or sampled position with."""
        if self.head == "lm":
            return self.embedding_parameters
        return self.hidden_size if self.head == "value" else self.head_parameters

    @property
    def read_bytes(self) -> int:
        """Weights an iteration reads: all but an embedding that is only looked up."""
        return self._layer_bytes + self.applied_head_parameters * self.item_bytes

    @property
    def kv_bytes_per_token(self) -> int:
        """Keys and values of a token in all layers."""
        return 2 * self.num_layers * self.num_kv_heads * self.head_dim * self.item_bytes

    def layer_flops_per_token(self, context_tokens: float) -> float:
        """Operations of all layers for one token that attends to a context.

        Two for each weight, and two each for query times key and weight times value: the usual
        count of decoder inference (Kaplan et al., arXiv 2001.08361, table 1).
        """
        attention = 4 * self.num_layers * self.num_heads * self.head_dim * context_tokens
        return 2 * self._layer_parameters + attention

    @property
    def head_flops_per_token(self) -> float:
        """Operations of the head for one position."""
        return 2 * self.applied_head_parameters

    def can_shard(self, num_gpus: int) -> bool:
        """Whether vLLM can spread the model over so many GPUs."""
        kv_heads = max(self.num_kv_heads, num_gpus) % min(self.num_kv_heads, num_gpus)
        return not (self.num_heads % num_gpus or self.intermediate_size % num_gpus or kv_heads)

    def shard(self, num_gpus: int) -> "ModelShape":
        """The part of each GPU, with `tensor_parallel_size` of them.

        Attention heads, the MLP and the vocabulary are divided; each GPU has at least one key and
        value head, and all norms.

        Raises:
            ConfigurationError: The model cannot be divided so.
        """
        if num_gpus == 1:
            return self
        if not self.can_shard(num_gpus):
            raise ConfigurationError(
                f"tensor_parallel_size={num_gpus}: {self.name!r} has {self.num_heads} attention "
                f"heads, {self.num_kv_heads} of keys and values and an MLP of "
                f"{self.intermediate_size}, which {num_gpus} GPUs cannot share alike: choose a "
                "divisor of them"
            )
        return replace(
            self,
            num_heads=self.num_heads // num_gpus,
            num_kv_heads=max(1, self.num_kv_heads // num_gpus),
            intermediate_size=self.intermediate_size // num_gpus,
            num_embedding_rows=-(-self.vocab_size // num_gpus),
        )

    def with_dtype(self, dtype: Dtype) -> "ModelShape":
        """Returns the same model in another type; "auto" changes nothing."""
        return self if dtype == "auto" else replace(self, dtype=dtype)


def read_shape(folder: Path) -> ModelShape:
    """Reads the shape of a model directory.

    Raises:
        ConfigurationError: Its `config.json` cannot be read or lacks something.
    """
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{str(file)!r} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise ConfigurationError(f"{str(file)!r} does not hold a JSON object")
    return shape_from_config(config, str(folder))


def shape_from_config(config: Mapping[str, Any], name: str) -> ModelShape:
    """Reads the shape from a parsed `config.json`.

    Args:
        config: The parsed file.
        name: The model, for messages and as the shape's name.

    Raises:
        ConfigurationError: A size is missing or no positive integer, or the model is not dense.
    """
    text = config.get("text_config", config)
    _check_dense(text, name)
    num_heads = _size(text, name, "num_attention_heads")
    hidden_size = _size(text, name, "hidden_size")
    model_type = str(text.get("model_type", ""))
    architectures = config.get("architectures") or ()
    return ModelShape(
        name=name,
        hidden_size=hidden_size,
        intermediate_size=_size(text, name, "intermediate_size"),
        num_layers=_size(text, name, "num_hidden_layers"),
        num_heads=num_heads,
        num_kv_heads=_size(text, name, "num_key_value_heads", num_heads),
        head_dim=_size(text, name, "head_dim", hidden_size // num_heads),
        vocab_size=_size(text, name, "vocab_size"),
        max_model_len=_size(text, name, "max_position_embeddings", _DEFAULT_CONTEXT),
        is_tied=bool(text.get("tie_word_embeddings", False)),
        has_qkv_bias=model_type == "qwen2" or bool(text.get("attention_bias", False)),
        has_qk_norm=model_type == "qwen3",
        head=next((_HEADS[each] for each in architectures if each in _HEADS), "lm"),
        dtype=_dtype(text),
        weight_bits=_weight_bits(config.get("quantization_config") or {}),
    )


def _size(config: Mapping[str, Any], name: str, key: str, default: int | None = None) -> int:
    value = config.get(key)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigurationError(
            f"{name!r}: {key}={value!r} in its config.json, where a positive integer is needed"
        )
    return value


def _check_dense(config: Mapping[str, Any], name: str) -> None:
    if any(isinstance(config.get(key), int) and config[key] > 1 for key in _EXPERTS):
        raise ConfigurationError(
            f"{name!r} is a mixture of experts, which the memory planner does not know: set "
            "kv_cache_memory_bytes instead"
        )


def _dtype(config: Mapping[str, Any]) -> str:
    named = str(config.get("dtype") or config.get("torch_dtype") or "bfloat16")
    return named if named in _ITEM_BYTES else "bfloat16"


def _weight_bits(quantization: Mapping[str, Any]) -> float | None:
    """Bits of GPTQ, AWQ, compressed-tensors, bitsandbytes and FP8 weights; others count in full."""
    if quantization.get("load_in_4bit"):
        return 4
    if quantization.get("load_in_8bit") or quantization.get("quant_method") == "fp8":
        return 8
    groups = quantization.get("config_groups")
    schemes = [group.get("weights") for group in groups.values()] if groups else [quantization]
    return max((bits for scheme in schemes if (bits := _scheme_bits(scheme))), default=None)


def _scheme_bits(scheme: Mapping[str, Any] | None) -> float | None:
    """Bits of a weight; a group of weights has a scale in half precision and a zero point."""
    scheme = scheme or {}
    bits = scheme.get("bits") or scheme.get("num_bits")
    if not (isinstance(bits, int) and 0 < bits <= 16):
        return None
    size = scheme.get("group_size")
    return bits + (_SCALE_BITS + bits) / size if isinstance(size, int) and size > 0 else bits
