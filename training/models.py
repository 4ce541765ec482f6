"""The two architectures, and the writing of their checkpoints."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2Model,
)

from training.tokenizer import END_OF_TEXT, MAX_TOKENS, TURN_END, load_tokenizer, token_id

NUM_LABELS = 2
NUM_HEADS = 3
HEAD_DIM = 64
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
_LEFT_OUT = (
    "_name_or_path", "torch_dtype", "chunk_size_feed_forward", "return_dict", "problem_type",
    "output_attentions", "output_hidden_states",
)  # fmt: skip


def generator_config(tokenizer: PreTrainedTokenizerBase) -> Qwen2Config:
    """Shape of the generator: four layers, 2.0 million parameters."""
    return _config(tokenizer, num_layers=4)


def verifier_config(tokenizer: PreTrainedTokenizerBase) -> Qwen2Config:
    """Shape of the verifier: two layers more, 2.9 million parameters."""
    return _config(tokenizer, num_layers=6)


def _config(tokenizer: PreTrainedTokenizerBase, *, num_layers: int) -> Qwen2Config:
    return Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=NUM_HEADS * HEAD_DIM,
        intermediate_size=480,
        num_hidden_layers=num_layers,
        num_attention_heads=NUM_HEADS,
        num_key_value_heads=NUM_HEADS,
        max_position_embeddings=MAX_TOKENS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=token_id(tokenizer, TURN_END),
        pad_token_id=token_id(tokenizer, END_OF_TEXT),
    )


class RewardModel(nn.Module):
    """Qwen2 with two scores at every position, laid out as `Qwen2ForProcessRewardModel`."""

    def __init__(self, config: Qwen2Config) -> None:
        super().__init__()
        self.model = Qwen2Model(config)
        self.score = nn.Sequential(
            nn.Linear(config.hidden_size, config.hidden_size),
            nn.ReLU(),
            nn.Linear(config.hidden_size, NUM_LABELS),
        )

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.model.device

    def forward(self, ids_B_T: torch.Tensor) -> torch.Tensor:
        """Returns the logits of wrong and right at every position, shape (B, T, 2)."""
        hidden: torch.Tensor = self.model(input_ids=ids_B_T, use_cache=False).last_hidden_state
        logits: torch.Tensor = self.score(hidden)
        return logits


def write_generator(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase, folder: Path
) -> None:
    """Writes the generator in bfloat16; the folder is replaced atomically."""
    weights = {name: tensor for name, tensor in model.state_dict().items() if "lm_head" not in name}
    config = model.config.to_dict() | {"architectures": ["Qwen2ForCausalLM"]}
    _write(weights, config, tokenizer, folder)


def write_verifier(model: RewardModel, generator: Path, folder: Path) -> None:
    """Writes the verifier in bfloat16 with its generator's tokenizer; the folder is replaced."""
    config = model.model.config.to_dict() | {
        "architectures": ["Qwen2ForProcessRewardModel"],
        "num_labels": NUM_LABELS,
    }
    _write(model.state_dict(), config, load_tokenizer(generator), folder)
    for name in TOKENIZER_FILES:
        shutil.copy(generator / name, folder / name)


def _write(
    weights: dict[str, torch.Tensor],
    config: dict[str, Any],
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
) -> None:
    kept = {key: value for key, value in config.items() if key not in _LEFT_OUT}
    kept |= {"dtype": "bfloat16", "use_cache": True}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".writing-") as name:
        partial = Path(name) / folder.name
        tokenizer.save_pretrained(str(partial))
        halved = {key: value.to(torch.bfloat16).contiguous() for key, value in weights.items()}
        save_file(halved, partial / "model.safetensors", metadata={"format": "pt"})
        (partial / "model.safetensors").chmod(0o644)
        _write_json(partial / "config.json", kept)
        _name_tokenizer_class(partial / "tokenizer_config.json")
        end = [kept["eos_token_id"], kept["pad_token_id"]]
        if kept["architectures"] == ["Qwen2ForCausalLM"]:
            GenerationConfig(eos_token_id=end, pad_token_id=end[1]).save_pretrained(str(partial))
        if folder.exists():
            folder.rename(Path(name) / "replaced")
        shutil.move(partial, folder)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _name_tokenizer_class(path: Path) -> None:
    """Writes the class name that transformers 4 also knows, and drops the file's origin."""
    content = json.loads(path.read_text(encoding="utf-8"))
    kept = {key: value for key, value in content.items() if "local" not in key}
    _write_json(path, kept | {"tokenizer_class": "PreTrainedTokenizerFast"})


def default_device() -> str:
    """Returns the default device of training and measuring."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def load_generator(folder: Path, device: str | None = None) -> Qwen2ForCausalLM:
    """Loads the generator in float32."""
    model = Qwen2ForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert isinstance(model, Qwen2ForCausalLM)
    model.eval().to(device or default_device())
    return model


def load_verifier(folder: Path, device: str | None = None) -> RewardModel:
    """Loads the verifier in float32."""
    model = RewardModel(Qwen2Config.from_pretrained(folder))
    weights = load_file(folder / "model.safetensors")
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return model.eval().to(device or default_device())
