"""Tiny random models in the formats of the real ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TEMPLATE = (
    "{% if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "{% for call in message.tool_calls or [] %}"
    "<tool_call>{{ call.function.arguments.items() | list }}</tool_call>{% endfor %}"
    "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<extra_0>"]
VOCAB_SIZE = 320
CONTEXT = 1024


@pytest.fixture(scope="session")
def tiny_generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `Qwen2ForCausalLM` with random weights, whose distributions are nearly flat."""
    return save_tiny_model(tmp_path_factory.mktemp("generator"), num_layers=2)


@pytest.fixture(scope="session")
def tiny_verifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `Qwen2ForProcessRewardModel` with random weights."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = save_tiny_model(tmp_path_factory.mktemp("verifier"), num_layers=2)
    config = json.loads((folder / "config.json").read_text())
    config.update(architectures=["Qwen2ForProcessRewardModel"], num_labels=2)
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    width = config["hidden_size"]
    weights |= {
        "score.0.weight": torch.randn(width, width) * 0.2,
        "score.0.bias": torch.randn(width) * 0.2,
        "score.2.weight": torch.randn(2, width) * 0.05,
        "score.2.bias": torch.randn(2) * 0.2,
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def make_tokenizer(tmp_path: Path) -> Callable[..., Any]:
    """Builds the tiny models' tokenizer, with the chat template given."""

    def make(template: str | None = TEMPLATE) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(save_tokenizer(tmp_path, template))

    return make


def save_tiny_model(folder: Path, num_layers: int) -> Path:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(len(folder.name))
    save_tokenizer(folder)
    config = Qwen2Config(
        vocab_size=VOCAB_SIZE,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=num_layers,
        num_attention_heads=2,  # vLLM's CPU attention knows heads of 32 and more
        num_key_value_heads=1,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=0,
        initializer_range=0.2,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


def save_tokenizer(folder: Path, template: str | None = TEMPLATE) -> Path:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["So 1 + 2 = 3 apples.\n\n"], trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|endoftext|>", chat_template=template
    ).save_pretrained(folder)
    return folder
