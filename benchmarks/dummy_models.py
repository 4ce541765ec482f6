"""Model directories of real shapes without weights, for vLLM's `load_format="dummy"`.

Compute and memory are those of the real models; the tokenizer is the demonstration models', and
what the models say is noise. Nothing is downloaded.
"""

import json
import shutil
import struct
from pathlib import Path
from typing import Any

from fasttts import demo

QWEN2_1_5B = {
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "vocab_size": 151_936,
    "tie_word_embeddings": True,
}
QWEN2_7B = {
    "hidden_size": 3584,
    "intermediate_size": 18_944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152_064,
    "tie_word_embeddings": False,
}
QWEN2_14B = {
    "hidden_size": 5120,
    "intermediate_size": 13_824,
    "num_hidden_layers": 48,
    "num_attention_heads": 40,
    "num_key_value_heads": 8,
    "vocab_size": 152_064,
    "tie_word_embeddings": False,
}
TINY = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 2048,
    "tie_word_embeddings": True,
}
SHAPES: dict[str, dict[str, Any]] = {
    "1.5B": QWEN2_1_5B,
    "7B": QWEN2_7B,
    "14B": QWEN2_14B,
    "tiny": TINY,
}
"""Qwen2.5-Math 1.5B and 7B, whose process reward models (Qwen's 7B, Skywork's 1.5B) share their
shapes; Qwen2.5-14B; and one small enough for a test."""

MAX_MODEL_LEN = 4096
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def write_generator(folder: Path, shape: str) -> Path:
    """A generator's directory below `folder`."""
    config = {**_config(shape), "architectures": ["Qwen2ForCausalLM"]}
    return _write(folder / f"generator-{shape}", config, demo.generator_path())


def write_verifier(folder: Path, shape: str) -> Path:
    """A process reward model's directory below `folder`."""
    config = {
        **_config(shape),
        "architectures": ["Qwen2ForProcessRewardModel"],
        "num_labels": 2,
        "tie_word_embeddings": False,
    }
    return _write(folder / f"verifier-{shape}", config, demo.verifier_path())


def _config(shape: str) -> dict[str, Any]:
    return {
        "model_type": "qwen2",
        "dtype": "bfloat16",
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "max_position_embeddings": MAX_MODEL_LEN,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
        "rope_theta": 10_000.0,
        "use_sliding_window": False,
        **SHAPES[shape],
    }


def _write(folder: Path, config: dict[str, Any], tokenizer: Path) -> Path:
    folder.mkdir(parents=True)
    for name in _TOKENIZER_FILES:
        shutil.copy(tokenizer / name, folder / name)
    special = json.loads((tokenizer / "config.json").read_text(encoding="utf-8"))
    config |= {key: special[key] for key in ("eos_token_id", "pad_token_id")}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(_empty_safetensors())
    return folder


def _empty_safetensors() -> bytes:
    """A file without tensors: vLLM does not read it, our check of checkpoints does."""
    return struct.pack("<Q", 2) + b"{}"
