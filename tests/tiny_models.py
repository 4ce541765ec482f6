"""A language model of tiny random weights with the demonstration models' tokenizer."""

import shutil
from pathlib import Path

from fasttts.demo import generator_path

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def write_tiny_model(folder: Path, *, hidden_size: int = 64) -> Path:
    """Writes a Qwen2 model of two layers and one head, and returns its directory."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    known = Qwen2Config.from_pretrained(generator_path())
    config = Qwen2Config(
        vocab_size=known.vocab_size,
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_hidden_layers=2,
        num_attention_heads=1,  # of 64 channels: vLLM's CPU kernels know no head of 16
        num_key_value_heads=1,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        eos_token_id=known.eos_token_id,
        pad_token_id=known.pad_token_id,
        initializer_range=0.2,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    for name in TOKENIZER_FILES:
        shutil.copy(generator_path() / name, folder / name)
    return folder
