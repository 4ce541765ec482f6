"""From a GGUF file of a Llama model to a model directory as the hub has them."""

import json
from pathlib import Path
from typing import Any

import gguf
import torch
from safetensors.torch import save_file

_OUTSIDE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
_INSIDE = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def convert(file: Path, folder: Path) -> None:
    """Writes the model in bfloat16, with its tokenizer and chat template.

    Args:
        file: The GGUF file of a Llama model with tied embeddings.
        folder: Receives the model.
    """
    from transformers import AutoTokenizer

    reader = gguf.GGUFReader(file)
    config = _config(reader)
    heads = {
        "attn_q": config["num_attention_heads"],
        "attn_k": config["num_key_value_heads"],
    }
    weights = dict(_weight(tensor, heads) for tensor in reader.tensors)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)


def _weight(tensor: gguf.ReaderTensor, heads: dict[str, int]) -> tuple[str, torch.Tensor]:
    values = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).copy())
    part = tensor.name.split(".")[-2]
    if part in heads:
        values = _halves(values, heads[part])
    if tensor.name.startswith("blk."):
        name = f"model.layers.{tensor.name.split('.')[1]}.{_INSIDE[part]}"
    else:
        name = _OUTSIDE[part]
    return f"{name}.weight", values.to(torch.bfloat16).contiguous()


def _halves(rows: torch.Tensor, num_heads: int) -> torch.Tensor:
    """GGUF puts the rows that rotate together side by side; others, half a head apart."""
    head_dim = rows.shape[0] // num_heads
    paired = rows.reshape(num_heads, head_dim // 2, 2, rows.shape[1])
    return paired.transpose(1, 2).reshape(rows.shape)


def _config(reader: gguf.GGUFReader) -> dict[str, Any]:
    def value(key: str) -> Any:
        field = reader.get_field(key)
        assert field is not None, f"the file lacks {key}"
        return field.contents()

    num_heads = value("llama.attention.head_count")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "bfloat16",
        "hidden_act": "silu",
        "hidden_size": value("llama.embedding_length"),
        "intermediate_size": value("llama.feed_forward_length"),
        "num_hidden_layers": value("llama.block_count"),
        "num_attention_heads": num_heads,
        "num_key_value_heads": value("llama.attention.head_count_kv"),
        "head_dim": value("llama.embedding_length") // num_heads,
        "max_position_embeddings": value("llama.context_length"),
        "rms_norm_eps": value("llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": value("llama.rope.freq_base"),
        "vocab_size": value("llama.vocab_size"),
        "bos_token_id": value("tokenizer.ggml.bos_token_id"),
        "eos_token_id": value("tokenizer.ggml.eos_token_id"),
        "pad_token_id": value("tokenizer.ggml.padding_token_id"),
        "tie_word_embeddings": True,
    }
