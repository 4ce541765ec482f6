"""Samples the generator in batches with plain transformers, for training and measuring."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase, Qwen2ForCausalLM

from training.dialogues import SEPARATOR, Message, Tool

_BATCH_SEQUENCES = {"cpu": 256, "cuda": 8192}


def sample(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    num_samples: int = 1,
    temperature: float = 0.0,
    max_tokens: int = 200,
    seed: int = 0,
) -> list[list[str]]:
    """Continues every prompt.

    Args:
        model: The generator.
        tokenizer: Its tokenizer.
        prompts: Rendered prompts, ending where the assistant begins.
        num_samples: Continuations of each prompt; one if the temperature is 0.
        temperature: 0 for greedy decoding.
        max_tokens: Longest continuation.
        seed: Makes the samples repeatable.

    Returns:
        For each prompt its continuations, without the end of turn.
    """
    torch.manual_seed(seed)
    texts: list[list[str]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    width = max(1, _BATCH_SEQUENCES[model.device.type] // num_samples)
    options: dict[str, Any] = {"do_sample": temperature > 0, "max_new_tokens": max_tokens}
    if temperature > 0:
        options |= {"temperature": temperature, "top_k": 0, "top_p": 1.0}
        options["num_return_sequences"] = num_samples
    for start in range(0, len(order), width):
        chosen = order[start : start + width]
        continued = _continue(model, tokenizer, [prompts[index] for index in chosen], options)
        per_prompt = len(continued) // len(chosen)
        for row, index in enumerate(chosen):
            texts[index] = continued[row * per_prompt : (row + 1) * per_prompt]
    return texts


def _continue(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[str],
    options: dict[str, Any],
) -> list[str]:
    inputs = tokenizer(
        prompts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False
    ).to(model.device)
    with torch.inference_mode():
        output = model.generate(  # type: ignore[misc]  # its stub types `self` too narrowly
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            cache_implementation="static",  # a growing cache is copied at every token
            disable_compile=True,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            **options,
        )
    width = inputs["input_ids"].shape[1]
    decoded = tokenizer.batch_decode(output[:, width:], skip_special_tokens=False)
    return [text.split("<|im_end|>")[0].split("<|endoftext|>")[0] for text in decoded]


def chat_prompt(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    tools: Sequence[Tool] = (),
) -> str:
    """Renders messages up to the beginning of the assistant's turn."""
    text = tokenizer.apply_chat_template(
        list(messages), tools=list(tools) or None, tokenize=False, add_generation_prompt=True
    )
    assert isinstance(text, str)
    return text


def split_steps(text: str) -> list[str]:
    """Cuts a continuation into steps, as the engine does."""
    return [step.strip() for step in text.split(SEPARATOR) if step.strip()]
