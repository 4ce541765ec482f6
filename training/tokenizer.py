"""Builds the demonstration models' tokenizer: byte-level BPE in which every digit is one token."""

import random
import re
from collections.abc import Iterator
from pathlib import Path

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from fasttts.demo.problems import Problem, generate_problems
from training.dialogues import dialogue
from training.rendering import render

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
STEP_TAG = "<extra_0>"
SPECIAL_TOKENS = (END_OF_TEXT, TURN_START, TURN_END, STEP_TAG)
PLAIN_TOKENS = (
    "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "\n\n",
    ": ", " + ", " - ", " * ", " / ", " = ",
)  # fmt: skip
VOCABULARY_SIZE = 2048
MAX_TOKENS = 4096
# transformers 5 reads the tokenizer of any Qwen2 checkpoint as Qwen2's own and replaces the saved
# expression by this one. Using it here makes every reader split a text in the same way.
_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CHAT_TEMPLATE = Path(__file__).with_name("chat_template.jinja")


def sample_texts(seed: int, count: int) -> Iterator[str]:
    """Yields rendered training dialogues."""
    rng = random.Random(seed)

    def draw(low: int, high: int) -> Problem:
        seed = rng.getrandbits(48)
        return generate_problems("train", seed, 1, min_operations=low, max_operations=high)[0]

    for _ in range(count):
        yield "".join(text for text, _ in render(dialogue(rng, draw)))


def build_tokenizer(seed: int = 0, num_dialogues: int = 6000) -> PreTrainedTokenizerFast:
    """Trains the tokenizer on sampled dialogues; any text can be encoded."""
    core = Tokenizer(models.BPE())
    core.normalizer = normalizers.NFC()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    special = [AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS]
    plain = [AddedToken(token, special=False, normalized=False) for token in PLAIN_TOKENS]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE - len(special) - len(plain),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(_without_added(sample_texts(seed, num_dialogues)), trainer)
    core.add_special_tokens(special)
    core.add_tokens(plain)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=TURN_END,
        pad_token=END_OF_TEXT,
        model_max_length=MAX_TOKENS,
        clean_up_tokenization_spaces=False,
        chat_template=_CHAT_TEMPLATE.read_text(encoding="utf-8"),
    )


def load_tokenizer(folder: Path | str) -> PreTrainedTokenizerFast:
    """Reads a tokenizer from its folder; `AutoTokenizer` finds a class with equal results."""
    tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder)
    return tokenizer


def _without_added(texts: Iterator[str]) -> Iterator[str]:
    """Removes the added tokens, which need no training."""
    added = re.compile("|".join(map(re.escape, (*SPECIAL_TOKENS, *PLAIN_TOKENS))))
    for text in texts:
        yield added.sub("\n", text)


def token_id(tokenizer: PreTrainedTokenizerBase, token: str) -> int:
    """Returns the id of one token."""
    found = tokenizer.convert_tokens_to_ids(token)
    assert isinstance(found, int)
    return found
