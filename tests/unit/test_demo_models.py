"""The shipped demonstration models: sizes, formats, tokenizer."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import transformers
from safetensors import safe_open

from fasttts.demo import generator_path, verifier_path
from fasttts.demo.problems import generate_problems

PROBLEM = "Tom has 10 pens."
TOOL = {
    "type": "function",
    "function": {
        "name": "deliberate",
        "description": "Solve a hard problem.",
        "parameters": {"properties": {"problem": {"type": "string"}}, "type": "object"},
    },
}
FOLDERS = (generator_path(), verifier_path())


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda path: path.name)
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return transformers.AutoTokenizer.from_pretrained(request.param)


def _rendered(tokenizer: Any, messages: list[dict[str, Any]], **options: Any) -> str:
    text = tokenizer.apply_chat_template(messages, tokenize=False, **options)
    assert isinstance(text, str)
    return text


def test_both_models_take_at_most_16_mb() -> None:
    assert sum(f.stat().st_size for folder in FOLDERS for f in folder.iterdir()) <= 16_000_000


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_each_model_has_one_to_three_million_parameters(folder: Path) -> None:
    with safe_open(folder / "model.safetensors", "np") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118, a file of tensors is no mapping
    assert 1_000_000 <= sum(math.prod(shape) for shape in shapes) <= 3_000_000


@pytest.mark.parametrize(
    ("folder", "architecture"),
    [
        (generator_path(), "Qwen2ForCausalLM"),
        (verifier_path(), "Qwen2ForProcessRewardModel"),
    ],
)
def test_configs(folder: Path, architecture: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == [architecture]
    assert config["max_position_embeddings"] == 4096
    assert config["dtype"] == "bfloat16"
    assert set(config) >= {"eos_token_id", "pad_token_id", "vocab_size"}


def test_both_models_share_one_tokenizer() -> None:
    first, second = ((folder / "tokenizer.json").read_bytes() for folder in FOLDERS)
    assert first == second


def test_generation_ends_at_the_end_of_turn(tokenizer: Any) -> None:
    config = json.loads((generator_path() / "generation_config.json").read_text())
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") in config["eos_token_id"]
    assert tokenizer.eos_token == "<|im_end|>"


def test_digits_are_single_tokens(tokenizer: Any) -> None:
    assert tokenizer.tokenize("4810") == ["4", "8", "1", "0"]
    ids = tokenizer("3 * 12 = 36.")["input_ids"]
    assert tokenizer.decode(ids) == "3 * 12 = 36."
    assert [tokenizer.decode([i]) for i in ids] == ["3", " * ", "1", "2", " = ", "3", "6", "."]
    for digit in "0123456789":
        assert len(tokenizer(digit)["input_ids"]) == 1


def test_every_reader_cuts_texts_alike(tokenizer: Any) -> None:
    """AutoTokenizer takes Qwen2's class for these models, which brings its own way of cutting."""
    core = tokenizers.Tokenizer.from_file(str(generator_path() / "tokenizer.json"))
    for problem in generate_problems("train", 0, 50):
        for text in (problem.text, *problem.steps, json.dumps(TOOL), "It's: a - b\n\n\n  c"):
            assert tokenizer(text)["input_ids"] == core.encode(text).ids


@pytest.mark.parametrize(
    "text", ["\n\n", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<extra_0>"]
)
def test_markers_are_one_token(tokenizer: Any, text: str) -> None:
    assert len(tokenizer(text)["input_ids"]) == 1


def test_only_the_chat_markers_and_the_step_tag_are_special(tokenizer: Any) -> None:
    special = {"<|endoftext|>", "<|im_start|>", "<|im_end|>", "<extra_0>"}
    added = {token.content: token.special for token in tokenizer.added_tokens_decoder.values()}
    assert {content for content, is_special in added.items() if is_special} == special
    assert {"\n\n", "<tool_call>", "</tool_call>"} <= set(added)
    text = "<tool_call>\n\n</tool_call><|im_end|>"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "<tool_call>\n\n</tool_call>"


def test_the_separator_follows_the_last_character_of_a_step(tokenizer: Any) -> None:
    separator = tokenizer.convert_tokens_to_ids("\n\n")
    steps = ("In all: 10 + 12 = 22.", "The answer is \\boxed{22}.")
    first, last = (tokenizer(step)["input_ids"] for step in steps)
    assert tokenizer("\n\n".join(steps))["input_ids"] == [*first, separator, *last]


@pytest.mark.parametrize("text", ["Grüße, 你好 🎈", "\t tab  two\n\n\nthree", "Zürich's café", ""])
def test_any_text_survives(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_chat_template_has_no_default_system_prompt(tokenizer: Any) -> None:
    user = {"role": "user", "content": PROBLEM}
    text = _rendered(tokenizer, [user], add_generation_prompt=True)
    assert text == f"<|im_start|>user\n{PROBLEM}<|im_end|>\n<|im_start|>assistant\n"
    system = {"role": "system", "content": "Be brief."}
    text = _rendered(tokenizer, [system, user, {"role": "assistant", "content": "Yes."}])
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        f"<|im_start|>user\n{PROBLEM}<|im_end|>\n"
        "<|im_start|>assistant\nYes.<|im_end|>\n"
    )


@pytest.mark.parametrize("with_system", [False, True])
def test_chat_template_lists_tools(tokenizer: Any, with_system: bool) -> None:
    messages = [{"role": "user", "content": PROBLEM}]
    if with_system:
        messages.insert(0, {"role": "system", "content": "Be brief."})
    text = _rendered(tokenizer, messages, tools=[TOOL])
    opening = "Be brief.\n\n# Tools\n\n" if with_system else "# Tools\n\n"
    assert text.startswith(f"<|im_start|>system\n{opening}You may call one or more functions")
    assert f"<tools>\n{json.dumps(TOOL)}\n</tools>" in text
    assert text.count("Be brief.") == int(with_system)


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("content", ["", None, "Let me see."])
def test_chat_template_renders_calls_and_results(
    tokenizer: Any, content: str | None, as_text: bool
) -> None:
    arguments: Any = {"problem": PROBLEM}
    function = {"name": "deliberate", "arguments": json.dumps(arguments) if as_text else arguments}
    messages = [
        {"role": "user", "content": PROBLEM},
        {"role": "assistant", "content": content, "tool_calls": [{"function": function}]},
        {"role": "tool", "content": "10"},
        {"role": "tool", "content": "11"},
    ]
    said = f"\n{content}" if content else ""
    assert _rendered(tokenizer, messages, tools=[TOOL], add_generation_prompt=True).endswith(
        f"<|im_start|>assistant{said}\n<tool_call>\n"
        '{"name": "deliberate", "arguments": {"problem": "Tom has 10 pens."}}\n</tool_call>'
        "<|im_end|>\n"
        "<|im_start|>user\n<tool_response>\n10\n</tool_response>\n"
        "<tool_response>\n11\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
    )
