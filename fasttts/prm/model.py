"""A process reward model on a pretrained language model, in the form that vLLM serves.

Importing this module loads torch and transformers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from tokenizers import AddedToken
from torch import nn
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase, Qwen2Model
from transformers.modeling_outputs import TokenClassifierOutput
from transformers.models.qwen2.modeling_qwen2 import Qwen2PreTrainedModel

from fasttts.backends.vllm.tokenizer import ChatTokenizer
from fasttts.errors import ConfigurationError
from fasttts.prm.examples import Example
from fasttts.verifiers.prompt_formats import STEP_TAG, ProcessRewardFormat, last_token

IGNORED = -1.0
"""The label of a token at which nothing is scored."""

NUM_LABELS = 2
_STEP_END = "\n\n"


class Qwen2ForProcessRewardModel(Qwen2PreTrainedModel):
    """Qwen2 with logits of wrong and right at every position, as Qwen2.5-Math-PRM has them.

    Source of the head: `modeling_qwen2_rm.py` in the repository Qwen/Qwen2.5-Math-PRM-7B. The class
    name is what the written `config.json` says, and what vLLM knows it by.

    Args:
        config: Of the language model.
    """

    def __init__(self, config: Any) -> None:
        config.num_labels = NUM_LABELS
        super().__init__(config)
        self.model = Qwen2Model(config)
        self.score = nn.Sequential(
            nn.Linear(config.hidden_size, config.hidden_size),
            nn.ReLU(),
            nn.Linear(config.hidden_size, NUM_LABELS),
        )
        self.post_init()  # type: ignore[no-untyped-call]  # transformers leaves it untyped

    def forward(
        self, input_ids: torch.Tensor, labels: torch.Tensor | None = None
    ) -> TokenClassifierOutput:
        """Computes logits, shape (B, T, 2), and the loss.

        The loss is the cross entropy of the labels, which may be shares (Math-Shepherd, arXiv
        2312.08935, equation 1), in the mean over all scored positions.

        There is no attention mask: what is padded on the right comes after all tokens, and no
        token looks ahead. With one, attention takes slower kernels, and cuDNN's made gradients that
        are no numbers (`training.py`).

        Args:
            input_ids: Tokens, padded on the right, shape (B, T).
            labels: The chance of right in [0, 1], `IGNORED` where nothing is scored, shape (B, T).
        """
        hidden = self.model(input_ids=input_ids, use_cache=False).last_hidden_state
        logits: Any = self.score(hidden)
        loss: Any = None
        if labels is not None:
            is_scored = labels >= 0.0
            right = labels[is_scored].float()
            wanted = torch.stack((1.0 - right, right), dim=-1)
            loss = nn.functional.cross_entropy(logits[is_scored].float(), wanted)
        return TokenClassifierOutput(loss=loss, logits=logits)


def labelled_row(example: Example) -> dict[str, list[Any]]:
    """An example as `padded_batch` takes it: tokens, and a label for each of them.

    Args:
        example: The example.
    """
    labels = [IGNORED] * len(example.token_ids)
    for position, target in zip(example.positions, example.targets, strict=True):
        labels[position] = target
    return {"input_ids": list(example.token_ids), "labels": labels}


def padded_batch(rows: Sequence[dict[str, list[Any]]], padding: int) -> dict[str, torch.Tensor]:
    """Pads rows on the right to one length, for `Qwen2ForProcessRewardModel`.

    Args:
        rows: From `labelled_row`.
        padding: The token that fills.
    """
    length = max(len(row["input_ids"]) for row in rows)

    def padded(name: str, fill: float) -> torch.Tensor:
        return torch.tensor([row[name] + [fill] * (length - len(row[name])) for row in rows])

    return {"input_ids": padded("input_ids", padding), "labels": padded("labels", IGNORED)}


def load_tokenizer(folder: str) -> PreTrainedTokenizerBase:
    """Loads a model's tokenizer, with a step tag.

    Args:
        folder: The model: a directory or a hub name.

    Raises:
        ConfigurationError: It is no Qwen2 model of full weights with a fast tokenizer and a chat
            template.
    """
    try:
        config = AutoConfig.from_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"--model {folder}: {str(error).splitlines()[0]}") from error
    if config.model_type != "qwen2":
        raise ConfigurationError(
            f"--model {folder}: a {config.model_type} model; process reward models are trained in "
            "the format of Qwen2ForProcessRewardModel: choose a Qwen2 or Qwen2.5 model"
        )
    if getattr(config, "quantization_config", None):
        raise ConfigurationError(
            f"--model {folder}: its weights are quantised: choose the model they were made from"
        )
    if not tokenizer.is_fast or not tokenizer.chat_template:
        raise ConfigurationError(
            f"--model {folder}: its tokenizer has no chat template: choose an instruct model"
        )
    tokenizer.add_tokens([AddedToken(STEP_TAG, special=True)])
    found: PreTrainedTokenizerBase = tokenizer
    return found


def prompt_format(tokenizer: PreTrainedTokenizerBase, name: str) -> ProcessRewardFormat:
    """Makes the format in which the trained model is asked.

    Args:
        tokenizer: From `load_tokenizer`.
        name: The model, for messages.
    """
    return ProcessRewardFormat(ChatTokenizer(tokenizer, name), name)


def load_model(
    folder: str, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype
) -> Qwen2ForProcessRewardModel:
    """Puts a new head on a pretrained model; a new step tag begins as the end of a step.

    Draws the head from torch's generator.

    Args:
        folder: The language model.
        tokenizer: From `load_tokenizer`.
        dtype: Of the weights in training.

    Raises:
        ConfigurationError: The weights are missing or broken.
    """
    try:
        model: Any = Qwen2ForProcessRewardModel.from_pretrained(folder, dtype=dtype)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ConfigurationError(f"--model {folder}: {str(error).splitlines()[0]}") from error
    known = AutoTokenizer.from_pretrained(folder)
    if len(tokenizer) > model.config.vocab_size:
        model.resize_token_embeddings(len(tokenizer))
    tag = tokenizer.convert_tokens_to_ids(STEP_TAG)
    if STEP_TAG not in known.get_vocab():
        with torch.no_grad():
            embeddings = model.get_input_embeddings().weight
            embeddings[tag] = embeddings[
                last_token(ChatTokenizer(known, folder), _STEP_END, folder)
            ]
    found: Qwen2ForProcessRewardModel = model
    return found


def add_lora(model: nn.Module, rank: int) -> nn.Module:
    """Freezes a model but for its head, and adds low-rank adapters (Hu et al., arXiv 2106.09685).

    Args:
        model: From `load_model`.
        rank: Rank of the adapters.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules=[
            "q_proj",
            "k_proj",
            "v_proj",
            "o_proj",
            "gate_proj",
            "up_proj",
            "down_proj",
        ],
        modules_to_save=["score"],
    )
    adapted: nn.Module = get_peft_model(model, config)
    for parameter in adapted.parameters():
        if parameter.requires_grad:  # the optimiser's steps are smaller than 16 bits can tell
            parameter.data = parameter.data.float()
    return adapted


def write_model(
    model: Any, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype, folder: Path
) -> None:
    """Writes a trained model as a directory that `--verifier` takes; adapters are merged.

    Args:
        model: The trained model.
        tokenizer: From `load_tokenizer`.
        dtype: Of the written weights.
        folder: Where to write.
    """
    merged = model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
    merged.to(dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
